"""Fixtures of the tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from sms_pipeline.ledger.store import Ledger
from tests.unit import make


@pytest.fixture(autouse=True)
def alone(clean: Path) -> None:
    """Commands find no variable of ours, and nothing in the current folder."""


@pytest.fixture
def ledger(clean: Path) -> Ledger:
    """The ledger that commands find by default."""
    return Ledger.open("sqlite:///sms_pipeline.db")


@pytest.fixture
def ended(ledger: Ledger) -> None:
    """Two runs that are done."""
    for _ in range(2):
        run = ledger.start_run(make.simulation(num_messages=10), seed=1)
        ledger.record_batches(run.id, [make.row(run.id)])
        ledger.settle([make.settlement(run.id, delivery_times={80: 10})])
