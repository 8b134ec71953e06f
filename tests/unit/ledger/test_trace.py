"""What became of one message is found in the ledger."""

from __future__ import annotations

import pytest

from sms_pipeline.core.errors import DamagedLedgerError
from sms_pipeline.core.records import Run, Settlement
from sms_pipeline.ledger.steering import cancel_unpublished
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.trace import attempts_at, dispatches_since, settlements_since
from tests.unit import make
from tests.unit.ledger.stored import Executed
from tests.unit.make import NOON, bitmap

LEFT, LAST = bitmap(3, 4, 5), bitmap(4, 5)


def test_what_happened_at_one_moment_comes_in_an_order_that_the_database_was_asked_for(
    ledger: Ledger, run: Run, executed: list[Executed]
) -> None:
    # SQLite's tables happen to be in the order of their keys; those of PostgreSQL are not
    assert dispatches_since(ledger, run.id, NOON) == []
    assert settlements_since(ledger, run.id, NOON) == []
    orders = [one.sql.partition(" ORDER BY ")[2] for one in executed if " FROM " in one.sql]
    assert orders == [
        "batches.published_at, batches.number",
        "settlements.settled_at, settlements.batch, settlements.attempt",
    ]


@pytest.fixture
def settled(ledger: Ledger, run: Run) -> Run:
    """Three batches: two that are settled, and one that is published only. And another run."""
    rows = [make.row(run.id, n, 10 * n, profile=("fast", "slow")[n % 2]) for n in range(3)]
    ledger.record_batches(run.id, rows)
    ledger.mark_published(run.id, [(number, NOON + number) for number in range(3)])
    steps = [
        make.settlement(run.id, 1, 2, messages=2, delivered=1, failed=1, taken=LAST,
                        failed_indexes=[15], settled_at=NOON + 7, profile="slow"),
        make.settlement(run.id, 1, 0, delivered=7, retried=3, remainder=LEFT, profile="slow"),
        make.settlement(run.id, 1, 1, messages=3, delivered=1, retried=2, taken=LEFT,
                        remainder=LAST, worker="w2", settled_at=NOON + 4, profile="slow"),
        make.settlement(run.id, 0, delivered=9, expired=1, expired_indexes=[6]),
    ]  # fmt: skip
    ledger.settle(steps)
    other = ledger.start_run(make.simulation(num_messages=100), seed=8, started_at=NOON)
    ledger.record_batches(other.id, [make.row(other.id, 0, 0, 50)])
    ledger.settle([make.settlement(other.id, 0, failed=1, delivered=49, failed_indexes=[0, 13])])
    return run


@pytest.mark.parametrize(
    ("index", "batch", "story"),
    [
        (0, 0, ["delivered"]),
        (6, 0, ["expired"]),
        (12, 1, ["delivered"]),
        (13, 1, ["failed, to be retried", "delivered"]),
        (14, 1, ["failed, to be retried", "failed, to be retried", "delivered"]),
        (15, 1, ["failed, to be retried", "failed, to be retried", "failed"]),
        # Dispatched and not settled, first and last of its batch
        (20, 2, []),
        (29, 2, []),
    ],
)
def test_message_has_its_batch_and_its_attempts_in_order(
    ledger: Ledger, settled: Run, index: int, batch: int, story: list[str]
) -> None:
    found, attempts = attempts_at(ledger, settled.id, index)
    assert found is not None
    assert (found.run, found.number, found.published_at) == (settled.id, batch, NOON + batch)
    assert [attempt.outcome.value for attempt in attempts] == story
    assert [attempt.number for attempt in attempts] == list(range(1, len(story) + 1))


def test_attempts_say_when_they_were_settled_and_by_whom(ledger: Ledger, settled: Run) -> None:
    _, attempts = attempts_at(ledger, settled.id, 14)
    assert [(one.settled_at, one.profile, one.worker) for one in attempts] == [
        (NOON + 1, "slow", "w1"),
        (NOON + 4, "slow", "w2"),
        (NOON + 7, "slow", "w1"),
    ]


def test_batch_whose_records_contradict_one_another_is_named(ledger: Ledger, settled: Run) -> None:
    # Given a remainder that is larger than its batch
    left = bitmap(3, size=100)
    ledger.settle([make.settlement(settled.id, 2, delivered=9, retried=1, remainder=left)])
    with pytest.raises(DamagedLedgerError) as caught:
        attempts_at(ledger, settled.id, 20)
    assert str(caught.value) == (
        "batch 2 can't be read: the offsets do not fit the size of the batch"
    )


def test_message_that_is_not_dispatched_has_no_batch(ledger: Ledger, settled: Run) -> None:
    assert attempts_at(ledger, settled.id, 30) == (None, [])


def test_message_that_was_cancelled_before_it_was_dispatched_was_never_tried(
    ledger: Ledger, settled: Run
) -> None:
    cancel_unpublished(ledger, settled)
    batch, (attempt,) = attempts_at(ledger, settled.id, 99)
    assert batch is not None
    assert (batch.number, batch.published_at, attempt.outcome.value) == (3, None, "cancelled")


def test_message_that_was_retried_and_then_cancelled_has_both(ledger: Ledger, settled: Run) -> None:
    ledger.settle([make.settlement(settled.id, 2, delivered=9, retried=1, remainder=bitmap(0))])
    ledger.settle(
        [Settlement.cancellation((settled.id, 2, 1), "fast", "w1", 1, NOON + 9, bitmap(0))]
    )
    _, attempts = attempts_at(ledger, settled.id, 20)
    assert [one.outcome.value for one in attempts] == ["failed, to be retried", "cancelled"]
