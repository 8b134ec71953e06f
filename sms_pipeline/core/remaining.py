"""How long a run will still take, from where it stands. Pure.

A closed form of what a forecast plays: each profile works off what is left at the rate of its
senders, and a message that fails goes through pauses, waits in line and further attempts. When the
last one ends is a matter of chance; told is the time by which all have ended in half of all cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.bad_day import GOOD_DAY, BadDay
from sms_pipeline.core.retry import MAX_ATTEMPTS, RetryPolicy, full_pause

#: From the last message of a batch until its settlement can be read, seconds.
_SETTLING = 0.05
#: What a retry takes beside its pause and its attempt: it is settled, published and delivered.
_HANDING_ON = 0.08
#: Later rounds of retries are not looked at: hardly any message comes to them.
_MOST_ROUNDS = 80
#: Bisections, and rounds of getting nearer.
_HALVINGS, _ROUNDS = 50, 8
#: Messages whose first attempt is ahead, in parts that get smaller towards the end.
_CUTS = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0)
#: Standard deviations within which everything happens.
_SURE = 6.0
#: A spread of no time at all.
_LEAST_SPREAD = 1e-3


class Waiting(NamedTuple):
    """Messages that failed an attempt and whose next one is not settled."""

    #: The attempt that they wait for; 1 is the first retry.
    attempt: int
    #: A share of them may be a fraction.
    messages: float
    #: Seconds until their pause is over, 0 if it is.
    due_in: float


@dataclass(frozen=True, slots=True)
class Part:
    """What a profile has in front of it."""

    #: Messages dispatched to it whose first attempt is not settled.
    untried: float
    #: Attempts a second that it makes while it has enough to do.
    rate: float
    #: Seconds of one attempt at a sender, on average, and the shape of their distribution.
    mean_time: float
    shape: float
    #: Share of attempts that fail, 0 to 1.
    failure_rate: float
    #: Messages of a batch.
    batch_size: int
    waiting: tuple[Waiting, ...] = ()
    #: What goes wrong for it.
    bad_day: BadDay = GOOD_DAY

    @property
    def has_work(self) -> bool:
        """Whether any attempt is ahead."""
        return bool(self.untried or self.waiting)


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a run has in front of it."""

    #: Messages that no profile was given yet.
    undispatched: int
    parts: tuple[Part, ...]
    retry: RetryPolicy
    #: Until messages expire, seconds.
    due_in: float = math.inf
    #: Messages a second that may be dispatched.
    rate: float = math.inf
    #: Messages of profiles without workers whose first attempt is not settled: whoever is done
    #: first takes them over.
    adrift: float = 0
    #: Seconds for which whoever is done looks on before that.
    taken_after: float = 0


def seconds_left(ahead: Ahead) -> float | None:
    """Seconds until every message is at its end; None if that can't be told, or never happens."""
    seconds = _without_looking_on(ahead)
    if not seconds or not ahead.adrift or not ahead.taken_after:
        return seconds
    own = _without_looking_on(replace(ahead, adrift=0)) or 0.0
    if seconds <= own:
        # Others are still at work while some look on.
        return seconds
    return max(seconds, min(seconds + ahead.taken_after, ahead.due_in + _SETTLING))


def _without_looking_on(ahead: Ahead) -> float | None:
    """The same if what is adrift were taken over at once."""
    parts = [part for part in ahead.parts if part.has_work]
    if not ahead.undispatched and not ahead.adrift and not parts:
        return 0.0
    hopeless = [_is_hopeless(part, ahead) for part in ahead.parts]
    if all(hopeless) or any(_is_hopeless(part, ahead) for part in parts):
        return None
    seconds = _seconds_left(ahead)
    dispatching = min(ahead.undispatched / ahead.rate, ahead.due_in)
    if not dispatching:
        return seconds
    # What is dispatched last takes its time, too; all else has had its own by then.
    idle = tuple(replace(part, untried=0, waiting=()) for part in ahead.parts)
    last = dispatching + _seconds_left(replace(ahead, undispatched=1, parts=idle, adrift=0))
    return max(seconds, min(last, ahead.due_in + _SETTLING))


def _seconds_left(ahead: Ahead) -> float:
    """The same where something is left and ends, if all could be dispatched at once."""
    drains = [_Drain(part, untried, ahead) for part, untried in _shared_out(ahead)]
    fates = [fate for drain in drains for fate in drain.fates()]
    last_attempts = max(drain.work_seconds for drain in drains)
    return max(min(last_attempts, ahead.due_in), _half_sure(fates)) + _SETTLING


