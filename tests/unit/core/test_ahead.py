"""What a run has in front of it, and what its readers are told of that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sms_pipeline.core.ahead import LEAST_RECKONED, MOST_RECKONED, ahead_of, due_at, next_retry
from sms_pipeline.core.bad_day import GOOD_DAY
from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.events import Event
from sms_pipeline.core.progress import Findings, Tracker
from sms_pipeline.core.rates import Pace
from sms_pipeline.core.records import Control, Retrying, Snapshot, Steering, Step
from sms_pipeline.core.remaining import Ahead, Part, Waiting
from sms_pipeline.core.retry import RetryPolicy, retry_delay
from tests.unit import make
from tests.unit.make import NOON

#: 5 senders that make 50 attempts a second.
WORKERS = (make.worker(),)


def retrying(batch: int = 3, messages: int = 4, **values: Any) -> Retrying:
    given: dict[str, Any] = {"attempt": 1, "settled_at": NOON, **values}
    return Retrying(batch, "fast", messages=messages, **given)


def waiting(messages: int, untried: int = 0) -> ProfileCounts:
    """All but so many messages were delivered at once."""
    done = 100 - messages - untried
    return make.counts(
        dispatched=100, first_attempts=100 - untried, attempts=100 - untried, delivered=done,
        retried=messages,
    )  # fmt: skip


def seen(snapshot: Snapshot, *retries: Retrying, wall: float = NOON) -> Ahead:
    pace = Pace()
    pace.observe(0, 0, 0)
    return ahead_of(snapshot, snapshot.workers, retries, wall, pace)


def only(ahead: Ahead) -> Part:
    (part,) = ahead.parts
    return part


def test_a_retry_is_due_when_the_worker_publishes_it_for() -> None:
    policy = RetryPolicy(backoff=1_000, backoff_max=10_000, jitter=1)
    snapshot = make.snapshot(run=2, seed=9, simulation=make.simulation(retry=policy))
    assert due_at(snapshot, retrying()) == NOON + retry_delay(policy, 9, (2, 3, 1))


def test_senders_that_are_online_do_what_is_left() -> None:
    workers = (make.worker("a", senders=5), make.worker("b", senders=4, mean_time=0.5))
    ahead = seen(make.snapshot(waiting(0, untried=30), workers=workers, total=150))
    assert ahead.undispatched == 50
    part = only(ahead)
    assert (part.untried, part.rate) == (30, 58.0)
    assert part.mean_time == pytest.approx(9 / 58)


def test_retries_are_known_by_attempt_and_pause() -> None:
    policy = RetryPolicy(backoff=10, jitter=0)
    simulation = make.simulation(retry=policy)
    snapshot = make.snapshot(waiting(12), workers=WORKERS, simulation=simulation)
    retries = [
        retrying(1, 4, attempt=0),
        retrying(2, 3, attempt=0),
        retrying(3, 2, attempt=1),
        # This one's pause is over.
        retrying(4, 1, attempt=0, settled_at=NOON - 60),
    ]
    part = only(seen(snapshot, *retries, wall=NOON + 4))
    # Two of twelve are not among them: they must be due
    assert set(part.waiting) == {Waiting(1, 7, 6.0), Waiting(2, 2, 16.0), Waiting(1, 3, 0.0)}


def test_failures_that_were_seen_outweigh_those_that_are_set() -> None:
    def rate(*values: int) -> float:
        made, failed = values
        counts = make.counts(attempts=made, retried=failed, delivered=made - failed)
        return only(seen(make.snapshot(counts, workers=WORKERS))).failure_rate

    assert rate(0, 0) == pytest.approx(0.1)
    assert rate(10_000, 5_000) == pytest.approx(0.5, abs=0.01)


def test_a_machine_that_keeps_senders_waiting_is_seen() -> None:
    # Given senders that could make 1,000 attempts a second, and make 100
    worker = make.worker(senders=100)
    pace = Pace()
    for second in range(6):
        pace.observe(second, 100 * second, 100 * second)
    counts = make.counts(dispatched=1_000, first_attempts=500, attempts=500, delivered=500)
    snapshot = make.snapshot(counts, workers=(worker,), total=1_000)
    part = only(ahead_of(snapshot, (worker,), (), NOON, pace))
    assert part.rate == pytest.approx(100)
    # But not where there is too little to do for all of them
    idle = make.snapshot(waiting(0, untried=50), workers=(worker,))
    assert only(ahead_of(idle, (worker,), (), NOON, pace)).rate == 1_000


@pytest.mark.parametrize(
    ("made", "seconds", "batch_size", "rate"),
    [
        (10, 6, 10, 10),
        # Nearly all that they could is all
        (45, 6, 10, 50),
        # Nothing was seen of them, or not for long enough
        (0, 6, 10, 50),
        (10, 2, 10, 50),
        # Their batches come in lumps of two seconds
        (10, 6, 100, 50),
    ],
)
def test_a_machine_is_blamed_only_for_what_was_surely_seen(
    made: int, seconds: int, batch_size: int, rate: float
) -> None:
    # Given senders that could make 50 attempts a second, and made another number of them
    pace = Pace()
    for second in range(seconds + 1):
        pace.observe(second, 50 + made * second, 50 + made * second)
    simulation = make.simulation(batch_size=batch_size)
    snapshot = make.snapshot(waiting(0, untried=50), workers=WORKERS, simulation=simulation)
    assert only(ahead_of(snapshot, WORKERS, (), NOON, pace)).rate == pytest.approx(rate)


def test_nobody_who_sends_makes_nothing() -> None:
    pace = Pace()
    for second in range(6):
        pace.observe(second, 50, 50)
    snapshot = make.snapshot(waiting(0, untried=50))
    assert only(ahead_of(snapshot, (), (), NOON, pace)).rate == 0


def test_senders_that_take_no_time_are_as_fast_as_they_were_seen_to_be() -> None:
    worker = make.worker(mean_time=0.0)
    pace = Pace()
    for second in range(6):
        pace.observe(second, 70 * second, 70 * second)
    snapshot = make.snapshot(waiting(0, untried=50), workers=(worker,))
    part = only(ahead_of(snapshot, (worker,), (), NOON, pace))
    assert (part.rate, part.mean_time) == (pytest.approx(70), 0.0)


@pytest.mark.parametrize(
    ("control", "deadline", "due_in"),
    [(Control.RUNNING, None, float("inf")), (Control.RUNNING, 30, 20), (Control.CANCELLED, 30, 0)],
)
def test_when_messages_expire(control: Control, deadline: float | None, due_in: float) -> None:
    simulation = make.simulation(deadline=deadline)
    snapshot = make.snapshot(waiting(1), control=control, simulation=simulation)
    assert seen(snapshot, wall=NOON + 10).due_in == due_in


# Bad days

OUTAGE = Event.model_validate({"at": 10, "for": 20, "outage": True})
FAILING = Event.model_validate({"at": 10, "for": 20, "failure_rate": 0.9})


def bad(*events: Event, made: int = 500, **values: Any) -> Snapshot:
    counts = make.counts(dispatched=1_000, first_attempts=made, attempts=made, delivered=made)
    simulation = make.simulation(events=events)
    return make.snapshot(counts, total=1_000, simulation=simulation, workers=WORKERS, **values)


def test_events_count_from_the_first_dispatch() -> None:
    # Given a run whose first batch was dispatched five seconds ago
    pace = Pace()
    pace.observe(0, 0, 0)
    ahead = ahead_of(bad(OUTAGE), WORKERS, (), NOON, pace, origin=NOON - 5)
    (stopped,) = only(ahead).bad_day.stopped
    assert (stopped.start, stopped.end) == (pytest.approx(5, abs=0.2), 25)
    # Until there was one it may be any moment
    (stopped,) = only(ahead_of(bad(OUTAGE), WORKERS, (), NOON, pace)).bad_day.stopped
    assert stopped.end == 30


def test_an_event_of_other_senders_does_not_count() -> None:
    other = Event.model_validate({"at": 10, "for": 20, "outage": True, "profile": "slow"})
    assert only(seen(bad(other))).bad_day == GOOD_DAY


@pytest.mark.parametrize(("origin", "rate"), [(NOON - 15, 50), (NOON - 90, 10)])
def test_an_outage_is_not_taken_for_a_slow_machine(origin: float, rate: float) -> None:
    # Given senders that made 10 attempts a second lately, and could make 50
    pace = Pace()
    for second in range(6):
        pace.observe(second, 10 * second, 10 * second)
    ahead = ahead_of(bad(OUTAGE), WORKERS, (), NOON, pace, origin=origin)
    assert only(ahead).rate == pytest.approx(rate)


def test_failures_of_a_bad_day_are_not_taken_for_usual_ones() -> None:
    snapshot = bad(FAILING)
    (counts,) = snapshot.profiles
    snapshot = replace(snapshot, profiles=(replace(counts, delivered=100, retried=400),))
    assert only(seen(snapshot)).failure_rate == pytest.approx(0.1)


# What readers are told


def test_while_only_retries_are_left_the_next_one_is_told() -> None:
    simulation = make.simulation(retry=RetryPolicy(backoff=10, jitter=0))
    retries = [retrying(1, attempt=0), retrying(2, attempt=1)]

    def told(counts: ProfileCounts, wall: float, **values: Any) -> float | None:
        return next_retry(make.snapshot(counts, simulation=simulation, **values), retries, wall)

    assert told(waiting(8), NOON + 4) == 6
    # Not while others are left, none is, or one is due
    assert told(waiting(8, untried=1), NOON + 4) is None
    assert told(waiting(8), NOON + 4, total=101) is None
    assert told(waiting(0), NOON + 4) is None
    assert told(waiting(8), NOON + 11) is None


@pytest.mark.parametrize(("untried", "period"), [(100, LEAST_RECKONED), (10_000, MOST_RECKONED)])
def test_time_left_is_reckoned_now_and_then_and_counts_down_between(
    untried: int, period: float
) -> None:
    tracker = Tracker(["w1"])
    counts = make.counts(dispatched=untried)
    snapshot = make.snapshot(counts, workers=WORKERS, total=untried)

    def told(seconds: float) -> float | None:
        return tracker.update(snapshot, seconds, NOON + seconds).eta_seconds

    first = told(0)
    assert first
    assert told(period / 2) == pytest.approx(first - period / 2)
    # Nothing has happened meanwhile
    assert told(period) == pytest.approx(first)


def test_a_run_that_stands_still_has_no_time_left() -> None:
    tracker = Tracker(["w1"])
    steps = (Step(Steering.PAUSED, NOON),)
    running = make.snapshot(waiting(4), workers=WORKERS)
    paused = make.snapshot(waiting(4), workers=WORKERS, control=Control.PAUSED, steps=steps)
    findings = Findings(retrying=[retrying(settled_at=NOON + 100)])
    assert tracker.update(running, 0, NOON, findings).eta_seconds
    stopped = tracker.update(paused, 0.1, NOON, findings)
    assert (stopped.eta_seconds, stopped.next_retry_seconds) == (None, None)
    again = tracker.update(running, 0.2, NOON, findings)
    assert again.eta_seconds and again.next_retry_seconds
