"""Progress follows from readings alone: who is online, how fast it goes, when it ends."""

from __future__ import annotations

import pytest

from sms_pipeline.core.events import Event
from sms_pipeline.core.liveness import SURVEY_SECONDS
from sms_pipeline.core.parts import parts_per_message
from sms_pipeline.core.progress import Findings, Progress, Tracker
from sms_pipeline.core.records import Control
from sms_pipeline.core.thresholds import State
from tests.unit import make
from tests.unit.make import NOON


def update(*profiles: object, now: float = 0.0, **values: object) -> Progress:
    return Tracker().update(make.snapshot(*profiles, **values), now, NOON + 10)  # type: ignore[arg-type]


# Figures


def test_figures_are_the_sums_over_the_profiles() -> None:
    progress = update(
        make.counts("fast", dispatched=40, delivered=20, failed=2),
        make.counts("slow", dispatched=10, delivered=5, failed=1, expired=2, cancelled=1),
    )
    assert (progress.counts.dispatched, progress.counts.delivered) == (50, 25)
    assert (progress.counts.finished, progress.share, progress.done) == (31, 0.31, False)
    assert [one.counts.delivered for one in progress.profiles] == [20, 5]


def test_failure_rate_seen_is_beside_the_configured_one() -> None:
    simulation = make.simulation(senders=(make.profile("fast", failure_rate=0.2),))
    seen = make.counts("fast", attempts=60, delivered=30, failed=5, retried=15, expired=10)
    progress = update(seen, make.counts("unconfigured"), simulation=simulation)
    fast, unconfigured = progress.profiles
    assert (fast.counts.failure_rate, fast.failure_rate) == (0.4, 0.2)
    assert unconfigured.failure_rate is None


def test_progress_says_which_run_it_is_and_how_it_was_started() -> None:
    simulation = make.simulation(num_messages=50)
    progress = update(
        run=3, total=50, seed=9, simulation=simulation, control=Control.PAUSED, started_at=NOON
    )
    assert (progress.run, progress.total, progress.seed) == (3, 50, 9)
    assert progress.simulation is simulation
    assert (progress.control, progress.started_at) == (Control.PAUSED, NOON)


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
    assert (fast.senders, fast.capacity) == (9, 58.0)
    assert [worker.id for worker in tracker.online] == ["w1", "w2"]


def test_senders_and_failure_rate_are_those_the_workers_were_started_with() -> None:
    # Given a profile that is configured otherwise than its two workers, and a dead one, play it
    simulation = make.simulation(
        senders=(make.profile("fast", count=100, failure_rate=0.9), make.profile("slow"))
    )
    workers = (
        make.worker("w1", senders=6, failure_rate=0.1, mean_time=0.5),
        make.worker("w2", senders=2, failure_rate=0.5, mean_time=0.25),
        make.worker("dead", senders=1_000, failure_rate=1.0),
    )
    snapshot = make.snapshot(
        make.counts("fast"), make.counts("slow"), workers=workers, simulation=simulation
    )
    fast, slow = Tracker(["w1", "w2"]).update(snapshot, 0.0, NOON).profiles
    # Then a sender of either counts as much as any other
    assert (fast.senders, fast.capacity) == (8, 6 / 0.5 + 2 / 0.25)
    assert fast.failure_rate == pytest.approx((6 * 0.1 + 2 * 0.5) / 8)
    # And where nobody is, the failure rate is that of the configuration
    assert (slow.senders, slow.capacity, slow.failure_rate) == (0, 0, 0.1)


def test_senders_of_a_run_that_is_done_are_those_that_took_part() -> None:
    # Given workers that are gone, or were never seen by this reader
    workers = (
        make.worker("w1", senders=6, failure_rate=0.1, left_at=NOON + 9),
        make.worker("w2", senders=2, failure_rate=0.5),
    )
    done = make.counts("fast", delivered=100)
    snapshot = make.snapshot(done, workers=workers, settled_at=NOON + 5)
    (fast,) = Tracker().update(snapshot, 0.0, NOON + 3_600).profiles
    assert (fast.senders, fast.failure_rate) == (8, pytest.approx(0.2))


