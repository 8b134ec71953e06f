"""Delivery receipts are counted once, with their settlements, and cost nothing where none are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.receipts import NO_RECEIPTS, OnPhone
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.unit import make
from tests.unit.ledger.stored import Executed, counts
from tests.unit.ledger.test_concurrency import at_once
from tests.unit.make import NOON, bitmap

#: Of ten messages: eight with a receipt, two without.
TEN = OnPhone.of(np.array([*[1.0] * 5, *[3.0] * 3, np.nan, np.nan]))
TABLES = ("receipts", "receipt_counters", "receipt_times")


def settle(ledger: Ledger, run: Run, number: int = 0, **values: Any) -> None:
    ledger.settle([make.settlement(run.id, number, **{"on_phone": TEN, **values})])


def test_settling_twice_counts_receipts_once(ledger: Ledger, run: Run) -> None:
    settle(ledger, run)
    settle(ledger, run)
    settle(ledger, run, worker="w2", on_phone=OnPhone.of(np.full(10, 9.0)))
    assert counts(ledger, run).on_phone == TEN


def test_receipts_add_up_over_batches_and_workers(ledger: Ledger, run: Run) -> None:
    for number, worker in enumerate(("w1", "w1", "w2")):
        settle(ledger, run, number, worker=worker)
    settle(ledger, run, 3, on_phone=OnPhone.of(np.full(10, 9.0)))
    found = counts(ledger, run).on_phone
    assert (found.receipts, found.missing, found.longest) == (34, 6, 9.0)
    assert found.seconds == pytest.approx(3 * TEN.seconds + 90)
    assert sum(found.times.values()) == 34


def test_receipts_are_those_of_a_profile_and_of_a_run(ledger: Ledger, run: Run) -> None:
    other = ledger.start_run(make.simulation(), seed=1)
    settle(ledger, run)
    settle(ledger, run, 1, profile="slow", on_phone=None)
    settle(ledger, other)
    settle(ledger, other, 1)
    assert counts(ledger, run).on_phone == TEN
    assert counts(ledger, run, "slow").on_phone == NO_RECEIPTS
    assert counts(ledger, other).on_phone.receipts == 16
    assert ledger.snapshot(run).counts.on_phone == TEN


def test_group_is_counted_as_one_by_one(ledger: Ledger, run: Run) -> None:
    ledger.settle([make.settlement(run.id, number, on_phone=TEN) for number in range(3)])
    one_by_one = ledger.start_run(make.simulation(), seed=1)
    for number in range(3):
        settle(ledger, one_by_one, number)
    assert counts(ledger, run).on_phone == counts(ledger, one_by_one).on_phone


def test_two_processes_on_one_file_lose_no_receipts(
    ledger: Ledger, ledger_url: str, run: Run
) -> None:
    ledgers = [ledger, Ledger.open(ledger_url)]

    def work(one: Ledger, start: int) -> None:
        # Each batch is settled by both
        for number in range(start, start + 10):
            settle(one, run, number % 20)

    at_once([lambda n=n: work(ledgers[n % 2], 10 * n) for n in range(4)])
    found = counts(ledger, run).on_phone
    assert (found.receipts, found.missing) == (20 * 8, 20 * 2)
    assert found.times == {bucket: 20 * messages for bucket, messages in TEN.times.items()}


def test_without_receipts_settling_touches_none_of_their_tables(
    ledger: Ledger, run: Run, executed: list[Executed]
) -> None:
    settle(ledger, run, on_phone=None)
    said = " ".join(one.sql for one in executed)
    assert "INSERT INTO settlements" in said
    assert "receipt" not in said
    # But with them all three are
    settle(ledger, run, 1)
    said = " ".join(one.sql for one in executed)
    assert all(f"INSERT INTO {name} " in said for name in TABLES)


def test_without_receipts_reading_a_run_asks_once_whether_there_are_any(
    ledger: Ledger, run: Run, executed: list[Executed]
) -> None:
    settle(ledger, run, on_phone=None)
    executed.clear()
    ledger.snapshot(run)
    assert sum("receipt" in one.sql for one in executed) == 1


# The audit


@pytest.fixture
def ended(ledger: Ledger) -> Run:
    """Two batches of ten; of the first a message was retried."""
    run = ledger.start_run(make.simulation(num_messages=20, batch_size=10), seed=1, started_at=NOON)
    ledger.join("w1", [make.profile("fast")])
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, first_index=10)])
    nine, one = OnPhone.of(np.full(9, 2.0)), OnPhone.of(np.array([np.nan]))
    left = {"delivered": 9, "retried": 1, "remainder": bitmap(3)}
    again = {"messages": 1, "delivered": 1, "taken": bitmap(3)}
    ledger.settle([make.honest(run.id, 0, 0, on_phone=nine, **left)])
    ledger.settle([make.honest(run.id, 0, 1, on_phone=one, **again)])
    ledger.settle([make.honest(run.id, 1, 0)])
    return run


def test_a_run_with_and_without_receipts_is_proven(ledger: Ledger, ended: Run) -> None:
    report = audit_ledger(ledger, ended)
    assert report.problems == []
    assert report.verdict is Verdict.PROVEN
    assert report.sealed


@pytest.mark.parametrize(
    ("on_phone", "problem"),
    [
        (OnPhone.of(np.full(9, 2.0)), "10 messages delivered, but 9 with a receipt and 0 without"),
        (OnPhone.of(np.full(11, 2.0)), "10 messages delivered, but 11 with a receipt and 0"),
        (OnPhone.of(np.full(10, 0.1)), "on the phone after 1 s, but delivered after 2 s"),
        (replace(TEN, times={}), "counter receipts in the histogram of fast at w1 is 0"),
        (replace(TEN, longest=60.0), "counter longest_receipt of fast at w1 is 60"),
        (replace(TEN, seconds=99.0), "counter receipt_seconds of fast at w1 is 99"),
    ],
)
def test_receipts_that_can_not_be_are_found(
    ledger: Ledger, on_phone: OnPhone, problem: str
) -> None:
    run = ledger.start_run(make.simulation(num_messages=10, batch_size=10), seed=1, started_at=NOON)
    ledger.join("w1", [make.profile("fast")])
    ledger.record_batches(run.id, [make.row(run.id, 0)])
    ledger.settle([make.honest(run.id, on_phone=on_phone)])
    report = audit_ledger(ledger, run)
    assert any(problem in found for found in report.problems), report.problems
