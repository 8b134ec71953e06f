"""Fixtures of the unit tests: a clean environment and a ledger of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sms_pipeline.config.secrets import FILE_SUFFIX, SECRETS
from sms_pipeline.config.settings import ENVIRONMENT
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from tests.unit import make


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
