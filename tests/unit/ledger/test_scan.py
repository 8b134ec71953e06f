"""A run's rows for the audit: all of them, of that run only, in the order that the audit needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sms_pipeline.core.errors import UnknownRunError
from sms_pipeline.core.records import Absorbed, BatchRow, Failure, Run, Settlement
from sms_pipeline.ledger.scan import Records
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.sums import CounterRow
from tests.unit import make
from tests.unit.ledger.stored import Executed
from tests.unit.make import NOON, bitmap


def batches_of(run: Run) -> list[BatchRow]:
    return [
        make.row(run.id, 0, 0, profile="slow", queued_at=NOON + 1),
        make.row(run.id, 1, 10, queued_at=NOON + 2),
        make.row(run.id, 2, 20, queued_at=NOON + 3),
    ]


def settlements_of(run: Run) -> list[Settlement]:
    """By batch and attempt, but not in the order of their times."""
    return [
        make.settlement(
            run.id, 0, 0, profile="slow", delivered=4, failed=3, expired=1, retried=2,
            remainder=bitmap(8, 9), settled_at=NOON + 30,
        ),
        make.settlement(
            run.id, 0, 1, profile="slow", worker="w2", messages=2, delivered=1, cancelled=1,
            taken=bitmap(8, 9), settled_at=NOON + 20,
        ),
        make.settlement(run.id, 1, 0, settled_at=NOON + 10),
    ]  # fmt: skip


@pytest.fixture
def twin(ledger: Ledger, run: Run) -> Run:
    """Fill `run` and another one with rows of the same numbers; return the other."""
    other = ledger.start_run(make.simulation(num_messages=100), seed=8)
    listed = {(0, 0): {"failed_indexes": [7, 0, 5], "expired_indexes": [6]}}
    times = {(0, 0): {2: 5, 9: 2}, (0, 1): {9: 1}, (1, 0): {2: 10}}
    for one in (run, other):
        ledger.record_batches(one.id, batches_of(one))
        for settlement in reversed(settlements_of(one)):
            key = settlement.key[1:]
            values = {name: getattr(settlement, name) for name in settlement.__slots__}
            values |= {"delivery_times": times[key], **listed.get(key, {})}
            ledger.settle([Settlement(**values)])
    ledger.absorb("w1", {(run.id, Absorbed.REPEATED): (1, 10), (run.id, Absorbed.ANSWERED): (2, 5)})
    ledger.absorb(
        "w2", {(run.id, Absorbed.REPEATED): (3, 30), (other.id, Absorbed.REDELIVERED): (9, 9)}
    )
    return other


@pytest.fixture
def records(ledger: Ledger, run: Run, twin: Run) -> Iterator[Records]:
    with ledger.reading() as connection:
        yield Records(connection, run)


def test_batches_come_by_number(records: Records, run: Run) -> None:
    assert list(records.batches()) == batches_of(run)


def test_settlements_come_by_batch_and_attempt(records: Records, run: Run) -> None:
    assert list(records.settlements()) == settlements_of(run)


def test_failures_come_by_batch_and_message(records: Records) -> None:
    assert list(records.failures()) == [
        Failure(index, 0, "slow", "expired" if index == 6 else "failed", 1, NOON + 30)
        for index in (0, 5, 6, 7)
    ]


def test_rows_come_in_an_order_that_the_database_was_asked_for(
    records: Records, executed: list[Executed]
) -> None:
    # SQLite's tables happen to be in the order of their keys; those of PostgreSQL are not
    for rows in (records.batches(), records.settlements(), records.failures()):
        list(rows)
    assert [one.sql.partition(" ORDER BY ")[2] for one in executed] == [
        "batches.number",
        "settlements.batch, settlements.attempt",
        "failures.batch, failures.message_index",
    ]


def test_rows_are_streamed_however_many_there_are(
    records: Records, executed: list[Executed]
) -> None:
    for rows in (records.batches(), records.settlements(), records.failures(), records.counters()):
        list(rows)
    assert executed
    assert all(one.options["stream_results"] for one in executed)


def test_counters_have_the_sum_of_their_histogram(records: Records) -> None:
    sums = {"send_seconds": 1.0, "delivery_seconds": 2.0, "transit_seconds": 1.5}
    assert records.counters() == [
        CounterRow(
            "fast", "w1", 1, 10, 10, 10, 0, 0, 0, 0,
            timed=10, times={2: 10}, last_settled_at=NOON + 10, **sums,
        ),
        CounterRow(
            "slow", "w1", 1, 10, 10, 4, 3, 1, 0, 2,
            timed=7, times={2: 5, 9: 2}, last_settled_at=NOON + 30, **sums,
        ),
        CounterRow(
            "slow", "w2", 1, 0, 2, 1, 0, 0, 1, 0,
            timed=1, times={9: 1}, last_settled_at=NOON + 20, **sums,
        ),
    ]  # fmt: skip


def test_dispatch_is_counted_by_profile(records: Records) -> None:
    assert records.dispatched() == {
        "slow": (1, 10, NOON + 1),
        "fast": (2, 20, NOON + 3),
    }


def test_run_is_read_as_it_stands_now(records: Records, run: Run) -> None:
    assert records.run() == replace(run, next_index=30, next_batch=3)


def test_run_that_is_gone_is_unknown(ledger: Ledger, run: Run) -> None:
    with ledger.reading() as connection, pytest.raises(UnknownRunError, match="no run 7 any more"):
        Records(connection, replace(run, id=7)).run()


def test_what_came_twice_is_summed_over_workers(records: Records) -> None:
    assert records.absorbed() == {"redelivered": (0, 0), "answered": (2, 5), "repeated": (4, 40)}
