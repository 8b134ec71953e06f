"""Runs in a list of runs."""

from __future__ import annotations

from typing import NamedTuple

from sms_pipeline.core.counts import Counts
from sms_pipeline.core.records import Control, Run
from sms_pipeline.core.simulation import Simulation


class RunTotals(NamedTuple):
    """A run in a list of runs."""

    run: Run
    #: Only terminal states are counted.
    counts: Counts
    #: When something was last dispatched or settled, or the run was steered; None before that.
    active_at: float | None = None
    #: Attempts at batches that are settled.
    settlements: int = 0
    #: When the last was settled; None before that.
    settled_at: float | None = None

    def seconds(self, wall: float) -> float:
        """From its start to its end, or to `wall` while it goes on."""
        ended_at = wall if self.settled_at is None or not self.done else self.settled_at
        return max(ended_at - self.run.started_at, 0.0)

    def average_rate(self, wall: float) -> float:
        """Messages delivered or failed per second, over all that time."""
        seconds = self.seconds(wall)
        return self.counts.timed / seconds if seconds else 0.0

    @property
    def control(self) -> Control:
        """What the user wants of it."""
        return self.run.control

    @property
    def embedded(self) -> bool:
        """Whether its broker lives, and dies, with the process that started it."""
        return self.run.embedded

    @property
    def simulation(self) -> Simulation:
        """What it was started with."""
        return self.run.simulation

    @property
    def last_sign(self) -> float:
        """When something last happened, seconds since the epoch."""
        return max(self.active_at or 0.0, self.run.started_at)

    @property
    def done(self) -> bool:
        """Every message is in a terminal state."""
        return self.counts.finished >= self.run.total


class Unreadable(NamedTuple):
    """A run in a list of runs whose rows can't be read."""

    run: int
    reason: str


class RunPage(NamedTuple):
    """A part of the list of runs, newest first."""

    runs: list[RunTotals]
    unreadable: list[Unreadable]
    #: The number of its last run; None if there is none.
    oldest: int | None