def test_profile_without_a_sender_online_can_attempt_nothing() -> None:
    (slow,) = update(make.counts("slow"), workers=(make.worker("dead", profile="slow"),)).profiles
    assert (slow.senders, slow.capacity, slow.efficiency) == (0, 0.0, None)


def test_nothing_counted_yet() -> None:
    progress = Tracker().update(make.snapshot(make.counts()), 0.0, NOON)
    assert progress.counts.mean_send is progress.counts.mean_delivery is None
    assert (progress.seconds, progress.rate, progress.average_rate) == (0, 0, 0)
    assert progress.eta_seconds is progress.counts.failure_rate is None
    assert (progress.profiles[0].share, progress.reached, progress.still_seconds) == (0, 0, 0)


def test_time_runs_from_the_start_of_the_run_to_now() -> None:
    progress = update(make.counts(delivered=50), started_at=NOON, settled_at=NOON + 5)
    assert (progress.seconds, progress.average_rate) == (10, 5)


def test_time_of_a_finished_run_ends_with_its_last_settlement() -> None:
    progress = update(
        make.counts(dispatched=100, first_attempts=100, attempts=100, delivered=100),
        started_at=NOON,
        settled_at=NOON + 5,
    )
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


def test_eta_is_what_is_left_at_the_rate_of_the_senders_online() -> None:
    # Given 5 senders that make an attempt in 0.1 s
    simulation = make.simulation(senders=(make.profile("fast", failure_rate=0.0),), batch_size=1)
    workers = (make.worker(failure_rate=0.0),)
    counts = make.counts(dispatched=100, first_attempts=20, attempts=20, delivered=20)
    snapshot = make.snapshot(counts, workers=workers, simulation=simulation)
    found = Tracker(["w1"]).update(snapshot, 0, NOON).eta_seconds
    assert found == pytest.approx(80 / 50, abs=0.2)
    # And none while nobody is
    assert Tracker().update(snapshot, 0, NOON).eta_seconds is None


def test_history_and_stillness_are_those_since_the_reader_began_to_look() -> None:
    tracker = Tracker()
    for now, delivered in ((5, 40), (6, 50), (8, 50)):
        progress = tracker.update(make.snapshot(make.counts(delivered=delivered)), now, NOON)
    assert (progress.history, progress.still_seconds) == ((10.0, 0.0), 2)


# Warnings


def test_waiting_messages_without_a_sender_are_named() -> None:
    # Given a worker for `fast` alone
    tracker = Tracker(["w1"])
    profiles = [make.counts(name, dispatched=10) for name in ("fast", "slow")]
    snapshot = make.snapshot(*profiles, workers=(make.worker(),))
    progress = tracker.update(snapshot, 0, NOON)
    assert progress.profiles[0].senders == 5
    assert progress.warnings == (
        "profile slow: 10 messages waiting, no sender online; idle workers of other profiles take "
        "them over",
    )


@pytest.mark.parametrize("failover", [False, {"unattended": None}])
def test_nobody_is_said_to_take_over_what_may_not_be_taken_over(failover: object) -> None:
    simulation = make.simulation(failover=failover)
    profiles = [make.counts(name, dispatched=10) for name in ("fast", "slow")]
    snapshot = make.snapshot(*profiles, workers=(make.worker(),), simulation=simulation)
    warnings = Tracker(["w1"]).update(snapshot, 0, NOON).warnings
    assert warnings == ("profile slow: 10 messages waiting, no sender online",)


def test_retries_without_a_sender_are_named_too() -> None:
    counts = make.counts("slow", dispatched=9, first_attempts=9, attempts=9, delivered=5, retried=4)
    progress = update(counts)
    assert progress.warnings == ("profile slow: 4 messages waiting, no sender online",)


