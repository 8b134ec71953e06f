"""The ledger counts every settlement once, whoever sends it, however often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sms_pipeline.core.errors import UnknownRunError
from sms_pipeline.core.records import Control, Retrying, Run, Settled, Settlement
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.trace import settlements_since
from tests.unit import make
from tests.unit.ledger.stored import Executed, counts
from tests.unit.make import NOON, bitmap


def test_settling_twice_counts_once(ledger: Ledger, run: Run) -> None:
    settlement = make.settlement(run.id, delivery_times={3: 10})
    (first,) = ledger.settle([settlement])
    before = counts(ledger, run)
    (second,) = ledger.settle([settlement])
    assert (first.new, second.new) == (True, False)
    assert counts(ledger, run) == before
    assert (before.attempts, before.delivered, before.delivery_times) == (10, 10, {3: 10})


def test_other_outcome_for_a_settled_attempt_is_thrown_away(ledger: Ledger, run: Run) -> None:
    # Given an attempt of which 3 and 4 are left
    stored = make.settlement(run.id, delivered=8, retried=2, remainder=bitmap(3, 4))
    ledger.settle([stored])
    before = counts(ledger, run)
    # When another worker settles it with another outcome
    other = replace(
        stored, worker="w2", delivered=9, failed=1, retried=0, remainder=None, failed_indexes=[5]
    )
    (answer,) = ledger.settle([other])
    # Then the stored remainder comes back, and nothing else was counted or listed
    assert answer == Settled(bitmap(3, 4), new=False)
    assert counts(ledger, run) == before
    assert list(ledger.failures(run.id)) == []


def test_settled_attempt_is_superseded_by_a_newer_one(ledger: Ledger, run: Run) -> None:
    first = make.settlement(run.id, delivered=8, retried=2, remainder=bitmap(3, 4))
    second = make.settlement(
        run.id, 0, 1, messages=2, delivered=1, retried=1, taken=bitmap(3, 4), remainder=bitmap(4)
    )
    ledger.settle([first])
    ledger.settle([second])
    (answer,) = ledger.settle([first])
    assert answer == Settled(None, new=False)


def test_standing_tells_what_is_settled(ledger: Ledger, run: Run) -> None:
    assert ledger.standing((run.id, 0, 0)).settled is None
    ledger.settle([make.settlement(run.id, delivered=8, retried=2, remainder=bitmap(3, 4))])
    settled = ledger.standing((run.id, 0, 0)).settled
    assert settled == Settled(bitmap(3, 4), new=False)
    assert ledger.standing((run.id, 0, 1)).settled is None
    assert ledger.standing((run.id, 1, 0)).settled is None


def test_newer_settled_attempt_settles_an_older_one(ledger: Ledger, run: Run) -> None:
    newer = make.settlement(
        run.id, 0, 1, messages=2, delivered=1, retried=1, taken=bitmap(3, 4), remainder=bitmap(4)
    )
    ledger.settle([newer])
    assert ledger.standing((run.id, 0, 0)).settled == Settled(None, new=False)


def test_standing_of_an_unknown_run(ledger: Ledger, run: Run) -> None:
    with pytest.raises(UnknownRunError, match="the ledger has no run 99"):
        ledger.standing((99, 0, 0))


def test_standing_tells_which_messages_a_batch_was_recorded_with(ledger: Ledger, run: Run) -> None:
    ledger.record_batches(
        run.id, [make.row(run.id), make.row(run.id, 1, 10, size=5, profile="slow")]
    )
    ledger.settle([make.settlement(run.id, 1, attempt) for attempt in range(2)])
    recorded = [ledger.standing((run.id, number, 0)).recorded for number in range(3)]
    assert recorded == [("fast", 0, 10), ("slow", 10, 5), None]


def test_standing_is_of_the_attempt_and_newer_ones_of_that_batch_of_that_run(
    ledger: Ledger, run: Run
) -> None:
    # Given three settled attempts, in no order, of one batch, and those of its neighbours
    other = ledger.start_run(make.simulation(), seed=1)
    ledger.control(run.id, Control.PAUSED)
    lefts = {2: bitmap(3), 0: bitmap(1, 2), 1: bitmap(2)}
    for attempt, left in lefts.items():
        ledger.settle([make.settlement(run.id, 5, attempt, remainder=left)])
    ledger.settle([make.settlement(run.id, 6, 3, remainder=bitmap(6))])
    ledger.settle([make.settlement(other.id, 5, 4, remainder=bitmap(7))])
    # Then only its own newer attempts answer for an older one
    settled = [ledger.standing((run.id, 5, attempt)) for attempt in range(4)]
    assert [standing[:2] for standing in settled] == [
        (Control.PAUSED, Settled(None, new=False)),
        (Control.PAUSED, Settled(None, new=False)),
        (Control.PAUSED, Settled(bitmap(3), new=False)),
        (Control.PAUSED, None),
    ]
    assert ledger.standing((run.id, 4, 0)) == (Control.PAUSED, None, None)
    assert ledger.standing((other.id, 5, 0)).control is Control.RUNNING
    # And the same when the attempts are settled again
    again = [make.settlement(run.id, 5, attempt) for attempt in range(3)]
    assert ledger.settle(again) == [standing.settled for standing in settled[:3]]


def test_group_of_new_and_old_is_answered_in_its_order(ledger: Ledger, run: Run) -> None:
    old = make.settlement(run.id, 1, delivered=9, retried=1, remainder=bitmap(7))
    ledger.settle([old])
    group = [
        make.settlement(run.id, 2, delivered=9, retried=1, remainder=bitmap(2)),
        replace(old, delivered=10, retried=0, remainder=None),
        make.settlement(run.id, 0, delivered=9, retried=1, remainder=bitmap(0)),
    ]
    answers = ledger.settle(group)
    assert [(one.remainder, one.new) for one in answers] == [
        (bitmap(2), True),
        (bitmap(7), False),
        (bitmap(0), True),
    ]
    assert counts(ledger, run).attempts == 30


def test_group_is_all_or_nothing(ledger: Ledger, run: Run) -> None:
    # Given a message already listed as failed
    ledger.settle([make.settlement(run.id, 0, delivered=9, failed=1, failed_indexes=[5])])
    before = ledger.snapshot(run)
    # When a group holds a settlement that the database refuses
    good = make.settlement(run.id, 1)
    refused = make.settlement(run.id, 2, delivered=9, failed=1, failed_indexes=[5])
    with pytest.raises(Exception, match="UNIQUE"):
        ledger.settle([good, refused])
    # Then its neighbour was not counted either
    assert ledger.snapshot(run) == before
    (answer,) = ledger.settle([good])
    assert answer.new


def test_failures_are_listed_once_by_index(ledger: Ledger, run: Run) -> None:
    settlement = make.settlement(
        run.id, 2, 3, messages=3, delivered=0, failed=2, expired=1,
        failed_indexes=[29, 21], expired_indexes=[25],
    )  # fmt: skip
    ledger.settle([settlement])
    ledger.settle([settlement])
    listed = [
        (one.message_index, one.batch, one.profile, one.reason, one.attempts, one.failed_at)
        for one in ledger.failures(run.id)
    ]
    assert listed == [
        (21, 2, "fast", "failed", 4, NOON + 1),
        (25, 2, "fast", "expired", 4, NOON + 1),
        (29, 2, "fast", "failed", 4, NOON + 1),
    ]


def test_settlement_is_read_back_as_it_was_made(ledger: Ledger, run: Run) -> None:
    settlement = Settlement(
        key=(run.id, 3, 2), profile="slow", worker="w7", messages=28, delivered=1, failed=2,
        expired=4, cancelled=8, retried=13, send_seconds=1.5, delivery_seconds=2.5,
        transit_seconds=2.25, settled_at=NOON + 0.125, taken=bitmap(*range(28), size=40),
        remainder=bitmap(5, size=40),
    )  # fmt: skip
    ledger.settle([settlement])
    assert settlements_since(ledger, run.id, NOON) == [settlement]


def test_settlements_come_in_the_order_of_their_times(ledger: Ledger, run: Run) -> None:
    # Given settlements in another order than that of their times; some are of one moment
    other = ledger.start_run(make.simulation(), seed=1)
    moments = {(4, 1): 7, (4, 0): 7, (2, 0): 7, (0, 0): 9, (1, 0): 5, (3, 0): 6}
    for (number, attempt), at in moments.items():
        for one in (run, other):
            ledger.settle([make.settlement(one.id, number, attempt, settled_at=NOON + at)])
    # When those after a moment are read
    found = settlements_since(ledger, run.id, NOON + 5)
    # Then they are ordered by time, batch and attempt, and that moment is not among them
    order = [(3, 0), (2, 0), (4, 0), (4, 1), (0, 0)]
    assert [one.key for one in found] == [(run.id, *key) for key in order]


def test_failures_are_those_of_one_run(ledger: Ledger, run: Run) -> None:
    other = ledger.start_run(make.simulation(), seed=1)
    for one, indexes in ((run, [9, 4]), (other, [5])):
        ledger.settle([make.settlement(one.id, delivered=8, failed_indexes=indexes)])
    assert [failure.message_index for failure in ledger.failures(run.id)] == [4, 9]


def test_failures_are_streamed_however_many_there_are(
    ledger: Ledger, run: Run, executed: list[Executed]
) -> None:
    # A driver would fetch millions of rows at once, were it not told to stream them
    assert list(ledger.failures(run.id)) == []
    assert executed[-1].options["stream_results"]


def test_runs_are_counted_apart(ledger: Ledger, run: Run) -> None:
    other = ledger.start_run(make.simulation(), seed=1)
    ledger.settle([make.settlement(run.id), make.settlement(other.id, delivered=9, failed=1)])
    assert (counts(ledger, run).delivered, counts(ledger, other).delivered) == (10, 9)


def test_answer_after_an_unknown_outcome_is_the_same(ledger: Ledger, run: Run) -> None:
    # A worker that lost the connection during the commit runs the same transaction again
    settlement = make.settlement(run.id, delivered=8, retried=2, remainder=bitmap(3, 4))
    answers = [ledger.settle([settlement])[0].remainder for _ in range(3)]
    assert answers == [bitmap(3, 4)] * 3


@pytest.mark.parametrize(("messages", "at"), [(1, 5), (10, 5), (11, 7), (20, 7), (21, None)])
def test_it_knows_when_so_many_were_delivered(
    ledger: Ledger, run: Run, messages: int, at: int | None
) -> None:
    # Given settlements that were committed in another order than they were made
    for number, second in ((0, 7), (1, 5)):
        ledger.settle([make.settlement(run.id, number, settled_at=NOON + second)])
    other = ledger.start_run(make.simulation(), seed=1)
    ledger.settle([make.settlement(other.id, settled_at=NOON)])
    assert ledger.delivered_at(run.id, messages) == (None if at is None else NOON + at)


def test_batches_that_are_retried_are_those_whose_next_attempt_is_not_settled(
    ledger: Ledger, run: Run
) -> None:
    # Given three batches that left something, and one that did not
    rows = [make.row(run.id, number, 10 * number) for number in range(4)]
    ledger.record_batches(run.id, rows)
    left = {"delivered": 8, "retried": 2, "remainder": bitmap(3, 4)}
    for number in range(3):
        ledger.settle([make.settlement(run.id, number, settled_at=NOON + number, **left)])
    ledger.settle([make.settlement(run.id, 3)])
    # When the next attempt at one settles, and leaves one message
    again = make.settlement(
        run.id, 1, 1, messages=2, delivered=1, retried=1, taken=bitmap(3, 4), remainder=bitmap(4),
        settled_at=NOON + 9,
    )  # fmt: skip
    ledger.settle([again])
    # Then that attempt counts instead
    found = {(one.batch, one.attempt, one.messages) for one in ledger.retrying(run.id, NOON)}
    assert found == {(0, 0, 2), (1, 1, 1), (2, 0, 2)}
    # And only what is not older than asked for
    assert {one.batch for one in ledger.retrying(run.id, NOON + 1)} == {1, 2}
    assert ledger.retrying(run.id + 1, NOON) == []


def test_batches_of_another_run_change_nothing_in_what_is_retried(ledger: Ledger, run: Run) -> None:
    # Given two runs with batches of the same numbers, meant for other profiles
    other = ledger.start_run(run.simulation, seed=8)
    left = {"delivered": 8, "retried": 2, "remainder": bitmap(3, 4)}
    for run_id, profiles in ((run.id, ("fast", "slow")), (other.id, ("slow", "fast"))):
        for number, profile in enumerate(profiles):
            ledger.record_batches(run_id, [make.row(run_id, number, 10 * number, profile=profile)])
            settled_at = NOON + number
            ledger.settle([make.settlement(run_id, number, settled_at=settled_at, **left)])
    # When the other one's are done
    for number in range(2):
        again = make.settlement(other.id, number, 1, messages=2, delivered=2, taken=bitmap(3, 4))
        ledger.settle([again])
    # Then this one's are not, and are told as they are
    assert sorted(ledger.retrying(run.id, NOON)) == [
        Retrying(0, "fast", attempt=0, messages=2, settled_at=NOON),
        Retrying(1, "slow", attempt=0, messages=2, settled_at=NOON + 1),
    ]
