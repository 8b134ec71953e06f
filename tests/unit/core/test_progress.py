"""Progress follows from readings alone: who is online, how fast it goes, when it ends."""

from __future__ import annotations

import json

import pytest

from sms_pipeline.core.histogram import upper_bound
from sms_pipeline.core.liveness import ONLINE_SECONDS, SURVEY_SECONDS, Liveness
from sms_pipeline.core.progress import Findings, Progress, Tracker
from sms_pipeline.core.thresholds import State
from sms_pipeline.views.objects import progress_json
from tests.unit import make
from tests.unit.make import NOON


def update(*profiles: object, now: float = 0.0, **values: object) -> Progress:
    return Tracker().update(make.snapshot(*profiles, **values), now, NOON + 10)  # type: ignore[arg-type]


# Who is online


def test_worker_is_online_once_its_heartbeat_was_seen_to_change() -> None:
    liveness = Liveness()
    assert liveness.observe(0, [make.worker(heartbeat=7)]) == ()
    assert liveness.observe(1, [make.worker(heartbeat=7)]) == ()
    assert liveness.observe(2, [make.worker(heartbeat=8)]) == (make.worker(heartbeat=8),)
    assert liveness.last_seen("w1", 3) == 1
    assert liveness.last_seen("stranger", 3) is None


@pytest.mark.parametrize(("age", "online"), [(ONLINE_SECONDS, True), (ONLINE_SECONDS + 0.1, False)])
def test_worker_whose_heart_stands_still_is_offline(age: float, online: bool) -> None:
    liveness = Liveness()
    for beat in (1, 2):
        liveness.observe(0, [make.worker(heartbeat=beat)])
    assert bool(liveness.observe(age, [make.worker(heartbeat=2)])) is online


def test_worker_that_comes_back_is_online_again() -> None:
    liveness = Liveness()
    for now, beat in ((0, 1), (1, 2), (100, 2)):
        seen = liveness.observe(now, [make.worker(heartbeat=beat)])
    assert seen == ()
    assert liveness.observe(101, [make.worker(heartbeat=3)])


def test_worker_of_this_process_is_trusted_at_once() -> None:
    liveness = Liveness(["w1"])
    assert liveness.observe(0, [make.worker()])
    assert liveness.is_decided(0, [make.worker()])


def test_it_takes_a_while_to_tell_that_a_worker_is_dead() -> None:
    liveness, workers = Liveness(), [make.worker()]
    assert liveness.is_decided(0, [])
    liveness.observe(0, workers)
    assert not liveness.is_decided(SURVEY_SECONDS - 0.1, workers)
    assert liveness.is_decided(SURVEY_SECONDS, workers)


def test_it_is_decided_at_once_when_every_heart_was_seen_beating() -> None:
    liveness = Liveness()
    for beat in (1, 2):
        liveness.observe(0, [make.worker(heartbeat=beat)])
    assert liveness.is_decided(0, [make.worker(heartbeat=2)])


# Figures


def test_figures_are_the_sums_over_the_profiles() -> None:
    progress = update(
        make.counts("fast", dispatched=40, first_attempts=30, attempts=35, delivered=20, failed=2,
                    retried=10, send_seconds=7.0, delivery_seconds=44.0),
        make.counts("slow", dispatched=10, first_attempts=10, attempts=10, delivered=5, failed=1,
                    expired=2, cancelled=1, retried=1, send_seconds=2.0, delivery_seconds=12.0),
        started_at=NOON,
    )  # fmt: skip
    assert (
        progress.counts.delivered,
        progress.counts.failed,
        progress.counts.expired,
        progress.counts.cancelled,
    ) == (25, 3, 2, 1)
    assert (progress.counts.finished, progress.share, progress.done) == (31, 0.31, False)
    assert (progress.counts.dispatched, progress.counts.backlog, progress.counts.retrying) == (
        50,
        10,
        6,
    )
    assert progress.counts.failed_attempts == 14
    assert progress.counts.mean_send == 9 / 42
    assert progress.counts.mean_delivery == 56 / 28
    fast, slow = progress.profiles
    assert (fast.counts.backlog, fast.counts.retrying, fast.counts.failed_attempts) == (10, 5, 12)
    assert (slow.counts.backlog, slow.counts.retrying, slow.counts.failed_attempts) == (0, 1, 2)
    assert fast.counts.mean_delivery == 2.0


