"""How a run stands, and for how long it was held up. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

from sms_pipeline.core.events import longest_outage, worst_slowdown
from sms_pipeline.core.records import Control, Steering, Step
from sms_pipeline.core.retry import longest_pause
from sms_pipeline.core.simulation import Simulation

#: An unfinished run in which nothing happened for so long, beyond the pauses it is bound to make,
#: stands still.
STALLED_SECONDS = 60.0
#: A batch may take so many times its usual time before that looks like standing still.
BATCH_MARGIN = 2.0


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    PAUSED = "paused"
    #: Cancelled, and some messages are still to be settled as such.
    CANCELLED = "cancelled"
    #: The process that it ran in is gone.
    INTERRUPTED = "interrupted"
    #: Nothing happens, though something should.
    STALLED = "stalled"
    #: Every message is in a terminal state.
    DONE = "done"
    #: It was never sent, but forecast.
    FORECAST = "forecast"


#: States of runs that are over.
OVER = (RunState.DONE, RunState.FORECAST)


class RunFacts(Protocol):
    """What tells how a run stands."""

    @property
    def done(self) -> bool:
        """Every message is in a terminal state."""

    @property
    def control(self) -> Control:
        """What the user wants of it."""

    @property
    def embedded(self) -> bool:
        """Whether its broker lives in the process that started it."""

    @property
    def simulation(self) -> Simulation:
        """What it was started with."""

    @property
    def last_sign(self) -> float:
        """When something last happened, seconds since the epoch."""


def state_of(run: RunFacts, wall: float, nobody_online: bool) -> RunState:
    """How a run stands at `wall`, seconds since the epoch.

    Args:
        run: the run.
        wall: now.
        nobody_online: it is known that no worker is.
    """
    if run.simulation.is_forecast:
        return RunState.FORECAST
    if run.done:
        return RunState.DONE
    if run.embedded and nobody_online:
        return RunState.INTERRUPTED
    if run.control is Control.PAUSED:
        return RunState.PAUSED
    if stands_still(run.simulation, wall, wall - run.last_sign):
        return RunState.STALLED
    return RunState.CANCELLED if run.control is Control.CANCELLED else RunState.RUNNING


def stands_still(simulation: Simulation, wall: float, idle_seconds: float) -> bool:
    """Whether nothing happened until `wall` for too long, though something should have.

    Args:
        simulation: what an unfinished run was started with.
        wall: now, seconds since the epoch.
        idle_seconds: for how long nothing happened.
    """
    waited = patience(simulation)
    return idle_seconds > waited and not _was_closed(simulation, wall, waited)


def _was_closed(simulation: Simulation, wall: float, waited: float) -> bool:
    """Whether it is outside its hours, or was when something should have happened."""
    window = simulation.window
    return window is not None and any(window.opens_in(at) for at in (wall, wall - waited))


def stuck_before(simulation: Simulation, wall: float) -> float:
    """Before when a batch was last heard of that is stuck at `wall`, seconds since the epoch.

    None is that waits for its run's hours.
    """
    waited = simulation.stuck_after
    return 0.0 if _was_closed(simulation, wall, waited) else wall - waited


def patience(simulation: Simulation) -> float:
    """Seconds that a healthy run may show no progress.

    The longest pause before a retry, twice a batch's usual time, the longest outage, the time of a
    message at the rate that is set, and `STALLED_SECONDS`.
    """
    events = simulation.events
    batch_seconds = max(
        (simulation.batch_size_for(profile) / profile.capacity + profile.mean_time)
        * worst_slowdown(events, profile.name)
        for profile in simulation.senders
    )
    pauses = longest_pause(simulation.retry) + longest_outage(events)
    paced = 0.0 if simulation.rate is None else 1 / simulation.rate
    return STALLED_SECONDS + pauses + BATCH_MARGIN * batch_seconds + paced


def paused_seconds(steps: Iterable[Step], now: float) -> float:
    """For how long a run was paused until `now`, seconds since the epoch.

    One that is resumed while it is paused stays so.
    """
    paused_at: float | None = None
    seconds = 0.0
    for step in steps:
        if step.what is Steering.PAUSED:
            paused_at = step.at
        elif paused_at is not None and step.what is not Steering.RESUMED:
            seconds += max(step.at - paused_at, 0.0)
            paused_at = None
    return seconds if paused_at is None else seconds + max(now - paused_at, 0.0)
