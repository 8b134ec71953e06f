"""Batches are recorded once, in their places, and known as published, stuck or unsettled."""

from __future__ import annotations

import pytest

from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.trace import dispatches_since
from tests.unit import make
from tests.unit.ledger.stored import counts, everything
from tests.unit.make import NOON, bitmap


@pytest.fixture
def other(ledger: Ledger, run: Run) -> Run:
    """Another run with batches of the same numbers: 0 to 3, dispatched long ago."""
    started = ledger.start_run(make.simulation(num_messages=100), seed=8)
    rows = [make.row(started.id, n, 7 * n, 7, queued_at=NOON - 900) for n in range(4)]
    ledger.record_batches(started.id, rows)
    return started


# Recording


def test_recorded_batches_move_the_run_and_are_counted(ledger: Ledger, run: Run) -> None:
    rows = [make.row(run.id, 0, 0), make.row(run.id, 1, 10, 20, profile="slow")]
    assert ledger.record_batches(run.id, rows)
    assert ledger.record_batches(run.id, [make.row(run.id, 2, 30, 5)])
    assert [entry.row for entry in ledger.unsettled(run.id)] == [*rows, make.row(run.id, 2, 30, 5)]
    assert (counts(ledger, run, "fast").dispatched, counts(ledger, run, "slow").dispatched) == (
        15,
        20,
    )
    assert (ledger.run(run.id).next_index, ledger.run(run.id).next_batch) == (35, 3)


def test_a_run_begins_with_its_first_batch(ledger: Ledger, run: Run, other: Run) -> None:
    assert ledger.origin(run.id) is None
    ledger.record_batches(run.id, [make.row(run.id, 0, 0, queued_at=NOON + 3)])
    ledger.record_batches(run.id, [make.row(run.id, 1, 10, queued_at=NOON + 9)])
    assert ledger.origin(run.id) == NOON + 3
    assert ledger.origin(other.id) == NOON - 900


def test_what_was_dispatched_is_summed_by_profile(ledger: Ledger, run: Run) -> None:
    for number, profile, at in ((0, "fast", 5), (1, "slow", 5), (2, "fast", 7), (3, "fast", 6)):
        rows = [make.row(run.id, number, 10 * number, profile=profile, queued_at=NOON + at)]
        ledger.record_batches(run.id, rows)
    sums = {"run": run.id, "last_at": NOON + 7}
    assert everything(ledger)["dispatched"] == [
        {**sums, "profile": "fast", "batches": 3, "messages": 30},
        {**sums, "profile": "slow", "batches": 1, "messages": 10, "last_at": NOON + 5},
    ]


def test_the_latest_of_batches_recorded_together_counts(ledger: Ledger, run: Run) -> None:
    rows = [make.row(run.id, n, 10 * n, queued_at=NOON + at) for n, at in enumerate((5, 2, 9, 4))]
    ledger.record_batches(run.id, rows)
    (sums,) = everything(ledger)["dispatched"]
    assert sums["last_at"] == NOON + 9


def test_recording_the_same_batches_twice_counts_them_once(
    ledger: Ledger, run: Run, other: Run
) -> None:
    # Given batches of which the broker has confirmed the first before the answer came
    rows = [make.row(run.id, 0, 0), make.row(run.id, 1, 10, profile="slow")]
    assert ledger.record_batches(run.id, rows)
    ledger.mark_published(run.id, [(0, NOON + 1)])
    before = everything(ledger)
    # When they are recorded again
    assert ledger.record_batches(run.id, rows)
    # Then all is as it was
    assert everything(ledger) == before


@pytest.mark.parametrize(
    "values",
    [{"size": 20}, {"profile": "slow"}, {"queued_at": NOON + 1}, {"number": 1}, {"first_index": 5}],
    ids=str,
)
def test_second_producer_can_not_record_other_batches_in_the_same_place(
    ledger: Ledger, run: Run, other: Run, values: dict[str, object]
) -> None:
    assert ledger.record_batches(run.id, [make.row(run.id, 0, 0, 10)])
    before = everything(ledger)
    assert not ledger.record_batches(run.id, [make.row(run.id, **{"number": 0, **values})])
    assert everything(ledger) == before


def test_batches_are_recorded_without_gaps(ledger: Ledger, run: Run, other: Run) -> None:
    before = everything(ledger)
    for number, first_index in ((0, 10), (1, 0), (9, 90)):
        assert not ledger.record_batches(run.id, [make.row(run.id, number, first_index)])
    assert everything(ledger) == before


