"""Messages that go from profile to profile: counted with their settlements, and audited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.failover import Failover, HandOver
from sms_pipeline.core.records import Control, Run
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.handed import Moved
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.waiting import LATEST_RUNS
from sms_pipeline.worker.process import Worker
from tests.unit import make
from tests.unit.ledger.honest import Rehearsal, rehearsed


def counts_of(ledger: Ledger, run: Run) -> dict[str, ProfileCounts]:
    return {one.profile: one for one in ledger.snapshot(run).profiles}


def add_up(counts: ProfileCounts) -> bool:
    """What came to a profile is what ended there, went away, or is still there."""
    there = counts.dispatched + counts.handed_in - counts.handed_away
    ended = counts.delivered + counts.failed + counts.expired + counts.cancelled
    return there == ended + counts.backlog + counts.retrying and counts.retrying >= 0


def test_sums_are_of_all_hand_overs_of_a_profile() -> None:
    # Given messages that went from `fast` in two ways, and came back in one, as first attempts
    moved = Moved(
        [
            HandOver("fast", "slow", 5, 3),
            HandOver("fast", "guest", 4, 2),
            HandOver("slow", "fast", 2, 1),
            HandOver("guest", "fast", 1, 1),
        ]
    )
    # When they are laid over counts of two of them
    fast, slow, guest = moved.added_to(
        [make.counts("fast", first_attempts=10), make.counts("slow", first_attempts=20)]
    )
    # Then each has what went and what came, and the third one is there
    assert fast == make.counts("fast", handed_away=9, handed_in=3, first_attempts=13)
    assert slow == make.counts("slow", handed_away=2, handed_in=5, first_attempts=18)
    assert guest == make.counts("guest", handed_away=1, handed_in=4, first_attempts=-1)


@pytest.fixture
def rehearsal(ledger: Ledger) -> Iterator[Rehearsal]:
    made = Rehearsal(ledger, failover=Failover(attempts=1, to="slow"))
    yield made
    made.stop()


def test_what_failed_once_is_sent_by_the_other_profile(rehearsal: Rehearsal) -> None:
    # Given a run whose second attempts are made by `slow`
    ledger, run = rehearsal.ledger, rehearsal.run
    rehearsal.join()
    rehearsal.dispatch()
    # When it is half over, then the sums hold
    rehearsal.work_off(6)
    assert all(map(add_up, counts_of(ledger, run).values()))
    # And at its end
    rehearsal.work_off()
    found = counts_of(ledger, run)
    assert all(map(add_up, found.values()))
    fast, slow = found["fast"], found["slow"]
    assert fast.handed_away == slow.handed_in == fast.retried > 0
    assert (fast.handed_in, slow.handed_away, fast.failed) == (0, 0, 0)
    assert audit_ledger(ledger, run).verdict == "proven"
    assert {one.profile for one in ledger.failures(run.id)} == {"slow"}


def test_what_is_taken_over_counts_where_it_was_sent(ledger: Ledger) -> None:
    # Given a run on two profiles, and a worker of one that takes over the other's
    rehearsal = Rehearsal(ledger, retry=RetryPolicy(max_attempts=2, backoff=0))
    profile = make.profile("fast", mean_time=0, failure_rate=0.5)
    worker = Worker(ledger, [profile])
    assert worker.takeover is not None
    worker.takeover.known.add("slow")
    rehearsal.dispatch()
    worker.start()
    # When it has played all
    rehearsal.workers.append(worker)
    rehearsal.work_off()
    rehearsal.stop()
    # Then nothing was sent by `slow`, and its messages are handed over: twice those that failed
    fast, slow = (counts_of(ledger, rehearsal.run)[name] for name in ("fast", "slow"))
    assert add_up(fast)
    assert add_up(slow)
    assert slow.attempts == slow.in_flight == 0
    assert slow.first_attempts == slow.dispatched > 0
    back = slow.handed_in
    assert fast.handed_in == slow.handed_away == slow.dispatched + back
    assert 0 < back < slow.dispatched
    assert audit_ledger(ledger, rehearsal.run).verdict == "proven"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE handed_over SET messages = messages + 1",
        "UPDATE handed_over SET worker = 'w'",
        "DELETE FROM handed_over",
        "INSERT INTO handed_over VALUES (1, 'slow', 'fast', 'w', 1, 0)",
    ],
)
def test_sums_of_hand_overs_that_were_changed_are_found(rehearsal: Rehearsal, change: str) -> None:
    rehearsal.join()
    rehearsal.dispatch()
    rehearsal.work_off()
    with rehearsal.ledger.writing() as connection:
        connection.execute(text(change))
    result = audit_ledger(rehearsal.ledger, rehearsal.run)
    assert any(problem.startswith("handed over from ") for problem in result.problems)


# What waits for workers


def waiting(ledger: Ledger) -> list[tuple[str, ...]]:
    return [tuple(one.waiting) for one in ledger.open_runs()]


def test_runs_that_are_open_say_for_whom_messages_wait(ledger: Ledger, run: Run) -> None:
    assert waiting(ledger) == [()]
    ledger.record_batches(run.id, [make.row(run.id, profile="slow")])
    assert waiting(ledger) == [("slow",)]
    ledger.settle([make.settlement(run.id, profile="slow")])
    assert waiting(ledger) == [()]


def test_what_is_retried_waits_for_where_it_goes_and_may_come_back_to_where_it_was(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.join()
    rehearsal.dispatch()
    rehearsal.work_off(len(rehearsal.broker.published))
    # Who has settled a batch may die before the rest of it is handed on
    assert waiting(rehearsal.ledger) == [("fast", "slow")]


@pytest.mark.parametrize(
    ("changes", "control", "is_open"),
    [
        ({}, Control.RUNNING, True),
        ({}, Control.CANCELLED, True),
        ({}, Control.PAUSED, False),
        ({"embedded": True}, Control.RUNNING, False),
    ],
)
def test_runs_in_whose_queues_nothing_can_be_done_are_not_open(
    ledger: Ledger, changes: dict[str, Any], control: Control, is_open: bool
) -> None:
    run = ledger.start_run(rehearsed(), seed=1, **changes)
    if control is not Control.RUNNING:
        ledger.control(run.id, control)
    assert bool(ledger.open_runs()) is is_open


def test_a_run_that_is_open_is_found_behind_many_that_are_done(ledger: Ledger, run: Run) -> None:
    for seed in range(LATEST_RUNS + 1):
        done = ledger.start_run(make.simulation(num_messages=10), seed)
        ledger.record_batches(done.id, [make.row(done.id)])
        ledger.settle([make.settlement(done.id)])
    assert [one.simulation for one in ledger.open_runs()] == [run.simulation]


def test_runs_that_are_done_are_not_open(rehearsal: Rehearsal) -> None:
    rehearsal.join()
    rehearsal.dispatch()
    rehearsal.work_off()
    assert rehearsal.ledger.open_runs() == []
