"""Virtual time: what happens when, in order. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

#: Where the virtual wall clock begins, seconds since the epoch.
EPOCH = 1_000_000.0

Act = Callable[[], None]


class Agenda:
    """A clock that jumps from one thing to the next; see `core.clock.Clock`.

    What is due at the same moment happens in the order in which it was put down.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._numbers = itertools.count()
        self._acts: list[tuple[float, int, Act]] = []

    @property
    def timeline(self) -> None:
        """See `Clock.timeline`."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._now

    def wall(self) -> float:
        """See `Clock.wall`."""
        return EPOCH + self._now

    def sleep(self, seconds: float) -> None:
        """Nobody sleeps here: who waits is called at the time."""
        raise NotImplementedError("put it down with `after`")

    def at(self, moment: float, act: Act) -> None:
        """Do something at `moment` on the monotonic clock; now, if that has passed."""
        heapq.heappush(self._acts, (max(moment, self._now), next(self._numbers), act))

    def after(self, seconds: float, act: Act) -> None:
        """Do something in so many seconds."""
        self.at(self._now + seconds, act)

    def run(self, ended: Callable[[], bool]) -> None:
        """Let time pass until `ended`, or until nothing is left to do."""
        while self._acts and not ended():
            self._now, _, act = heapq.heappop(self._acts)
            act()
