"""What the events of a bad day still do to the work of a profile. Pure.

Its senders do less at some times than at others, so there are two clocks: one of real seconds, and
one of seconds of work, which goes slower while senders are slow and stops while all are stopped.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Self

from sms_pipeline.core.events import Spell


class Stretch(NamedTuple):
    """A time in which something goes wrong, seconds from now."""

    start: float
    end: float
    value: float


@dataclass(frozen=True)
class BadDay:
    """What goes wrong for one profile from now on; all times are seconds from now.

    Where stretches of a kind overlap, the last one holds; of senders that are stopped, the most.
    """

    #: Share of the senders that is stopped.
    stopped: tuple[Stretch, ...] = ()
    #: How many times as long senders are busy.
    slowed: tuple[Stretch, ...] = ()
    #: How many times as long a message takes that starts then …
    starting_slow: tuple[Stretch, ...] = ()
    #: … and the share of such messages that fail.
    failing: tuple[Stretch, ...] = ()

    @classmethod
    def of(cls, spells: Iterable[Spell], now: float, mean_time: float, shape: float) -> Self:
        """
        Args:
            spells: the events that hit the profile.
            now: by their timeline, seconds since the epoch.
            mean_time: seconds that a sender is busy with a message …
            shape: … and the shape of their distribution.
        """
        # What a sender is on when an event begins goes on as before: so long, on average.
        rest = mean_time / 2 * (1 + 1 / shape)
        stopped, slowed, starting_slow, failing = [], [], [], []
        for one in spells:
            start, end = one.start - now, one.end - now
            if one.out:
                stopped.append(Stretch(start + rest, end, one.out))
            if one.slowdown is not None:
                starting_slow.append(Stretch(start, end, one.slowdown))
                slowed.append(Stretch(start + rest, end + rest * one.slowdown, one.slowdown))
            if one.failure_rate is not None:
                failing.append(Stretch(start, end, one.failure_rate))
        return cls(*(_to_come(found) for found in (stopped, slowed, starting_slow, failing)))

    def work(self, seconds: float) -> float:
        """Seconds of work that senders do until then."""
        place = bisect_right(self._seconds, seconds) - 1
        return self._works[place] + (seconds - self._seconds[place]) * self._speeds[place]

    def done_at(self, work: float) -> float:
        """When that much work is done."""
        return self._at(bisect_left(self._works, work) - 1, work) if work > 0 else 0.0

    def next_at(self, work: float) -> float:
        """When senders go on after that much work: they may be stopped just then."""
        return self._at(bisect_right(self._works, work) - 1, work)

    def _at(self, place: int, work: float) -> float:
        return self._seconds[place] + (work - self._works[place]) / self._speeds[place]

    def slowdown(self, at: float) -> float:
        """How many times as long a message takes that starts then."""
        return _last_at(self.starting_slow, at, 1.0)

    def failure_rate(self, at: float, usual: float) -> float:
        """Share of the attempts that start then and fail."""
        return _last_at(self.failing, at, usual)

    def failures(self, usual: float) -> Iterator[Stretch]:
        """All times to come, by the share of attempts that fail."""
        for start, end in pairwise((*_borders(self.failing), math.inf)):
            yield Stretch(start, end, self.failure_rate(start, usual))

    @cached_property
    def _seconds(self) -> list[float]:
        """When the speed of work changes."""
        return _borders((*self.stopped, *self.slowed))

    @cached_property
    def _speeds(self) -> list[float]:
        """Work a second, from each of these moments on."""
        return [self._speed(at) for at in self._seconds]

    @cached_property
    def _works(self) -> list[float]:
        """What is done by each of these moments."""
        done = [0.0]
        for (before, after), speed in zip(pairwise(self._seconds), self._speeds, strict=False):
            done.append(done[-1] + (after - before) * speed)
        return done

    def _speed(self, at: float) -> float:
        stopped = max((one.value for one in self.stopped if one.start <= at < one.end), default=0.0)
        return (1 - stopped) / _last_at(self.slowed, at, 1.0)


#: Nothing goes wrong.
GOOD_DAY = BadDay()


def _to_come(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    return tuple(
        Stretch(max(one.start, 0.0), one.end, one.value)
        for one in stretches
        if one.end > max(one.start, 0.0)
    )


def _borders(stretches: Iterable[Stretch]) -> list[float]:
    """Now, and when one of them begins or ends."""
    return sorted({0.0, *(at for one in stretches for at in (one.start, one.end))})


def _last_at(stretches: Iterable[Stretch], at: float, usual: float) -> float:
    """The value of the last one that covers a moment."""
    found = usual
    for one in stretches:
        if one.start <= at < one.end:
            found = one.value
    return found
