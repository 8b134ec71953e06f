"""What the tests of the ledger share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event

from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.ledger.stored import Executed
from tests.unit.make import NOON


def _reverse_what_has_no_order(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA reverse_unordered_selects = ON")


@pytest.fixture(autouse=True)
def rows_come(request: pytest.FixtureRequest) -> Iterator[None]:
    """SQLite happens to find rows by key, PostgreSQL does not: here it finds them backwards.

    But where a test wants them "forwards", since backwards is the order it should ask for.
    """
    if getattr(request, "param", "backwards") == "forwards":
        yield
        return
    event.listen(Engine, "connect", _reverse_what_has_no_order)
    yield
    event.remove(Engine, "connect", _reverse_what_has_no_order)


@pytest.fixture
def run(ledger: Ledger) -> Run:
    """A run of 100 messages on the profiles `fast` and `slow`, started at noon."""
    return ledger.start_run(make.simulation(num_messages=100), seed=7, started_at=NOON)


@pytest.fixture
def executed() -> Iterator[list[Executed]]:
    """What databases are given while the test runs, in order."""
    found: list[Executed] = []

    def note(*arguments: Any) -> None:
        sql, context = arguments[2], arguments[4]
        found.append(Executed(" ".join(sql.split()), dict(context.execution_options)))

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)