def _is_hopeless(part: Part, ahead: Ahead) -> bool:
    """Whether nothing ever ends there, as far as it does not go to another profile."""
    is_endless = ahead.retry.max_attempts is None and math.isinf(ahead.due_in)
    return not part.rate or (is_endless and part.failure_rate == 1)


def attempts_each(failure_rate: float, most: float) -> float:
    """Expected attempts at one message that may have `most`: (1 - p**n) / (1 - p)."""
    return most if failure_rate == 1 else (1 - failure_rate**most) / (1 - failure_rate)


def _shared_out(ahead: Ahead) -> list[tuple[Part, float]]:
    """Each profile with all that it will try first: those that are done soonest get the rest."""
    parts = [part for part in ahead.parts if part.rate]
    rest = ahead.undispatched + ahead.adrift
    if not rest:
        return [(part, part.untried) for part in parts]
    takers = [_Taker.of(part, _most_attempts(ahead.retry)) for part in parts]
    # The fastest alone could take it all, after what it has.
    high = min(one.done_at(rest) for one in takers)
    seconds = _bisect(lambda at: sum(one.taken(at) for one in takers) < rest, high)
    return [(one.part, one.part.untried + one.taken(seconds)) for one in takers]


class _Taker(NamedTuple):
    """A profile that may be given more than it has."""

    part: Part
    #: Attempts that are expected at a message, and at all that it has.
    each: float
    own: float

    @classmethod
    def of(cls, part: Part, most: float) -> Self:
        """One whose messages have `most` attempts."""
        each = attempts_each(part.failure_rate, most)
        return cls(part, each, _retries(part, most) + part.untried * each)

    def taken(self, seconds: float) -> float:
        """Messages more that it can do until then."""
        spare = self.part.rate * self.part.bad_day.work(seconds) - self.own
        return max(spare, 0.0) / self.each

    def done_at(self, more: float) -> float:
        """When it has done so many messages more."""
        return self.part.bad_day.done_at((self.own + more * self.each) / self.part.rate)


def _retries(part: Part, most: float) -> float:
    """Attempts at messages that have failed before."""
    return sum(
        one.messages * attempts_each(part.failure_rate, most - one.attempt) for one in part.waiting
    )


class _Fate(NamedTuple):
    """When messages may end: after how many attempts is a matter of chance."""

    messages: float
    #: By number of attempts: seconds, their standard deviation, and how likely it is.
    at: Sequence[float]
    spread: Sequence[float]
    likely: Sequence[float]


