"""From numbers to shapes: paths, ticks and marks in a square of 1,000 by 1,000. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sms_pipeline.core import histogram
from sms_pipeline.ledger.timeline import SHARES, Bin, Timeline, nice_width
from sms_pipeline.views.format import (
    count,
    duration,
    exact_percent,
    message_time,
    number,
    percent,
    rate,
    round_count,
    round_time,
)

#: The side of the square, in which y grows downwards. A page stretches it to any size, so there is
#: no text in it: labels are placed beside it, in percent.
SIDE = 1_000
_PERCENT = 100
_TIME_TICKS, _VALUE_TICKS = 8, 5
#: Room above the highest value.
_HEADROOM = 1.05
#: A log axis over more decades than this has no ticks between them.
_BUSY_DECADES = 3
#: Percentiles that a distribution is marked with.
_PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


class Tick(NamedTuple):
    """A label at a place on an axis, percent from the left or from the bottom."""

    at: float
    label: str


class Shape(NamedTuple):
    """A path, and what it shows; `line` if it is not filled."""

    name: str
    path: str
    line: bool = False


class Mark(NamedTuple):
    """A point with a label, percent from the left and from the bottom."""

    x: float
    y: float
    label: str


class Hover(NamedTuple):
    """A strip of the square, and what is told there."""

    x: float
    width: float
    text: str


class Chart(NamedTuple):
    """What a page draws."""

    x: Sequence[Tick]
    y: Sequence[Tick]
    shapes: Sequence[Shape]
    marks: Sequence[Mark]
    hovers: Sequence[Hover]


#: Of a run of which nothing is known yet.
EMPTY = Chart((), (), (), (), ())


def throughput(course: Timeline) -> Chart:
    """Messages a second that were delivered, and that ended otherwise, and attempts at all."""
    if not course.bins:
        return EMPTY
    delivered = course.rates("delivered")
    ended = [sum(parts) for parts in zip(delivered, *map(course.rates, _LOST), strict=True)]
    attempts = course.rates("attempts")
    scale = _Scale(_end(course), max([*ended, *attempts, 1]) * _HEADROOM)
    shapes = (
        Shape("delivered", _steps(course, delivered, scale)),
        Shape("not delivered", _steps(course, ended, scale, delivered)),
        Shape("attempts", _steps(course, attempts, scale), line=True),
    )
    hovers = _hovers(course, lambda number, one: _rates_text(one, course.width))
    return Chart(_time_ticks(scale), _value_ticks(scale, round_count), shapes, (), hovers)


#: Fields of `Bin` for messages that ended without being delivered.
_LOST = ("failed", "expired", "cancelled")


def reach(course: Timeline) -> Chart:
    """The share of all messages that was delivered, over time; marked where it came to `SHARES`."""
    if not course.bins:
        return EMPTY
    scale = _Scale(_end(course), 1.0)
    reached = course.reached
    crossings = [
        (seconds, share) for share, seconds in course.time_to_reach.items() if seconds is not None
    ]
    ends = zip((at + course.width for at in course.starts), reached, strict=True)
    line = _line(scale, sorted([(0.0, 0.0), *ends, *crossings]))
    area = f"{line}V{SIDE}H0Z"
    marks = [
        Mark(*scale.percent(seconds, share), f"{exact_percent(share)} after {duration(seconds)}")
        for seconds, share in crossings
    ]
    hovers = _hovers(course, lambda number, _: f"{percent(reached[number])} reached")
    shapes = (Shape("reached", area), Shape("reached", line, line=True))
    ticks = [Tick(share * _PERCENT, exact_percent(share)) for share in (0, *SHARES[:1], 1)]
    return Chart(_time_ticks(scale), ticks, shapes, marks, hovers)


def distribution(counts: Mapping[int, int]) -> Chart:
    """Delivery times on a logarithmic axis, a bar for each bucket of the histogram."""
    filled = [bucket for bucket in sorted(counts) if counts[bucket]]
    if not filled:
        return EMPTY
    first, last = filled[0] - 1, filled[-1] + 1
    total, most = sum(counts.values()), max(counts.values())
    scale = _Scale(last - first, most / total * _HEADROOM)
    shares = {bucket: counts[bucket] / total for bucket in filled}
    bars = " ".join(
        _bar(scale, bucket - first - 1, bucket - first, share) for bucket, share in shares.items()
    )
    hovers = [
        Hover(
            scale.x(bucket - first - 1),
            scale.x(1),
            f"{message_time(_lower_bound(bucket))} to "
            f"{message_time(histogram.upper_bound(bucket))}: "
            f"{count(counts[bucket])} messages ({percent(share)})",
        )
        for bucket, share in shares.items()
    ]
    marks = [
        Mark(_log_position(seconds, first) / (last - first) * _PERCENT, 0, name)
        for name, share in _PERCENTILES.items()
        if (seconds := histogram.percentile(counts, share))
    ]
    y = _value_ticks(scale, exact_percent)
    return Chart(_log_ticks(first, last), y, (Shape("messages", bars),), marks, hovers)


# Scales


class _Scale(NamedTuple):
    """What lies at the right and at the upper edge."""

    right: float
    top: float

    def x(self, value: float) -> float:
        return round(value / self.right * SIDE, 1)

    def y(self, value: float) -> float:
        return round((1 - value / self.top) * SIDE, 1)

    def percent(self, x: float, y: float) -> tuple[float, float]:
        return (
            round(min(x / self.right, 1) * _PERCENT, 2),
            round(min(y / self.top, 1) * _PERCENT, 2),
        )


def _end(course: Timeline) -> float:
    return max(len(course.bins), 1) * course.width


def _time_ticks(scale: _Scale) -> list[Tick]:
    step = nice_width(scale.right, _TIME_TICKS)
    return [
        Tick(round(moment / scale.right * _PERCENT, 2), round_time(moment))
        for moment in _multiples(step, scale.right)
    ]


def _value_ticks(scale: _Scale, label: Callable[[float], str]) -> list[Tick]:
    step = nice_step(scale.top / _VALUE_TICKS)
    return [
        Tick(round(value / scale.top * _PERCENT, 2), label(value))
        for value in _multiples(step, scale.top)
    ]


def nice_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _multiples(step: float, limit: float) -> Iterator[float]:
    return (round(number * step, 9) for number in range(math.floor(limit / step + 1e-9) + 1))


def _log_ticks(first: int, last: int) -> list[Tick]:
    lowest, highest = histogram.upper_bound(first), histogram.upper_bound(last)
    decades = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    factors = (1,) if highest / lowest > 10**_BUSY_DECADES else (1, 2, 5)
    values = (factor * 10.0**decade for decade in decades for factor in factors)
    return [
        Tick(round(_log_position(value, first) / (last - first) * _PERCENT, 2), round_time(value))
        for value in values
        if lowest <= value <= highest
    ]


def _log_position(seconds: float, first: int) -> float:
    """In buckets from the upper bound of `first`."""
    doublings = math.log2(max(seconds, histogram.SHORTEST) / histogram.SHORTEST)
    return max(doublings * histogram.BUCKETS_PER_DOUBLING - first, 0.0)


def _lower_bound(bucket: int) -> float:
    return histogram.upper_bound(bucket - 1) if bucket else 0.0


# Paths


def _steps(
    course: Timeline, values: Sequence[float], scale: _Scale, base: Sequence[float] = ()
) -> str:
    """A staircase over `values`, closed along `base` or along the axis."""
    upper = list(_corners(course, values))
    lower = list(_corners(course, base or [0.0] * len(values)))
    return _line(scale, [*upper, *reversed(lower)]) + "Z" if upper else ""


def _corners(course: Timeline, values: Sequence[float]) -> Iterator[tuple[float, float]]:
    for start, value in zip(course.starts, values, strict=True):
        yield start, value
        yield start + course.width, value


def _line(scale: _Scale, points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{number(scale.x(x))},{number(scale.y(y))}" for x, y in points)


def _bar(scale: _Scale, left: float, right: float, value: float) -> str:
    top = scale.y(value)
    return f"M{number(scale.x(left))},{SIDE}V{number(top)}H{number(scale.x(right))}V{SIDE}Z"


# Words


def _hovers(course: Timeline, text: Callable[[int, Bin], str]) -> list[Hover]:
    end = _end(course)
    width = course.width / end * SIDE
    return [
        Hover(round(number * width, 1), round(width, 1), f"{duration(start)}: {text(number, one)}")
        for number, (start, one) in enumerate(zip(course.starts, course.bins, strict=True))
    ]


def _rates_text(one: Bin, width: float) -> str:
    others = "".join(
        f", {rate(getattr(one, name) / width)} {name}" for name in _LOST if getattr(one, name)
    )
    return f"{rate(one.delivered / width)} delivered{others}, {rate(one.attempts / width)} attempts"