def test_percentiles_are_taken_over_all_profiles() -> None:
    progress = update(
        make.counts("fast", delivery_times={10: 98}), make.counts("slow", delivery_times={90: 2})
    )
    p50, p99 = progress.counts.percentile(0.50), progress.counts.percentile(0.99)
    assert p50 is not None
    assert p99 is not None
    assert upper_bound(9) <= p50 <= upper_bound(10)
    assert upper_bound(89) <= p99 <= upper_bound(90)


def test_in_flight_is_what_was_dispatched_and_has_not_ended() -> None:
    progress = update(
        make.counts("fast", dispatched=50, first_attempts=40, attempts=52, delivered=25, failed=2,
                    expired=3, cancelled=4, retried=18),
    )  # fmt: skip
    (fast,) = progress.profiles
    assert (
        progress.counts.in_flight
        == fast.counts.in_flight
        == fast.counts.dispatched - progress.counts.finished
        == 16
    )


def test_failure_rate_seen_leaves_out_what_was_never_attempted() -> None:
    simulation = make.simulation(senders=(make.profile("fast", failure_rate=0.2),))
    progress = update(
        make.counts(
            "fast", attempts=60, delivered=30, failed=5, retried=15, expired=6, cancelled=4
        ),
        simulation=simulation,
    )
    (fast,) = progress.profiles
    assert (progress.counts.attempts_made, fast.counts.attempts_made) == (50, 50)
    assert progress.counts.failure_rate == fast.counts.failure_rate == 0.4
    assert fast.failure_rate == 0.2


def test_share_is_of_all_dispatched_and_reached_of_the_whole_run() -> None:
    progress = update(
        make.counts("fast", dispatched=30, delivered=20, failed=4),
        make.counts("slow", dispatched=10),
    )
    assert [profile.share for profile in progress.profiles] == [0.75, 0.25]
    assert progress.reached == 0.2


def test_capacity_is_that_of_the_online_workers_own_senders() -> None:
    workers = (
        make.worker("w1", senders=5, mean_time=0.1),
        make.worker("w2", senders=4, mean_time=0.5),
        make.worker("dead", senders=100),
    )
    tracker = Tracker(["w1", "w2"])
    counted = [make.counts(attempts=n) for n in (0, 58)]
    for now, counts in enumerate(counted):
        progress = tracker.update(make.snapshot(counts, workers=workers), now, NOON)
    (fast,) = progress.profiles
    assert (fast.online_senders, fast.capacity, fast.efficiency) == (9, 58.0, 1.0)


def test_senders_that_need_no_time_have_a_capacity_that_json_can_hold() -> None:
    tracker = Tracker(["w1"])
    snapshot = make.snapshot(make.counts(), workers=(make.worker(mean_time=0.0),))
    assert progress_json(tracker.update(snapshot, 0, NOON))["profiles"][0]["capacity"] is None


def test_nothing_counted_yet() -> None:
    progress = update(make.counts())
    assert progress.counts.mean_send is progress.counts.mean_delivery is None
    assert (progress.seconds, progress.rate, progress.average_rate) == (0, 0, 0)
    assert progress.eta_seconds is progress.counts.failure_rate is None
    assert (progress.profiles[0].share, progress.reached, progress.still_seconds) == (0, 0, 0)


def test_time_runs_from_the_first_dispatch_to_now() -> None:
    progress = update(make.counts(delivered=50), started_at=NOON, settled_at=NOON + 5)
    assert (progress.seconds, progress.average_rate) == (10, 5)


def test_time_of_a_finished_run_ends_with_its_last_settlement() -> None:
    progress = update(make.counts(delivered=100), started_at=NOON, settled_at=NOON + 5)
    assert progress.done
    assert (progress.seconds, progress.average_rate, progress.eta_seconds) == (5, 20, 0)


def test_clock_that_was_set_back_gives_no_negative_time() -> None:
    assert update(make.counts(), started_at=NOON + 1_000).seconds == 0


