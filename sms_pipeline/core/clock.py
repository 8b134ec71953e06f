"""Time as an argument: what a clock must be able to do."""

from __future__ import annotations

from typing import NamedTuple, Protocol

#: Longest name of a start of a machine.
MAX_BOOT = 128


class Timeline(NamedTuple):
    """What a wall clock goes by once nobody can set it any more."""

    #: One start of one machine: all its processes share a steady clock.
    boot: str
    #: What the wall clock shows, less what the steady clock shows, seconds.
    offset: float

    def lead(self, boot: str | None, offset: float) -> float:
        """By how many seconds another timeline of this machine is ahead of this one.

        0 for one of another machine: what the two clocks show can't be told apart from how far they
        differ.
        """
        return offset - self.offset if boot == self.boot else 0.0


class Clock(Protocol):
    """Tells the time, and waits. A test, or a simulation, brings one of its own."""

    @property
    def timeline(self) -> Timeline | None:
        """What `wall` goes by; None if others can't know."""

    def monotonic(self) -> float:
        """Seconds that only ever grow; for how long something took."""

    def wall(self) -> float:
        """Seconds since the epoch; for when something happened."""

    def sleep(self, seconds: float) -> None:
        """Return `seconds` later."""


class Timed(Protocol):
    """What has times of a timeline: a run, a batch."""

    @property
    def boot(self) -> str | None:
        """See `Timeline`."""

    @property
    def offset(self) -> float:
        """See `Timeline`."""


def lead_of(timed: Timed, clock: Clock) -> float:
    """By how many seconds its timeline is ahead of the clock.

    A machine's clock may have been set between the starts of two processes.
    """
    timeline = clock.timeline
    return timeline.lead(timed.boot, timed.offset) if timeline else 0.0


def clock_of(timed: Timed, clock: Clock) -> Clock:
    """The clock by its timeline: as if nobody had set this machine's since then."""
    lead = lead_of(timed, clock)
    return Ahead(clock, lead) if lead else clock


class Ahead:
    """A clock whose wall clock is so many seconds ahead of another one's."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    @property
    def timeline(self) -> Timeline | None:
        """See `Clock.timeline`."""
        timeline = self._clock.timeline
        return timeline and timeline._replace(offset=timeline.offset + self._seconds)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._clock.monotonic()

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self._clock.wall() + self._seconds

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        self._clock.sleep(seconds)
