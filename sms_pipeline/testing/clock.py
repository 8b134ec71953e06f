"""A clock that moves only when somebody waits or says so."""

from __future__ import annotations

from sms_pipeline.core.clock import Timeline

#: A moment in November 2023, seconds since the epoch.
START = 1_700_000_000.0


class ManualClock:
    """See `core.clock.Clock`: `sleep` returns at once, and that much later."""

    def __init__(self, wall: float = START, monotonic: float = 0.0) -> None:
        self._wall = wall
        self._monotonic = monotonic
        #: Every wait that was asked for, seconds.
        self.slept: list[float] = []

    @property
    def timeline(self) -> Timeline:
        """See `Clock.timeline`."""
        return Timeline("a machine of its own", self._wall - self._monotonic)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._monotonic

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self._wall

    def sleep(self, seconds: float) -> None:
        """Move both times on."""
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._monotonic += seconds
        self._wall += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator would."""
        self._wall += seconds