def test_rate_is_that_of_the_last_seconds() -> None:
    # Given 10 a second for 20 seconds, then none
    tracker = Tracker()
    rates = []
    for second in range(41):
        counts = make.counts(delivered=min(10 * second, 200))
        snapshot = make.snapshot(counts, total=1_000, started_at=NOON)
        rates.append(tracker.update(snapshot, second, NOON + second).rate)
    assert rates[0] == 0
    assert rates[1:21] == [10.0] * 20
    assert rates[30:] == [0.0] * 11
    assert rates[20:30] == sorted(rates[20:30], reverse=True)


def test_eta_is_what_is_left_at_the_rate_of_now() -> None:
    tracker = Tracker()
    tracker.update(make.snapshot(make.counts()), 0, NOON)
    progress = tracker.update(make.snapshot(make.counts(delivered=20)), 2, NOON + 2)
    assert progress.eta_seconds == 8


# Warnings


def test_waiting_messages_without_a_sender_are_named() -> None:
    # Given a worker for `fast` alone
    tracker = Tracker(["w1"])
    profiles = [make.counts(name, dispatched=10) for name in ("fast", "slow")]
    snapshot = make.snapshot(*profiles, workers=(make.worker(),))
    progress = tracker.update(snapshot, 0, NOON)
    assert progress.profiles[0].online_senders == 5
    assert progress.warnings == ("profile slow: 10 messages waiting, no sender online",)


def test_retries_without_a_sender_are_named_too() -> None:
    progress = update(make.counts("slow", dispatched=9, first_attempts=9, attempts=9, retried=4))
    assert progress.warnings == ("profile slow: 4 messages waiting, no sender online",)


def test_no_warning_before_it_is_known_who_is_online() -> None:
    tracker, snapshot = (
        Tracker(),
        make.snapshot(make.counts(dispatched=10), workers=(make.worker(),)),
    )
    assert tracker.update(snapshot, 0, NOON).warnings == ()
    assert tracker.update(snapshot, SURVEY_SECONDS, NOON).warnings


def test_batches_dispatched_long_ago_are_named() -> None:
    progress = Tracker().update(
        make.snapshot(make.counts()), 0, NOON, Findings(stuck={"fast": 1_500})
    )
    assert progress.warnings == (
        "profile fast: 1,500 messages dispatched long ago and not settled",
    )


# Thresholds


def test_thresholds_of_the_run_are_judged_on_all_profiles() -> None:
    # Given one profile that keeps to its share and one that does not
    simulation = make.simulation(thresholds=["failed < 5%", "reached 50% < 1m", "lost == 0"])
    profiles = [make.counts("fast", delivered=60, failed=1), make.counts("slow", failed=4)]
    snapshot = make.snapshot(*profiles, simulation=simulation, started_at=NOON)
    findings = Findings(reached_at={50: NOON + 20})
    found = Tracker().update(snapshot, 0, NOON + 30, findings)
    assert [(one.state, one.seen) for one in found.thresholds] == [
        (State.MISSED, 0.05), (State.HOLDING, 20.0), (State.UNKNOWN, None),
    ]  # fmt: skip
    assert [one.check.text for one in found.missed] == ["failed < 5%"]
    assert progress_json(found)["thresholds"][1] == {
        "check": "reached 50% < 1m", "state": "holding", "seen": 20.0,
    }  # fmt: skip


def test_json_holds_the_figures() -> None:
    progress = update(
        make.counts(
            dispatched=100,
            first_attempts=100,
            attempts=100,
            delivered=100,
            send_seconds=10.0,
            delivery_times={5: 100},
        ),
        started_at=NOON,
        settled_at=NOON + 5,
    )
    found = json.loads(json.dumps(progress_json(progress)))
    expected = {
        "run": 1, "total": 100, "delivered": 100, "failed": 0, "seconds": 5.0, "done": True,
        "average_rate": 20.0, "mean_send_seconds": 0.1, "eta_seconds": 0.0,
        "failed_attempts": 0, "warnings": [], "attempts": 100, "failure_rate_seen": 0.0,
        "in_flight": 0, "reached": 1.0, "history": [], "still_seconds": 0.0,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert found["profiles"][0]["name"] == "fast"
    assert found["profiles"][0]["delivered"] == 100
