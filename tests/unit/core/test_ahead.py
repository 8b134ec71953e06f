"""What a run has in front of it, and what its readers are told of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sms_pipeline.core.ahead import LEAST_RECKONED, MOST_RECKONED, ahead_of, due_at, next_retry
from sms_pipeline.core.bad_day import GOOD_DAY
from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.events import Event
from sms_pipeline.core.liveness import SURVEY_SECONDS
from sms_pipeline.core.progress import Findings, Tracker
from sms_pipeline.core.rates import Pace
from sms_pipeline.core.records import Control, Retrying, Snapshot, Steering, Step, WorkerRow
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


def of_two(workers: Sequence[WorkerRow], **values: Any) -> Ahead:
    """50 messages of `fast` and 30 of `slow`, none of them tried."""
    counts = (make.counts("fast", dispatched=50), make.counts("slow", dispatched=30))
    return seen(make.snapshot(*counts, workers=workers, simulation=make.simulation(**values)))


def test_each_profile_is_reckoned_with_its_own_senders_and_its_own_batches() -> None:
    senders = (make.profile("fast", count=20), make.profile("slow", count=20, mean_time=0.5))
    workers = (
        make.worker("a", shape=4.0, failure_rate=0.1),
        make.worker("b", profile="slow", mean_time=0.5, shape=9.0, failure_rate=0.3),
    )
    fast, slow = of_two(workers, senders=senders, num_messages=1_000_000).parts
    assert (fast.rate, fast.mean_time, fast.shape, fast.failure_rate) == (50, 0.1, 4, 0.1)
    assert (slow.rate, slow.mean_time, slow.shape, slow.failure_rate) == (10, 0.5, 9, 0.3)
    # A batch is half a second of work of all senders in the configuration
    assert (fast.batch_size, slow.batch_size) == (100, 20)
    # Of a profile that is not in it nothing is known
    fast, _ = of_two(workers, senders=senders[1:], batch_size=7).parts
    assert (fast.rate, fast.batch_size) == (50, 1)


def test_messages_of_a_profile_without_workers_are_for_whoever_is_idle() -> None:
    ahead = of_two([make.worker("a")])
    assert (only(ahead).untried, ahead.adrift) == (50, 30)
    # As long as there are no workers of its own
    ahead = of_two([make.worker("a"), make.worker("b", profile="slow", senders=2)])
    assert [(part.untried, part.rate) for part in ahead.parts] == [(50, 50), (30, 20)]
    assert ahead.adrift == 0


@pytest.mark.parametrize(
    ("fast", "slow", "seconds"),
    [
        # While there is something of their own to do, all of the time is ahead
        ({}, {}, 30 + SURVEY_SECONDS),
        # Then they look on from their last settlement
        ({"first_attempts": 50, "delivered": 50}, {}, 20 + SURVEY_SECONDS),
        # Until they have begun
        ({}, {"handed_away": 1, "first_attempts": 1}, 0),
        # What is handed on for another reason is no sign of that
        ({"handed_away": 1, "first_attempts": 1}, {}, 30 + SURVEY_SECONDS),
    ],
)
def test_workers_look_on_for_a_while_before_they_take_over(
    fast: dict[str, Any], slow: dict[str, Any], seconds: float
) -> None:
    counts = (
        make.counts("fast", dispatched=50, **fast),
        make.counts("slow", dispatched=30, **slow),
    )
    simulation = make.simulation(failover={"unattended": 30})
    snapshot = make.snapshot(
        *counts, workers=[make.worker("a")], simulation=simulation, settled_at=NOON - 10
    )
    assert seen(snapshot).taken_after == seconds


def test_nobody_looks_on_where_nobody_may_take_over() -> None:
    assert of_two([make.worker("a")], failover=False).taken_after == 0
    assert of_two([make.worker("a")], failover={"unattended": None}).taken_after == 0


@pytest.mark.parametrize(
    ("workers", "failover"),
    [
        ([make.worker("a")], {"unattended": None}),
        ([make.worker("a")], False),
        ([make.worker("a", profile="stranger")], {"unattended": 10}),
        ([], {"unattended": 10}),
    ],
)
def test_messages_that_nobody_may_take_over_stay_where_they_are(
    workers: list[WorkerRow], failover: object
) -> None:
    ahead = of_two(workers, failover=failover)
    assert [part.untried for part in ahead.parts] == [50, 30]
    assert (ahead.parts[1].rate, ahead.adrift) == (0, 0)


def test_retries_wait_for_the_profile_that_makes_them() -> None:
    # Given that others than `fast` make all attempts after the second
    simulation = make.simulation(failover={"attempts": 2, "to": "slow"})
    handed = {"dispatched": 100, "first_attempts": 100, "attempts": 104}
    counts = (
        make.counts("fast", **handed, delivered=92, retried=12, handed_away=4),
        make.counts("slow", handed_in=4),
    )
    retries = retrying(1, 4, attempt=0), retrying(2, 4, attempt=1)
    workers = (make.worker("a"), make.worker("b", profile="slow"))
    snapshot = make.snapshot(*counts, workers=workers, simulation=simulation)
    fast, slow = seen(snapshot, *retries).parts
    assert [(one.attempt, one.messages) for one in fast.waiting] == [(1, 4)]
    assert [(one.attempt, one.messages) for one in slow.waiting] == [(2, 4)]
    # When that profile has no workers, then those that are there make them
    (fast,) = seen(replace(snapshot, workers=WORKERS), *retries).parts
    assert [(one.attempt, one.messages) for one in fast.waiting] == [(1, 4), (2, 4)]


def test_whoever_sends_more_takes_more_retries_over() -> None:
    counts = [make.counts(name, dispatched=50) for name in ("fast", "slow")]
    left = make.counts("rest", dispatched=8, first_attempts=8, attempts=8, retried=8)
    workers = (make.worker("a"), make.worker("b", profile="slow", senders=15))
    senders = tuple(make.profile(name) for name in ("fast", "slow", "rest"))
    simulation = make.simulation(senders=senders)
    ahead = seen(make.snapshot(*counts, left, workers=workers, simulation=simulation))
    assert [one.messages for part in ahead.parts for one in part.waiting] == [2, 6]


def test_the_rate_that_is_set_holds_for_what_is_not_dispatched() -> None:
    for rate, expected in ((5.0, 5.0), (None, math.inf)):
        snapshot = make.snapshot(waiting(0), simulation=make.simulation(rate=rate))
        assert seen(snapshot).rate == expected


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_retries_are_known_by_attempt_and_pause(missing: int) -> None:
    policy = RetryPolicy(backoff=10, jitter=0)
    simulation = make.simulation(retry=policy)
    snapshot = make.snapshot(waiting(10 + missing), workers=WORKERS, simulation=simulation)
    retries = [
        retrying(1, 4, attempt=0),
        retrying(2, 3, attempt=0),
        retrying(3, 2, attempt=1),
        # This one's pause is over.
        retrying(4, 1, attempt=0, settled_at=NOON - 60),
    ]
    part = only(seen(snapshot, *retries, wall=NOON + 4))
    # Those that are not among them must be due
    assert set(part.waiting) == {
        Waiting(1, 7, 6.0), Waiting(2, 2, 16.0), Waiting(1, 1 + missing, 0.0),
    }  # fmt: skip
    # If none is left, none is due
    (part,) = seen(replace(snapshot, profiles=(waiting(9),)), *retries[:3], wall=NOON + 4).parts
    assert set(part.waiting) == {Waiting(1, 7, 6.0), Waiting(2, 2, 16.0)}


def test_failures_that_were_seen_outweigh_those_that_are_set() -> None:
    def rate(*values: int) -> float:
        made, failed = values
        counts = make.counts(attempts=made, retried=failed, delivered=made - failed)
        return only(seen(make.snapshot(counts, workers=WORKERS))).failure_rate

    assert rate(0, 0) == pytest.approx(0.1)
    assert rate(10_000, 5_000) == pytest.approx(0.5, abs=0.01)
    # It is a share even where counters do not add up
    assert rate(0, 5_000) == 1.0


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
    for untried, rate in ((100, 1_000), (101, 100)):
        left = make.counts(dispatched=500 + untried, first_attempts=500)
        idle = make.snapshot(left, workers=(worker,), total=1_000)
        assert only(ahead_of(idle, (worker,), (), NOON, pace)).rate == pytest.approx(rate)
    # And what waits for senders that are not there is nothing for these to do
    waits = make.counts("slow", dispatched=500)
    others = make.snapshot(left, waits, workers=(worker,), total=1_101)
    assert only(ahead_of(others, (worker,), (), NOON, pace)).rate == pytest.approx(100)
    own = make.counts(dispatched=500, first_attempts=500)
    others = make.snapshot(own, waits, workers=(worker,), total=1_000)
    assert only(ahead_of(others, (worker,), (), NOON, pace)).rate == pytest.approx(1_000)


@pytest.mark.parametrize(
    ("made", "seconds", "batch_size", "rate"),
    [
        (10, 6, 10, 10),
        # Nearly all that they could is all
        (39, 6, 10, 39),
        (40, 6, 10, 50),
        # Nothing was seen of them, or not for long enough
        (0, 6, 10, 50),
        (10, 3, 10, 10),
        (10, 2, 10, 50),
        # Their batches come in lumps of more than a second and a half
        (10, 6, 70, 10),
        (10, 6, 71, 50),
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
    [
        (Control.RUNNING, None, math.inf),
        (Control.RUNNING, 30, 20),
        # It is over
        (Control.RUNNING, 9, 0),
        (Control.CANCELLED, 30, 0),
    ],
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


def hitting(event: Event, profile: str | None) -> Event:
    return event.model_copy(update={"profile": profile})


def test_an_event_counts_for_the_senders_that_it_hits() -> None:
    days = [only(seen(bad(hitting(OUTAGE, one)))).bad_day for one in (None, "fast", "slow")]
    assert days == [days[0], days[0], GOOD_DAY] != [GOOD_DAY] * 3


@pytest.mark.parametrize(
    ("ended", "rate"),
    # What was settled in the last four seconds was sent up to a second and a half before
    [(-15, 50), (5, 50), (6, 10)],
)
def test_an_outage_is_not_taken_for_a_slow_machine(ended: float, rate: float) -> None:
    # Given senders of two profiles that could make 50 attempts a second each, and made 20 in all
    pace = Pace()
    for second in range(6):
        pace.observe(second, 20 * second, 20 * second)
    workers = (*WORKERS, make.worker("slow", profile="slow"))
    # And an outage of one of them
    snapshot = bad(hitting(OUTAGE, "fast"))
    snapshot = replace(snapshot, profiles=(*snapshot.profiles, make.counts("slow")))
    origin = NOON - OUTAGE.end - ended
    fast, slow = ahead_of(snapshot, workers, (), NOON, pace, origin=origin).parts
    assert (fast.rate, slow.rate) == (pytest.approx(rate), pytest.approx(rate))


@pytest.mark.parametrize(
    ("event", "usual"),
    [
        (FAILING, 0.1),
        (hitting(FAILING, "fast"), 0.1),
        # These have nothing to do with the failures that were seen: 410 of 600 attempts
        (hitting(FAILING, "slow"), 410 / 600),
        (OUTAGE, 410 / 600),
    ],
)
def test_failures_of_a_bad_day_are_not_taken_for_usual_ones(event: Event, usual: float) -> None:
    snapshot = bad(event)
    (counts,) = snapshot.profiles
    snapshot = replace(snapshot, profiles=(replace(counts, delivered=100, retried=400),))
    assert only(seen(snapshot)).failure_rate == pytest.approx(usual)


# What readers are told


def test_while_only_retries_are_left_the_next_one_is_told() -> None:
    simulation = make.simulation(retry=RetryPolicy(backoff=10, jitter=0))
    retries = [retrying(1, attempt=0), retrying(2, attempt=1)]

    def told(counts: ProfileCounts, wall: float, **values: Any) -> float | None:
        return next_retry(make.snapshot(counts, simulation=simulation, **values), retries, wall)

    assert told(waiting(8), NOON + 4) == 6
    assert told(waiting(8), NOON + 9.5) == 0.5
    # Not while others are left, none is, or one is due
    assert told(waiting(8, untried=1), NOON + 4) is None
    assert told(waiting(8), NOON + 4, total=101) is None
    assert told(waiting(0), NOON + 4) is None
    assert told(waiting(8), NOON + 10) is None
    # Nor where nothing is known of them
    assert next_retry(make.snapshot(waiting(8), simulation=simulation), (), NOON) is None


@pytest.mark.parametrize(("deadline", "seconds"), [(None, 35_200 + 60), (30_000, 30_000)])
def test_a_run_waits_for_its_hours_but_not_longer_than_to_its_deadline(
    deadline: float | None, seconds: float
) -> None:
    # Given work for 100 seconds, 40 seconds before closing time: it is 22:13:20
    window = "08:00-22:14 UTC"
    senders = (make.profile("fast", failure_rate=0.0),)
    simulation = make.simulation(senders=senders, batch_size=1, window=window, deadline=deadline)
    counts = make.counts(dispatched=5_000)
    workers = (make.worker(failure_rate=0.0),)
    snapshot = make.snapshot(counts, simulation=simulation, workers=workers, total=5_000)
    found = Tracker(["w1"]).update(snapshot, 0, NOON).eta_seconds
    # Then 60 of them are done after opening time
    assert found == pytest.approx(seconds, abs=0.2)
    # And nobody who sends takes for ever all the same
    assert Tracker().update(snapshot, 0, NOON).eta_seconds is None


@pytest.mark.parametrize(
    ("untried", "period"), [(1, LEAST_RECKONED), (100, LEAST_RECKONED), (10_000, MOST_RECKONED)]
)
def test_time_left_is_reckoned_now_and_then_and_counts_down_between(
    untried: int, period: float
) -> None:
    tracker = Tracker(["w1"])
    counts = make.counts(dispatched=untried)
    snapshot = make.snapshot(counts, workers=WORKERS, total=untried)

    def told(seconds: float) -> float | None:
        return tracker.update(snapshot, 1_000 + seconds, NOON + seconds).eta_seconds

    first = told(0)
    assert first
    assert told(period / 2) == pytest.approx(max(first - period / 2, 0))
    # Nothing has happened meanwhile
    assert told(period) == pytest.approx(first)


def test_a_run_that_stands_still_has_no_time_left() -> None:
    tracker = Tracker(["w1"])
    steps = (Step(Steering.PAUSED, NOON),)
    running = make.snapshot(waiting(4), workers=WORKERS)
    paused = make.snapshot(waiting(4), workers=WORKERS, control=Control.PAUSED, steps=steps)
    findings = Findings(retrying=[retrying(settled_at=NOON + 100)])
    first = tracker.update(running, 0, NOON, findings)
    assert first.eta_seconds and first.next_retry_seconds
    stopped = tracker.update(paused, 0.1, NOON, findings)
    assert (stopped.eta_seconds, stopped.next_retry_seconds) == (None, None)
    # And when it goes on, it is reckoned anew: the retry is still as far away as it was
    again = tracker.update(running, 0.2, NOON, findings)
    assert again.eta_seconds == first.eta_seconds
    assert again.next_retry_seconds == first.next_retry_seconds
