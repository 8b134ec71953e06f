"""How long a run will still take. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sms_pipeline.core.retry import RetryPolicy, full_pause

#: Fewer messages than this count as none: the last one that fails again is one in two.
_LAST_MESSAGE = 0.5
#: Rounds of retries that are looked at when there is no limit.
_MAX_ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a run has in front of it. Counts are messages."""

    #: Not attempted yet, whether or not they are dispatched.
    untried: int
    #: Their first attempt is made …
    tried: int
    #: … and of these, so many wait for their next attempt, or are in it.
    retrying: int
    #: Attempts a second: those seen lately, or those that the senders online can make.
    attempts_per_second: float
    #: Share of attempts that fail, 0 to 1.
    failure_rate: float
    #: Mean seconds of one attempt at a sender.
    mean_time: float
    retry: RetryPolicy


def seconds_left(ahead: Ahead) -> float | None:
    """Seconds until every message is at its end, as far as can be expected; None = not known.

    All attempts that are still needed, at the present rate; and after the last first attempt, the
    pauses and attempts that the retries of the slowest messages take one after the other.
    """
    left = ahead.untried + ahead.retrying
    if not left:
        return 0.0
    if ahead.attempts_per_second <= 0:
        return None
    attempts = left * _attempts_each(ahead.failure_rate, ahead.retry)
    work = attempts / ahead.attempts_per_second
    first = ahead.untried / ahead.attempts_per_second
    return max(work, first + _tail(ahead))


def _attempts_each(failure_rate: float, retry: RetryPolicy) -> float:
    """Expected attempts at one message: (1 - p**n) / (1 - p)."""
    if failure_rate >= 1:
        return float(retry.max_attempts or math.inf)
    if retry.max_attempts is None:
        return 1 / (1 - failure_rate)
    return (1 - failure_rate**retry.max_attempts) / (1 - failure_rate)


def _tail(ahead: Ahead) -> float:
    """The rounds of retries until no message is expected to be left, one after the other."""
    waiting = ahead.retrying + ahead.untried * ahead.failure_rate
    most = _MAX_ROUNDS if ahead.retry.max_attempts is None else ahead.retry.max_attempts - 1
    seconds = ahead.mean_time
    for attempt in range(_first_round(ahead), most):
        if waiting < _LAST_MESSAGE:
            break
        seconds += _longest_of(waiting, ahead.retry, attempt) + ahead.mean_time
        waiting *= ahead.failure_rate
    return seconds


def _first_round(ahead: Ahead) -> int:
    """How often those that are retried now have been before, by how few they are; 0 = never.

    Of n messages n * p**k are expected to fail k times.
    """
    p = ahead.failure_rate
    if ahead.untried or not 0 < p < 1 or not 0 < ahead.retrying < ahead.tried:
        return 0
    failures = int(math.log(ahead.retrying / ahead.tried) / math.log(p))
    most = _MAX_ROUNDS if ahead.retry.max_attempts is None else ahead.retry.max_attempts - 2
    return max(min(failures - 1, most), 0)


def _longest_of(messages: float, retry: RetryPolicy, attempt: int) -> float:
    """The longest of so many pauses, on average: 1 - jitter / (n + 1) of the full one."""
    return full_pause(retry, attempt) * (1 - retry.jitter / (messages + 1))