# Publishing


def test_broker_confirmed_what_was_published_of_that_run(
    ledger: Ledger, run: Run, other: Run
) -> None:
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(3)])
    ledger.mark_published(run.id, [(1, NOON + 1), (2, NOON + 2)])
    ledger.mark_published(run.id, [])
    assert [entry.row.published_at for entry in ledger.unsettled(run.id)] == [
        None,
        NOON + 1,
        NOON + 2,
    ]
    assert {entry.row.published_at for entry in ledger.unsettled(other.id)} == {None}


def test_dispatches_come_in_the_order_in_which_the_broker_confirmed_them(
    ledger: Ledger, run: Run, other: Run
) -> None:
    rows = [make.row(run.id, n, 10 * n) for n in range(5)]
    ledger.record_batches(run.id, rows)
    ledger.mark_published(other.id, [(0, NOON + 6)])
    ledger.mark_published(run.id, [(0, NOON + 9), (1, NOON + 5), (2, NOON + 7), (3, NOON + 7)])
    found = dispatches_since(ledger, run.id, NOON + 5)
    assert [(row.run, row.number, row.published_at) for row in found] == [
        (run.id, 2, NOON + 7),
        (run.id, 3, NOON + 7),
        (run.id, 0, NOON + 9),
    ]
    assert (found[0].first_index, found[0].size, found[0].profile) == (20, 10, "fast")


# What is left to do


def test_stuck_are_old_batches_without_a_settled_first_attempt(
    ledger: Ledger, run: Run, other: Run
) -> None:
    # Given batches of two profiles, dispatched second by second, and one more that is younger
    profiles = ("fast", "fast", "fast", "slow", "slow", "fast")
    rows = [
        make.row(run.id, n, 10 * n, profile=profile, queued_at=NOON + n)
        for n, profile in enumerate(profiles)
    ]
    ledger.record_batches(run.id, rows)
    # When of one the first attempt is settled, and of one, somehow, the second only; and the other
    # run's batches of the same numbers are settled
    ledger.settle([make.settlement(run.id, 0), make.settlement(run.id, 1, attempt=1)])
    ledger.settle([make.settlement(other.id, number) for number in (1, 2, 3)])
    # Then messages are counted by profile, of this run and before that moment only
    assert ledger.stuck(run.id, NOON + 5) == {"fast": 20, "slow": 20}
    assert ledger.stuck(run.id, NOON + 2.5) == {"fast": 20}
    assert ledger.stuck(other.id, NOON) == {"fast": 7}


def test_unsettled_are_batches_without_a_last_word(ledger: Ledger, run: Run, other: Run) -> None:
    # Given one batch never settled, one settled, one that left a remainder, one that left none
    rows = [make.row(run.id, n, 10 * n) for n in range(4)]
    ledger.record_batches(run.id, rows)
    left = bitmap(1, 2)
    ledger.settle([make.settlement(run.id, 1)])
    ledger.settle([make.settlement(run.id, 2, delivered=8, retried=2, remainder=left)])
    ledger.settle([make.settlement(run.id, 3, delivered=8, retried=2, remainder=left)])
    ledger.settle([make.settlement(run.id, 3, 1, messages=2, delivered=2, taken=left)])
    # And another run with another outcome
    ledger.settle([make.settlement(other.id, 0)])
    ledger.settle([make.settlement(other.id, 3, 2, messages=1, delivered=0, remainder=bitmap(0))])
    # Then the first and the third have an attempt to come
    assert ledger.unsettled(run.id) == [(rows[0], 0, None), (rows[2], 1, left)]
    assert [(one.row.number, one.attempt) for one in ledger.unsettled(other.id)] == [
        (1, 0),
        (2, 0),
        (3, 3),
    ]


def test_batch_whose_last_attempts_left_something_has_one_attempt_to_come(
    ledger: Ledger, run: Run
) -> None:
    ledger.record_batches(run.id, [make.row(run.id)])
    for attempt, left in enumerate((bitmap(1, 2, 3), bitmap(1, 2), bitmap(2))):
        ledger.settle([make.settlement(run.id, 0, attempt, remainder=left)])
    assert ledger.unsettled(run.id) == [(make.row(run.id), 3, bitmap(2))]