def test_no_warning_before_it_is_known_who_is_online() -> None:
    tracker = Tracker()
    assert (tracker.decided, tracker.online) == (False, ())
    snapshot = make.snapshot(make.counts(dispatched=10), workers=(make.worker(),))
    assert tracker.update(snapshot, 0, NOON).warnings == ()
    assert not tracker.decided
    assert tracker.update(snapshot, SURVEY_SECONDS, NOON).warnings
    assert tracker.decided


@pytest.mark.parametrize("control", Control)
def test_run_that_the_user_stopped_is_named_first(control: Control) -> None:
    progress = update(make.counts("slow", dispatched=10), control=control)
    first, *others = progress.warnings
    if control is Control.RUNNING:
        assert (first.partition(":")[0], others) == ("profile slow", [])
    else:
        assert first == f"the run is {control.value}"
        assert len(others) == 1


def test_batches_dispatched_long_ago_are_named() -> None:
    progress = Tracker().update(
        make.snapshot(make.counts()), 0, NOON, Findings(stuck={"fast": 1_500})
    )
    assert progress.warnings == (
        "profile fast: 1,500 messages stuck: dispatched long ago and not settled",
    )


def of_slow(
    *, online: str = "fast slow", dispatched: int = 60, settled: int = 1, **values: object
) -> tuple[str, ...]:
    """Warnings of a run of 100 messages, none of which went to `slow` so far."""
    counts = make.counts(
        dispatched=dispatched, first_attempts=settled, attempts=settled, delivered=settled
    )
    workers = tuple(make.worker(name, profile=name) for name in online.split())
    given = {"workers": workers, **values}
    snapshot = make.snapshot(counts, make.counts("slow"), **given)
    return Tracker(["fast", "slow"]).update(snapshot, 0, NOON + 10).warnings


def test_a_profile_that_gets_no_messages_says_why() -> None:
    last = "profile slow gets no messages: its queue would be empty last"
    assert of_slow(online="fast") == ("profile slow gets no messages: nobody is online",)
    assert of_slow() == (last,)
    # Once all are dispatched, its turn can't come any more
    assert of_slow(settled=0, dispatched=100) == (last,)


def test_a_profile_is_not_said_to_get_nothing_before_its_turn_or_without_a_choice() -> None:
    assert of_slow(settled=0) == ()
    assert of_slow(online="fast", dispatched=100) == ()
    assert of_slow(online="", dispatched=0) == ()
    assert of_slow(simulation=make.simulation(routing="static")) == ()
    assert of_slow(control=Control.PAUSED) == ("the run is paused",)
    # It is over
    assert of_slow(total=60, settled=60) == ()


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


def test_thresholds_are_judged_on_all_that_is_known_of_the_run() -> None:
    # Given a run of 100 messages that ended within 30 s, and an audit that found nothing good
    texts = ["duration < 20s", "delivered >= 1%", "lost == 0", "doubled == 0", "reached 9% < 1m"]
    simulation = make.simulation(thresholds=[{"check": text, "abort": True} for text in texts])
    snapshot = make.snapshot(make.counts(delivered=100), simulation=simulation, started_at=NOON)
    findings = Findings(lost=2, doubled=3, reached_at={9: NOON - 5})
    found = Tracker().update(snapshot, 0, NOON + 30, findings)
    # Then a time before the start, of a clock that was set back, counts as none
    assert [one.seen for one in found.thresholds] == [30.0, 1.0, 2, 3, 0.0]
    assert [one.check.text for one in found.missed] == [texts[0], texts[2], texts[3]]
    assert all(one.abort for one in found.thresholds)
    # And without `abort` none of them ends the run
    mild = make.simulation(thresholds=texts)
    found = Tracker().update(make.snapshot(simulation=mild), 0, NOON)
    assert not any(one.abort for one in found.thresholds)


