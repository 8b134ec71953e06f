"""How a run stands: running, paused, cancelled, interrupted, stalled or done; and for how long."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sms_pipeline.core.events import Event
from sms_pipeline.core.liveness import SURVEY_SECONDS
from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.records import Control, Steering, Step
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.run_state import STALLED_SECONDS, RunState, patience, paused_seconds
from tests.unit import make
from tests.unit.make import NOON

#: How long after the last sign of life a run is looked at.
SOON, LATE = 1.0, 3_600.0
NO_RETRY = RetryPolicy(max_attempts=1, backoff=0)
HALF = make.counts(dispatched=100, first_attempts=50, attempts=50, delivered=50)
ALL = make.counts(dispatched=100, first_attempts=100, attempts=100, delivered=100)


def seen(*, after: float = SOON, trusted: Iterable[str] = (), **values: object) -> Progress:
    """A run half of which is delivered, so long after the last settlement at noon."""
    snapshot = make.snapshot(
        HALF, **{"active_at": NOON, "started_at": NOON - 10, "settled_at": NOON, **values}
    )
    return Tracker(trusted).update(snapshot, 0.0, NOON + after)


# States


@pytest.mark.parametrize(
    ("control", "soon", "late"),
    [
        (Control.RUNNING, RunState.RUNNING, RunState.STALLED),
        (Control.CANCELLED, RunState.CANCELLED, RunState.STALLED),
        # Of a run that is paused nothing is expected.
        (Control.PAUSED, RunState.PAUSED, RunState.PAUSED),
    ],
)
def test_run_that_is_not_done_stands_as_it_was_steered_until_too_long_nothing_happens(
    control: Control, soon: RunState, late: RunState
) -> None:
    assert seen(control=control).state is soon
    assert seen(control=control, after=LATE).state is late


@pytest.mark.parametrize("control", Control)
@pytest.mark.parametrize("after", [SOON, LATE])
def test_run_is_done_when_all_have_their_end_however_it_was_steered(
    control: Control, after: float
) -> None:
    snapshot = make.snapshot(ALL, control=control, active_at=NOON, settled_at=NOON, embedded=True)
    assert Tracker().update(snapshot, 0.0, NOON + after).state is RunState.DONE


def test_paused_run_is_interrupted_too_when_its_process_is_gone() -> None:
    found = seen(control=Control.PAUSED, embedded=True, after=SOON, workers=())
    assert found.state is RunState.INTERRUPTED


def test_run_is_interrupted_when_the_process_that_has_its_broker_is_gone() -> None:
    workers = (make.worker("w1"),)
    # Given a worker that never left, and whose heartbeat does not change
    tracker = Tracker()
    snapshot = make.snapshot(HALF, embedded=True, workers=workers, active_at=NOON)
    # Then it is interrupted once that is known for certain
    assert tracker.update(snapshot, 0.0, NOON + SOON).state is RunState.RUNNING
    assert tracker.update(snapshot, SURVEY_SECONDS, NOON + SOON).state is RunState.INTERRUPTED
    # And at once if it has left
    assert seen(embedded=True).state is RunState.INTERRUPTED
    assert seen(embedded=True, workers=(make.worker(left_at=NOON),)).state is RunState.INTERRUPTED


def test_run_with_a_worker_or_with_a_broker_that_lives_on_is_not_interrupted() -> None:
    assert seen(embedded=True, workers=(make.worker(),), trusted=["w1"]).state is RunState.RUNNING
    assert seen(embedded=False).state is RunState.RUNNING


def test_run_of_which_nothing_was_dispatched_yet_has_the_same_patience_from_its_start() -> None:
    waits = patience(make.simulation())
    for after, state in ((waits - 1, RunState.RUNNING), (waits + 1, RunState.STALLED)):
        found = seen(after=after, started_at=NOON, active_at=None, settled_at=None)
        assert found.state is state


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        # A batch of 10 takes a sender that needs 0.1 s one second, and the last of it another 0.1 s
        ({}, 2 * 1.1),
        ({"retry": RetryPolicy(backoff=0)}, 2 * 1.1),
        ({"retry": RetryPolicy(backoff=7, max_attempts=3)}, 2 * 1.1 + 14),
        ({"batch_size": 1_000}, 2 * 100.1),
        # A message goes every two seconds, in a batch of its own
        ({"rate": 0.5}, 2 * (0.1 + 0.1) + 2),
        # The slowest profile counts
        ({"senders": (make.profile(), make.profile("slow", mean_time=30.0))}, 2 * 330.0),
    ],
    ids=str,
)
def test_healthy_run_is_given_time_for_its_pauses_and_its_batches(
    values: dict[str, object], seconds: float
) -> None:
    given = {"batch_size": 10, "retry": NO_RETRY, **values}
    simulation = make.simulation(**given)
    assert patience(simulation) == pytest.approx(STALLED_SECONDS + seconds)
    for after, state in ((-1, RunState.RUNNING), (1, RunState.STALLED)):
        waited = patience(simulation) + after
        assert seen(simulation=simulation, after=waited).state is state


def test_run_is_given_time_for_an_outage_and_for_slow_batches() -> None:
    outage = Event.model_validate({"at": 0, "for": 90, "outage": True})
    usual = patience(make.simulation())
    assert patience(make.simulation(events=(outage,))) == usual + 90
    # Batches of one message, which takes half a second at the only sender
    slowdown = {"at": 0, "for": 90, "slowdown": 3}
    for profile, factor in ((None, 3), ("fast", 3), ("slow", 1)):
        event = Event.model_validate({**slowdown, "profile": profile})
        senders = (make.profile("fast", mean_time=0.5), make.profile("slow", mean_time=0.125))
        simulation = make.simulation(senders=senders, batch_size=1, retry=NO_RETRY, events=(event,))
        assert patience(simulation) == STALLED_SECONDS + 2 * factor * (0.5 + 0.5)


def test_run_stands_still_once_its_patience_is_over() -> None:
    # Batches of ten messages, each of which takes half a second
    simulation = make.simulation(
        senders=(make.profile("fast", mean_time=0.5),), batch_size=10, retry=NO_RETRY
    )
    waited = STALLED_SECONDS + 2 * (5 + 0.5)
    assert seen(simulation=simulation, after=waited).state is RunState.RUNNING
    assert seen(simulation=simulation, after=waited + 0.125).state is RunState.STALLED


@pytest.mark.parametrize("what", [Steering.CONTINUED, Steering.RESUMED])
def test_run_that_goes_on_after_a_long_pause_is_given_time_to_do_so(what: Steering) -> None:
    # Given a run that was paused, or whose producer was gone, for an hour
    steps = (Step(what, NOON + LATE),)
    for after, state in ((SOON, RunState.RUNNING), (LATE, RunState.STALLED)):
        assert seen(steps=steps, after=LATE + after).state is state


# For how long


PAUSED, CONTINUED = Steering.PAUSED, Steering.CONTINUED


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        ([], 0),
        ([(PAUSED, 10), (CONTINUED, 15)], 5),
        ([(PAUSED, 10), (CONTINUED, 15), (PAUSED, 20), (CONTINUED, 27)], 12),
        # A pause that is not over, or that was ended by the run's end
        ([(PAUSED, 10), (CONTINUED, 15), (PAUSED, 20)], 5 + 80),
        ([(PAUSED, 10), (Steering.CANCELLED, 40)], 30),
        # Who resumes a run that is paused has to continue it, too
        ([(PAUSED, 10), (Steering.RESUMED, 20)], 90),
        ([(PAUSED, 10), (Steering.RESUMED, 20), (CONTINUED, 30)], 20),
        # Nothing was paused before these
        ([(CONTINUED, 15), (Steering.CANCELLED, 40), (Steering.RESUMED, 50)], 0),
        # A clock that was set back
        ([(PAUSED, 10), (CONTINUED, 5)], 0),
        ([(PAUSED, 120)], 0),
    ],
    ids=str,
)
def test_pauses_are_added_up(steps: list[tuple[Steering, float]], seconds: float) -> None:
    given = [Step(what, NOON + at) for what, at in steps]
    assert paused_seconds(given, NOON + 100) == seconds


def test_progress_tells_for_how_long_the_run_was_paused_and_interrupted() -> None:
    steps = (
        Step(PAUSED, NOON + 1),
        Step(CONTINUED, NOON + 4),
        Step(Steering.RESUMED, NOON + 5, idle_seconds=20.0),
        Step(Steering.RESUMED, NOON + 6, idle_seconds=1.5),
        Step(PAUSED, NOON + 8),
    )
    found = seen(steps=steps, after=10.0)
    assert (found.paused_seconds, found.interrupted_seconds) == (3 + 2, 21.5)


def test_pause_in_which_a_run_was_done_ends_with_it() -> None:
    snapshot = make.snapshot(ALL, settled_at=NOON + 5, steps=(Step(PAUSED, NOON + 1),))
    found = Tracker().update(snapshot, 0.0, NOON + LATE)
    assert (found.state, found.paused_seconds) == (RunState.DONE, 4)
