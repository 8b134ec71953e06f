"""From numbers to shapes: paths, ticks and marks in a square of 1,000 by 1,000. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sms_pipeline.core import histogram
from sms_pipeline.ledger.timeline import SHARES, Bin, Timeline, nice_width

#: The side of the square, in which y grows downwards. A page stretches it to any size, so there is
#: no text in it: labels are placed beside it, in percent.
SIDE = 1_000
_PERCENT = 100
_TIME_TICKS, _VALUE_TICKS = 8, 5
#: Room above the highest value.
_HEADROOM = 1.05
_MINUTE, _HOUR = 60, 3_600
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
    return Chart(_time_ticks(scale), _value_ticks(scale, compact), shapes, (), hovers)


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
        Mark(*scale.percent(seconds, share), f"{share:.0%} after {duration(seconds)}")
        for seconds, share in crossings
    ]
    hovers = _hovers(course, lambda number, _: f"{reached[number]:.1%} reached")
    shapes = (Shape("reached", area), Shape("reached", line, line=True))
    ticks = [Tick(share * _PERCENT, f"{share:.0%}") for share in (0, *SHARES[:1], 1)]
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
            f"{seconds_text(_lower_bound(bucket))} to "
            f"{seconds_text(histogram.upper_bound(bucket))}: "
            f"{counts[bucket]:,} messages ({share:.2%})",
        )
        for bucket, share in shares.items()
    ]
    marks = [
        Mark(_log_position(seconds, first) / (last - first) * _PERCENT, 0, name)
        for name, share in _PERCENTILES.items()
        if (seconds := histogram.percentile(counts, share))
    ]
    y = _value_ticks(scale, lambda share: f"{share:.0%}" if share else "0")
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
    label = moment_label(scale.right)
    return [
        Tick(round(moment / scale.right * _PERCENT, 2), label(moment))
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
        Tick(round(_log_position(value, first) / (last - first) * _PERCENT, 2), seconds_text(value))
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
    return "M" + "L".join(f"{scale.x(x):g},{scale.y(y):g}" for x, y in points)


def _bar(scale: _Scale, left: float, right: float, value: float) -> str:
    top = scale.y(value)
    return f"M{scale.x(left):g},{SIDE}V{top:g}H{scale.x(right):g}V{SIDE}Z"


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
        f", {getattr(one, name) / width:,.0f} {name}" for name in _LOST if getattr(one, name)
    )
    return (
        f"{one.delivered / width:,.0f} delivered{others}, "
        f"{one.attempts / width:,.0f} attempts a second"
    )


def compact(value: float) -> str:
    """1,500,000 as 1.5M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def seconds_text(seconds: float) -> str:
    """0.02 as 20 ms, 90 as 90 s."""
    return f"{seconds * 1_000:.3g} ms" if seconds < 1 else f"{seconds:,.4g} s"


def duration(seconds: float) -> str:
    """As long as a person would say it: 12.3 s, 2 min 05 s, 3 h 20 min."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"


def moment_label(longest: float) -> Callable[[float], str]:
    """How moments are written on an axis of that length: 90 s, 1:30 min, 1:30 h."""
    for size, part, unit in ((_HOUR, _MINUTE, "h"), (_MINUTE, 1, "min")):
        if longest >= 2 * size:
            return lambda seconds: (
                f"{seconds // size:.0f}:{seconds % size // part:02.0f} {unit}" if seconds else "0"
            )
    return lambda seconds: f"{seconds:g} s" if seconds else "0"