class _Drain:
    """How one profile works off what it has.

    Pauses take real seconds; senders work off what is in line, which takes seconds of work.
    """

    def __init__(self, part: Part, untried: float, ahead: Ahead) -> None:
        """
        Args:
            part: the profile.
            untried: messages whose first attempt is ahead, undispatched ones included.
            ahead: the whole run.
        """
        self._part = part
        self._untried = untried
        self._retry = ahead.retry
        self._due_in = ahead.due_in
        self._day = part.bad_day
        #: How long whoever comes now stands in line.
        self._line = part.untried / part.rate
        most = _most_attempts(ahead.retry)
        each = self._attempts_each(most)
        # Of a batch that is being sent, half has ended, and is settled with the rest.
        sent = part.batch_size / 2 / part.rate
        #: All attempts that are expected, one after the other.
        work = max((untried * each + _retries(part, most)) / part.rate - sent, 0.0)
        self.work_seconds = self._day.done_at(work)
        first_done = max(self._first(each) - sent, 0.0)
        self._first_done = min(first_done, self._day.work(ahead.due_in))

    def _attempts_each(self, most: float) -> float:
        """Expected attempts at a message that is not tried yet; they fail more at some times."""
        usual = self._part.failure_rate
        if not self._day.failing or not self._untried:
            return attempts_each(usual, most)
        left, attempts = self._untried, 0.0
        for start, end, failure_rate in self._day.failures(usual):
            each = 1 + failure_rate * attempts_each(usual, most - 1)
            work = self._day.work(end) - self._day.work(start)
            # Until the first of them come back, senders try nothing twice.
            alone = min(work, self._pause(0) + self._line)
            tried = min(left, (alone + (work - alone) / each) * self._part.rate)
            left, attempts = left - tried, attempts + tried * each
        return attempts / self._untried

    def _first(self, each: float) -> float:
        """Work until all first attempts are made; retries that come before make it more."""
        part, untried = self._part, self._untried
        pause = self._pause(0) + _HANDING_ON + part.mean_time
        seconds = untried / part.rate
        for _ in range(_ROUNDS if untried else 0):
            back = untried * (each - 1) * max(1 - pause / seconds, 0.0)
            back += sum(
                one.messages for one in part.waiting if self._day.work(one.due_in) < seconds
            )
            seconds = (untried + back) / part.rate
        return seconds

    def fates(self) -> Iterator[_Fate]:
        """Those of all its messages."""
        for after, before in pairwise(_CUTS):
            messages = self._untried * (before - after)
            if messages:
                at = self._day.done_at(self._first_done * (1 - (after + before) / 2))
                yield self._fate(messages, 0, max(at, self._part.mean_time / 2), at)
        for one in self._part.waiting:
            start = self._in_line(one.due_in)
            yield self._fate(one.messages, one.attempt, self._end(start), start)

    def _fate(self, messages: float, attempt: int, ends: float, start: float) -> _Fate:
        """That of messages whose `attempt` starts and ends in so many seconds."""
        at, spread, likely = [ends], [self._send_variance(start) if attempt else 0.0], [1.0]
        while self._may_follow(attempt, at[-1]) and len(at) < _MOST_ROUNDS:
            rate = self._day.failure_rate(start, self._part.failure_rate)
            if not rate:
                break
            start = self._in_line(at[-1] + self._pause(attempt) + _HANDING_ON)
            chance = (full_pause(self._retry, attempt) * self._retry.jitter) ** 2 / 12
            at.append(self._end(start))
            spread.append(spread[-1] + chance + self._send_variance(start))
            likely[-1:] = [likely[-1] * (1 - rate), likely[-1] * rate]
            attempt += 1
        return _Fate(messages, at, [math.sqrt(one) + _LEAST_SPREAD for one in spread], likely)

    def _may_follow(self, attempt: int, ends: float) -> bool:
        return self._retry.allows_after(attempt) and ends < self._due_in

    def _end(self, start: float) -> float:
        """When an attempt that starts then ends; what is too late is not sent."""
        return start if start >= self._due_in else start + self._mean_time(start)

    def _mean_time(self, start: float) -> float:
        return self._part.mean_time * self._day.slowdown(start)

    def _send_variance(self, start: float) -> float:
        return self._mean_time(start) ** 2 / self._part.shape

    def _in_line(self, comes: float) -> float:
        """When it is the turn of whoever comes then."""
        done = self._day.work(comes)
        return self._day.next_at(done + min(max(self._first_done - done, 0.0), self._line))

    def _pause(self, attempt: int) -> float:
        return full_pause(self._retry, attempt) * (1 - self._retry.jitter / 2)


def _most_attempts(retry: RetryPolicy) -> int:
    return MAX_ATTEMPTS if retry.max_attempts is None else retry.max_attempts


def _half_sure(fates: Sequence[_Fate]) -> float:
    """The time by which, in half of all cases, all messages have ended."""
    # One after the other; each begins somewhere.
    at, spread, likely = np.hstack([(fate.at, fate.spread, fate.likely) for fate in fates])
    begins = np.cumsum([0, *(len(fate.at) for fate in fates[:-1])])
    messages = np.array([fate.messages for fate in fates])

    def is_early(seconds: float) -> bool:
        later = np.add.reduceat(likely * _above((seconds - at) / spread), begins)
        return float(messages @ np.log1p(-np.minimum(later, 1 - _TINY))) < math.log(0.5)

    return _bisect(is_early, float((at + _SURE * spread).max()))


_TINY = 1e-12


def _above(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely a normal value is above that: 1 / (1 + exp(1.5976 z + 0.07056 z^3)), nearly."""
    # Half a hyperbolic tangent is the same, and knows no overflow.
    above: NDArray[np.float64] = 0.5 - np.tanh(0.7988 * deviations + 0.03528 * deviations**3) / 2
    return above


def _bisect(is_early: Callable[[float], bool], high: float) -> float:
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if is_early(middle):
            low = middle
        else:
            high = middle
    return high