def test_thresholds_are_passed_only_when_the_run_is_done() -> None:
    simulation = make.simulation(thresholds=["failed < 5%", "lost == 0"])
    for delivered, states in (
        (99, [State.HOLDING, State.UNKNOWN]),
        (100, [State.PASSED, State.MISSED]),
    ):
        progress = update(make.counts(delivered=delivered), simulation=simulation)
        assert [one.state for one in progress.thresholds] == states


# Hosts and prices


def test_a_profile_names_the_hosts_of_its_own_workers() -> None:
    ids = ("fast-1-aa@north", "fast-2-bb@south", "slow-3-cc@south")
    workers = tuple(make.worker(id, profile=id[:4]) for id in ids)
    snapshot = make.snapshot(make.counts("fast"), make.counts("slow"), workers=workers)
    profiles = Tracker(ids).update(snapshot, 0, NOON).profiles
    assert [[part.host for part in one.hosts] for one in profiles] == [
        ["north", "south"], ["south"],
    ]  # fmt: skip


def test_a_price_is_for_each_part() -> None:
    # Given texts of which each takes two parts, on average
    senders = (make.profile("fast", price=0.01),)
    contents = {"sha256": "0" * 64, "rows": 100, "columns": ("to",), "message_bytes": 300}
    recipients = {"file": "people.csv", "contents": contents | {"parts": 200}}
    simulation = make.simulation(
        num_messages=100, senders=senders, recipients=recipients, text="Go"
    )

    # Then what was delivered costs twice its price
    counts = make.counts(dispatched=100, first_attempts=100, attempts=100, delivered=90, failed=10)
    snapshot = make.snapshot(counts, simulation=simulation)
    assert Tracker().update(snapshot, 0, NOON + 10).cost == pytest.approx(90 * 2 * 0.01)


def test_the_price_of_random_texts_is_that_of_the_runs_own_texts() -> None:
    senders = (make.profile("fast", price=0.01),)
    random = make.simulation(senders=senders, num_messages=20, max_text_length=400)
    costs = [update(make.counts(delivered=90), simulation=random, seed=n).cost for n in (7, 8)]
    assert costs == [pytest.approx(0.9 * (parts_per_message(random, n) or 0)) for n in (7, 8)]
    assert costs[0] != costs[1]
    # Those of a caller are not known: each counts as one part
    unknown = make.simulation(senders=senders, messages_from="caller")
    assert update(make.counts(delivered=90), simulation=unknown).cost == pytest.approx(0.9)


# The time left


def test_a_machine_that_holds_senders_up_makes_the_time_left_longer() -> None:
    # Given senders that could make 50 attempts a second, and made 10 of them
    senders = (make.profile("fast", failure_rate=0.0),)
    simulation = make.simulation(senders=senders, batch_size=1)
    tracker = Tracker(["w1"])
    for second in range(6):
        made = 10 * (second + 1)
        counts = make.counts(dispatched=160, first_attempts=made, attempts=made, delivered=made)
        snapshot = make.snapshot(
            counts, total=160, simulation=simulation, workers=(make.worker(failure_rate=0.0),)
        )
        left = tracker.update(snapshot, second, NOON + second).eta_seconds
    # Then what is left takes as long at that rate
    assert left == pytest.approx(100 / 10, abs=0.2)


def test_events_count_from_the_first_dispatch_as_far_as_it_is_known() -> None:
    # Given an outage of 20 s that began with the run's first dispatch, and work for 2 s
    outage = Event.model_validate({"at": 0, "for": 20, "outage": True})
    senders = (make.profile("fast", failure_rate=0.0),)
    simulation = make.simulation(senders=senders, batch_size=1, events=[outage])
    workers = (make.worker(failure_rate=0.0),)
    snapshot = make.snapshot(make.counts(dispatched=100), simulation=simulation, workers=workers)
    for origin, seconds in ((NOON - 5, 15 + 2), (NOON - 20, 2), (None, 20 + 2)):
        found = Tracker(["w1"]).update(snapshot, 0, NOON, Findings(origin=origin))
        assert found.eta_seconds == pytest.approx(seconds, abs=0.2)
