"""The axes of charts: their ranges, and ticks at round values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sms_pipeline.core import histogram
from sms_pipeline.ledger.timeline import nice_width
from sms_pipeline.views.course import Bar, Course
from sms_pipeline.views.format import exact_percent, round_count, round_time

#: At most so many ticks on a time axis, about so many on any other.
_TIME_TICKS, _VALUE_TICKS = 8, 5
#: Space above the highest value.
_HEADROOM = 1.05
#: Ticks of the axis of `reach`.
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Space beside the first and the last bar, in bars.
_BARS_BESIDE = 1
#: A logarithmic axis over more decades than this has ticks at powers of ten only.
_BUSY_DECADES = 3
#: Tolerance of rounding, in steps.
_ROUNDING = 1e-9
#: Decimals of a tick.
_DIGITS = 9


class Tick(NamedTuple):
    """A label at a value."""

    at: float
    label: str


class Axis(NamedTuple):
    """The range of an axis, and its ticks."""

    low: float
    high: float
    ticks: tuple[Tick, ...]


def time_axis(course: Course) -> Axis:
    """Seconds from the start of the run to its end."""
    end = max(course.end, *(stretch.end for stretch in course.throughput), _ROUNDING)
    return _linear(end, nice_width(end, _TIME_TICKS), round_time)


def rate_axis(course: Course) -> Axis:
    """Messages per second."""
    highest = [
        max(stretch.delivered + stretch.not_delivered, stretch.attempts)
        for stretch in course.throughput
    ]
    top = max([*highest, 1.0]) * _HEADROOM
    return _linear(top, nice_step(top / _VALUE_TICKS), round_count)


def reach_axis() -> Axis:
    """Shares of all messages."""
    return Axis(0.0, 1.0, tuple(Tick(share, exact_percent(share)) for share in _SHARES))


def share_axis(bars: Sequence[Bar]) -> Axis:
    """Shares of the messages that have a delivery time."""
    top = max(bar.share for bar in bars) * _HEADROOM
    return _linear(top, nice_step(top / _VALUE_TICKS), exact_percent)


def delivery_time_axis(bars: Sequence[Bar]) -> Axis:
    """Seconds, on a logarithmic scale."""
    room = 2.0 ** (_BARS_BESIDE / histogram.BUCKETS_PER_DOUBLING)
    low, high = bars[0].shortest / room, bars[-1].longest * room
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if high / low > 10**_BUSY_DECADES else (1, 2, 5)
    values = (factor * 10.0**decade for decade in decades for factor in factors)
    ticks = (Tick(value, round_time(value)) for value in values if low <= value <= high)
    return Axis(low, high, tuple(ticks))


def nice_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _linear(high: float, step: float, label: Callable[[float], str]) -> Axis:
    return Axis(0.0, high, tuple(Tick(value, label(value)) for value in _multiples(step, high)))


def _multiples(step: float, limit: float) -> Iterator[float]:
    count = math.floor(limit / step + _ROUNDING) + 1
    return (round(number * step, _DIGITS) for number in range(count))
