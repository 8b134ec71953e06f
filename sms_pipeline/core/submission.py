"""What waits at a sender bank: messages, and the terms on which they are sent. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.events import Slowdown, Spell

Seconds = NDArray[np.float64]
#: Numbers of senders, or positions of messages.
Senders = NDArray[np.intp]


class Finished(NamedTuple):
    """All messages of one submission have been played."""

    key: Hashable
    #: When each message ended, in the order submitted, on the caller's clock; NaN for those that
    #: were given up because no sender got to them in time.
    finish_times: Seconds
    #: When each started, where that was asked for; NaN as above.
    start_times: Seconds | None = None
    #: When those were given up; infinity if none could be.
    gave_up_at: float = math.inf


class Outage(NamedTuple):
    """A time in which senders start nothing."""

    start: float
    end: float
    #: Of the senders, 0 to 1.
    share: float = 1.0


class Terms(NamedTuple):
    """What else holds for a submission."""

    #: How long each message keeps its sender busy, where that is not until it ends.
    occupied: Seconds | None = None
    #: How many times longer both take, by when a message starts.
    slowdown: Slowdown | None = None
    outages: tuple[Outage, ...] = ()
    #: Seconds after its arrival in which a message must start.
    validity: float = math.inf
    #: Whether start times are asked for.
    timed: bool = False
    #: What decides about messages by when they start.
    spells: tuple[Spell, ...] = ()
    #: Free senders take its messages before those of submissions that are not.
    urgent: bool = False


#: A message keeps its sender busy until it ends, and nothing goes wrong.
PLAIN = Terms()


class Submission:
    """Messages that wait for senders, first come first served; `started` of them have one."""

    __slots__ = (
        "_occupied",
        "_slowdown",
        "arrival",
        "durations",
        "finish_times",
        "give_up_at",
        "key",
        "last_finish",
        "outages",
        "size",
        "start_times",
        "started",
        "told",
        "urgent",
    )

    def __init__(
        self,
        key: Hashable,
        arrival: float,
        durations: Seconds,
        give_up_at: float,
        terms: Terms = PLAIN,
    ) -> None:
        self.key = key
        self.arrival = arrival
        self.give_up_at = min(give_up_at, arrival + terms.validity)
        self.outages = terms.outages
        self.urgent = terms.urgent
        self._slowdown = terms.slowdown
        self._occupied = terms.occupied
        self.size = len(durations)
        # Messages that take no time keep no sender busy: the first free sender passes them all
        # at one moment, so they stand as one entry and cost one step, however many they are.
        takes_time = durations.any() or self._occupied is not None
        self.durations = durations if takes_time else durations[:1]
        self.finish_times = np.empty(len(self.durations))
        self.start_times = np.full(len(self.durations), math.nan) if terms.timed else None
        self.started = 0
        self.last_finish = -math.inf
        self.told: NDArray[np.bool_] | None = None

    def newly_ended(self, now: float) -> Senders:
        """Positions of the messages that ended by `now` and were not told before, ascending."""
        if self.told is None:
            self.told = np.zeros(self.size, np.bool_)
        if len(self.durations) != self.size:
            ended = np.full(self.size, bool(self.started) and self.finish_times[0] <= now)
        else:
            ended = np.zeros(self.size, np.bool_)
            ended[: self.started] = self.finish_times[: self.started] <= now
        fresh = np.flatnonzero(ended & ~self.told)
        self.told[fresh] = True
        return fresh

    @property
    def waiting(self) -> int:
        return len(self.durations) - self.started

    @property
    def takes_as_long_at_any_time(self) -> bool:
        """Whether a message keeps its sender busy for as long whenever it starts."""
        return self._slowdown is None

    def occupies(self, count: int | None = None) -> Seconds:
        """How long each of the next messages keeps its sender busy, without a slowdown."""
        occupied = self.durations if self._occupied is None else self._occupied
        return occupied[self.started :][:count]

    def ends(self, start: Seconds | float, count: int) -> tuple[Seconds, Seconds]:
        """When the next `count` messages end, and when their senders get free, if they start then.

        Both are one array where nothing makes them differ.
        """
        coming = slice(self.started, self.started + count)
        durations = self.durations[coming]
        if self._slowdown is None and self._occupied is None:
            finish = start + durations
            return finish, finish
        factors = 1.0 if self._slowdown is None else self._slowdown(np.asarray(start))
        finish = start + durations * factors
        if self._occupied is None:
            return finish, finish
        return finish, start + self._occupied[coming] * factors

    def start(self, start: Seconds | float, finish_times: Seconds) -> None:
        end = self.started + len(finish_times)
        self.finish_times[self.started : end] = finish_times
        if self.start_times is not None:
            self.start_times[self.started : end] = start
        self.started = end
        self.last_finish = max(self.last_finish, float(finish_times.max()))

    def give_up(self, now: float) -> None:
        self.finish_times[self.started :] = math.nan
        self.started = len(self.durations)
        self.last_finish = max(self.last_finish, now)

    def finished(self) -> Finished:
        starts = self.start_times
        return Finished(
            self.key,
            np.broadcast_to(self.finish_times, self.size),
            None if starts is None else np.broadcast_to(starts, self.size),
            self.give_up_at,
        )
