"""How many messages a second may be dispatched. Pure; the caller has the clock."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import Field

from sms_pipeline.core.written import Written

#: Messages a second: one an hour, and more than any machine makes.
MIN_RATE, MAX_RATE = 1 / 3_600, 1_000_000_000
#: A producer that was held up makes up for so much time.
BURST_SECONDS = 1.0
#: As people write it: a number, how many of them, a time.
RATE = re.compile(r" *([0-9]+(?:\.[0-9]+)?) *([kM]?) */ *(s|min|h) *")
_MANY = {"": 1, "k": 1_000, "M": 1_000_000}
_SECONDS = {"s": 1, "min": 60, "h": 3_600}


def parse_rate(text: str) -> float:
    """Messages a second, of a text such as `10k/s`.

    Raises:
        ValueError: it is another text, or out of bounds.
    """
    found = RATE.fullmatch(text)
    if not found:
        raise ValueError("must be messages and a time, as in 500/s, 10k/s or 600/min")
    number, many, time = found.groups()
    rate = float(number) * _MANY[many] / _SECONDS[time]
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"must be from 1/h to {MAX_RATE / _MANY['M']:.0f}M/s")
    return rate


#: Of a configuration.
Rate = Annotated[float, Field(ge=MIN_RATE, le=MAX_RATE), Written(parse_rate, RATE)] | None


def most_at_once(rate: float | None, seconds: float = BURST_SECONDS) -> float:
    """Messages of a batch that is dispatched within so many seconds, at least 1."""
    return math.inf if rate is None else max(1, math.floor(rate * seconds))


class Allowance:
    """Lets so many messages a second pass, on average and, but for `BURST_SECONDS`, at any time."""

    def __init__(self, rate: float | None, now: float) -> None:
        """`rate` is messages a second; None: no limit."""
        self._rate = rate
        self._free_at = now

    def closed_for(self, now: float) -> float:
        """Seconds until more may pass; 0 if they may now."""
        return max(self._free_at - now, 0.0)

    def take(self, messages: int, now: float) -> None:
        """Let messages pass, of which the first may."""
        if self._rate is not None:
            self._free_at = max(self._free_at, now - BURST_SECONDS) + messages / self._rate
