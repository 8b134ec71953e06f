"""Fixtures of the unit tests: a clean environment and a ledger of their own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from sms_pipeline.config.secrets import FILE_SUFFIX, SECRETS
from sms_pipeline.config.settings import ENVIRONMENT
from sms_pipeline.core.records import Run
from sms_pipeline.ledger import rules
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.watchdog import THREADS
from tests.unit import make

#: Those whose end, or whose silence, ends the process.
VITAL_THREADS = {*THREADS.values(), "watchdog", "consumer"} - {threading.main_thread().name}
PATIENCE_SECONDS = 5.0


def _check_nothing(connection: object, *_: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA foreign_keys = OFF")


@pytest.fixture(autouse=True)
def _no_vital_thread_left() -> Iterator[None]:
    """A thread that may end its process must not outlive its test: it would end the others'."""
    before = set(threading.enumerate())
    yield
    left = [one for one in threading.enumerate() if one.name in VITAL_THREADS and one not in before]
    for thread in left:
        thread.join(PATIENCE_SECONDS)
    assert not [thread.name for thread in left if thread.is_alive()]


@pytest.fixture(autouse=True)
def unchecked(request: pytest.FixtureRequest) -> Iterator[None]:
    """The database takes rows that do not add up: what a test does not name is unimportant to it.

    But where a test is marked `checked`.
    """
    if request.node.get_closest_marker("checked"):
        yield
        return
    event.listen(Pool, "checkout", _check_nothing)
    yield
    event.remove(Pool, "checkout", _check_nothing)


@pytest.fixture
def rules_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit that looks at sets and sums alone; `test_rules.py` has the rules of the protocol."""
    for name in ("of_run", "of_batch", "of_chain", "of_failures"):
        monkeypatch.setattr(rules, name, lambda *_: ())


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of ours is set, and the current folder is empty; returns that folder."""
    for name in (*ENVIRONMENT, *(f"{secret}{FILE_SUFFIX}" for secret in SECRETS)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """A ledger that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    opened = Ledger.open(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def run(ledger: Ledger) -> Run:
    """A run of 100 messages on the profiles `fast` and `slow`."""
    return ledger.start_run(make.simulation(num_messages=100), seed=7)
