"""Runs and readings for the tests of the views."""

from __future__ import annotations

from typing import Any

from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.reader import Reading
from tests.unit import make
from tests.unit.make import NOON


def progress(delivered: int = 40, **values: Any) -> Progress:
    """Of a run of 100 messages, of which 5 have failed."""
    counts = make.counts(
        "fast", dispatched=1_100, first_attempts=100, attempts=100, delivered=delivered, failed=5,
        retried=10, send_seconds=12.0, delivery_seconds=190.0, transit_seconds=70.0,
        delivery_times={80: 45},
    )  # fmt: skip
    snapshot = make.snapshot(counts, started_at=NOON, settled_at=NOON + 9, **values)
    return Tracker().update(snapshot, 0, NOON + 10)


def reading(delivered: int = 40, **values: Any) -> Reading:
    """The same, as a reader has it."""
    return Reading(make.snapshot(), progress(delivered, **values), (), 0.0, decided=True, wall=NOON)


def run_with(ledger: Ledger, *checks: str, abort: bool = False) -> Run:
    """A run of 100 messages with these thresholds."""
    thresholds = [{"check": check, "abort": abort} for check in checks]
    return ledger.start_run(make.simulation(num_messages=100, thresholds=thresholds), seed=7)


def deliver(ledger: Ledger, run: Run, delivered: int, number: int = 0) -> None:
    """Record and settle a batch of 50 messages; those not delivered fail."""
    first = number * 50
    ledger.record_batches(run.id, [make.row(run.id, number, first_index=first, size=50)])
    missing = 50 - delivered
    ledger.settle([
        make.settlement(
            run.id, number, messages=50, delivered=delivered, failed=missing,
            failed_indexes=range(first, first + missing),
            settled_at=NOON + 10 * (number + 1), delivery_times={80: 50},
        )
    ])  # fmt: skip


class Outages:
    """Stands for a call of the ledger: fails so many times, then does what it should."""

    def __init__(self, call: Any, failures: int) -> None:
        self._call = call
        self._left = failures

    def __call__(self, *arguments: Any) -> Any:
        if self._left:
            self._left -= 1
            raise LedgerUnavailableError("away")
        return self._call(*arguments)
