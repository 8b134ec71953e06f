"""Processes and threads that use one ledger at once lose nothing and count nothing twice."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.ledger.stored import counts

PATIENCE_SECONDS = 30


def at_once(calls: list[Callable[[], object]]) -> None:
    """Make all calls at the same moment, each in a thread; errors are raised here."""
    barrier = threading.Barrier(len(calls))

    def wait_and(call: Callable[[], object]) -> object:
        barrier.wait(PATIENCE_SECONDS)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(wait_and, call) for call in calls]:
            future.result(PATIENCE_SECONDS)


def test_two_processes_on_one_file_lose_no_additions(
    ledger: Ledger, ledger_url: str, run: Run
) -> None:
    # Given two ledgers on one file, as two processes have them, and one worker name for both, so
    # that they add to the same rows
    ledgers = [ledger, Ledger.open(ledger_url)]

    def settle(one: Ledger, numbers: range) -> None:
        for number in numbers:
            one.settle([make.settlement(run.id, number, delivery_times={4: 10})])

    at_once(
        [
            lambda one=one, start=start: settle(one, range(start, start + 10))
            for start, one in enumerate(ledgers * 2)
            for start in [start * 10]
        ]
    )
    found = counts(ledger, run)
    assert (found.delivered, found.attempts, found.delivery_times) == (400, 400, {4: 400})


def test_two_processes_with_the_same_settlements_count_each_once(
    ledger: Ledger, ledger_url: str, run: Run
) -> None:
    ledgers = [ledger, Ledger.open(ledger_url)]
    new: list[bool] = []

    def settle(one: Ledger) -> None:
        for number in range(10):
            group = [make.settlement(run.id, number), make.settlement(run.id, number + 10)]
            new.extend(answer.new for answer in one.settle(group))

    at_once([lambda one=one: settle(one) for one in ledgers])
    assert counts(ledger, run).delivered == 200
    assert new.count(True) == 20


def test_two_producers_of_one_run_never_overlap(ledger: Ledger, ledger_url: str, run: Run) -> None:
    ledgers = [ledger, Ledger.open(ledger_url)]

    def dispatch(one: Ledger, size: int) -> None:
        while (now := one.run(run.id)).next_index < run.total:
            size = min(size, run.total - now.next_index)
            one.record_batches(run.id, [make.row(run.id, now.next_batch, now.next_index, size)])

    at_once([lambda one=one, n=n: dispatch(one, n) for one, n in zip(ledgers, (3, 4), strict=True)])
    rows = [entry.row for entry in ledger.unsettled(run.id)]
    indexes = [i for row in rows for i in range(row.first_index, row.first_index + row.size)]
    assert indexes == list(range(run.total))
    assert counts(ledger, run).dispatched == run.total


def test_ledgers_made_at_once_are_one_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    ids: list[str] = []
    at_once([lambda: ids.append(Ledger.open(url).id)] * 4)
    assert len(set(ids)) == 1


def test_ledger_is_made_while_another_connection_writes_to_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(
            "sms_pipeline.config.clock.time.sleep", lambda _: other.execute("COMMIT")
        )
        assert Ledger.open(f"sqlite:///{file}").id
