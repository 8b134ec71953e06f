"""Time as an argument: what a clock must be able to do."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Tells the time, and waits. A test, or a simulation, brings one of its own."""

    def monotonic(self) -> float:
        """Seconds that only ever grow; for how long something took."""

    def wall(self) -> float:
        """Seconds since the epoch; for when something happened."""

    def sleep(self, seconds: float) -> None:
        """Return `seconds` later."""
