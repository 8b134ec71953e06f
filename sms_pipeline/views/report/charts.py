"""Turns the points of a run into shapes in a square of 1,000 by 1,000."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sms_pipeline.views import axes
from sms_pipeline.views.axes import Axis
from sms_pipeline.views.course import (
    ATTEMPTS,
    DELIVERED,
    DELIVERY_TIMES,
    FORECAST,
    NOT_DELIVERED,
    ON_PHONE,
    REACHED,
    Bar,
    Course,
    Stretch,
)
from sms_pipeline.views.format import number

#: The side of the square; y grows downwards. The page stretches the square to any size, so texts
#: are not in it: they are placed in percent.
SIDE = 1_000
_PERCENT = 100
#: Decimals of a coordinate in the square, and of one in percent.
_SIDE_DIGITS, _PERCENT_DIGITS = 1, 2


class Label(NamedTuple):
    """A text on an axis, placed in percent from the left or from the bottom."""

    at: float
    text: str


class Shape(NamedTuple):
    """A path, and the name of what it shows. A `line` is not filled."""

    name: str
    path: str
    line: bool = False


class Mark(NamedTuple):
    """A point with a text, placed in percent from the left and from the bottom."""

    x: float
    y: float
    text: str


class Hover(NamedTuple):
    """A vertical strip of the square, and the text that it shows."""

    x: float
    width: float
    text: str


class Chart(NamedTuple):
    """What a page draws."""

    x: Sequence[Label]
    y: Sequence[Label]
    shapes: Sequence[Shape]
    marks: Sequence[Mark]
    hovers: Sequence[Hover]
    #: Times in which something went wrong.
    bands: Sequence[Hover] = ()


_Point = tuple[float, float]
#: The chart of a run of which nothing is known yet.
EMPTY = Chart((), (), (), (), ())


def throughput(course: Course) -> Chart:
    """Messages not delivered are stacked on those delivered; attempts are a line."""
    stretches = course.throughput
    if not stretches:
        return EMPTY
    scale = _Scale(axes.time_axis(course), axes.rate_axis(course))
    delivered = _stairs(stretches, lambda one: one.delivered)
    ended = _stairs(stretches, lambda one: one.delivered + one.not_delivered)
    attempts = _stairs(stretches, lambda one: one.attempts)
    shapes = (
        Shape(DELIVERED, scale.area(delivered, _floor(delivered))),
        Shape(NOT_DELIVERED, scale.area(ended, delivered)),
        Shape(ATTEMPTS, scale.line(attempts), line=True),
    )
    hovers = [scale.hover(one.start, one.end, one.text) for one in stretches]
    return Chart(*scale.labels, shapes, (), hovers, scale.bands(course))


def reach(course: Course) -> Chart:
    """A curve, with marks where chosen shares were reached."""
    if not course.reach:
        return EMPTY
    scale = _Scale(axes.time_axis(course), axes.reach_axis())
    curve = [(point.seconds, point.share) for point in course.reach]
    shapes = (
        Shape(REACHED, scale.area(curve, _floor(curve))),
        Shape(REACHED, scale.line(curve), line=True),
        *_on_phone(course, scale),
        *_foretold(course, scale),
    )
    marks = [scale.mark(one.seconds, one.share, one.text) for one in course.marks]
    pairs = zip(course.reach, course.reach[1:], strict=False)
    hovers = [scale.hover(before.seconds, one.seconds, one.text) for before, one in pairs]
    return Chart(*scale.labels, shapes, marks, hovers, scale.bands(course))


def _foretold(course: Course, scale: _Scale) -> Iterator[Shape]:
    points = [(point.seconds, point.share) for point in course.foretold]
    if points:
        yield Shape(FORECAST, scale.line(points), line=True)


def _on_phone(course: Course, scale: _Scale) -> Iterator[Shape]:
    points = [(point.seconds, point.share) for point in course.on_phone]
    if points:
        yield Shape(ON_PHONE, scale.line(points), line=True)


def delivery_times(course: Course) -> Chart:
    """A bar for each bucket of the histogram, with marks at the percentiles."""
    return _histogram(DELIVERY_TIMES, course.delivery_times, course.percentiles)


def on_phone_times(course: Course) -> Chart:
    """The same of the times until on the phone."""
    return _histogram(ON_PHONE, course.on_phone_times, course.on_phone_percentiles)


def _histogram(name: str, bars: Sequence[Bar], percentiles: Mapping[str, float]) -> Chart:
    if not bars:
        return EMPTY
    scale = _Scale(axes.delivery_time_axis(bars), axes.share_axis(bars), logarithmic=True)
    path = " ".join(scale.bar(bar.shortest, bar.longest, bar.share) for bar in bars)
    marks = [scale.mark(seconds, 0.0, percentile) for percentile, seconds in percentiles.items()]
    hovers = [scale.hover(bar.shortest, bar.longest, bar.text) for bar in bars]
    return Chart(*scale.labels, (Shape(name, path),), marks, hovers)


def _stairs(stretches: Sequence[Stretch], value: Callable[[Stretch], float]) -> list[_Point]:
    return [(at, value(one)) for one in stretches for at in (one.start, one.end)]


def _floor(points: Sequence[_Point]) -> list[_Point]:
    """The line on the axis below these points."""
    return [(points[0][0], 0.0), (points[-1][0], 0.0)]


class _Scale(NamedTuple):
    """Places the values of two axes in the square."""

    across: Axis
    up: Axis
    logarithmic: bool = False

    def line(self, points: Iterable[_Point]) -> str:
        return "M" + "L".join(f"{number(self._x(x))},{number(self._y(y))}" for x, y in points)

    def area(self, points: Sequence[_Point], below: Sequence[_Point]) -> str:
        return f"{self.line([*points, *reversed(below)])}Z"

    def bar(self, left: float, right: float, value: float) -> str:
        x, until, top = map(number, (self._x(left), self._x(right), self._y(value)))
        return f"M{x},{SIDE}V{top}H{until}V{SIDE}Z"

    def hover(self, left: float, right: float, text: str) -> Hover:
        start = self._x(left)
        return Hover(start, round(self._x(right) - start, _SIDE_DIGITS), text)

    def bands(self, course: Course) -> list[Hover]:
        return [self.hover(band.start, band.end, band.text) for band in course.bands]

    def mark(self, x: float, y: float, text: str) -> Mark:
        return Mark(_percent(self._part_across(x)), _percent(self._part_up(y)), text)

    @property
    def labels(self) -> tuple[list[Label], list[Label]]:
        """The labels of both axes."""
        return (
            [Label(_percent(self._part_across(at)), text) for at, text in self.across.ticks],
            [Label(_percent(self._part_up(at)), text) for at, text in self.up.ticks],
        )

    def _x(self, value: float) -> float:
        return round(self._part_across(value) * SIDE, _SIDE_DIGITS)

    def _y(self, value: float) -> float:
        return round((1 - self._part_up(value)) * SIDE, _SIDE_DIGITS)

    def _part_across(self, value: float) -> float:
        """From 0 at the left to 1."""
        low, high = self.across.low, self.across.high
        within = min(max(value, low), high)
        if self.logarithmic:
            return math.log(within / low) / math.log(high / low)
        return (within - low) / (high - low)

    def _part_up(self, value: float) -> float:
        """From 0 at the bottom to 1."""
        return min(value / self.up.high, 1.0)


def _percent(part: float) -> float:
    return round(part * _PERCENT, _PERCENT_DIGITS)
