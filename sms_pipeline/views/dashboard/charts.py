"""The points of a run as JSON, for `charts.js`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sms_pipeline.views import axes
from sms_pipeline.views.axes import Axis
from sms_pipeline.views.course import (
    DELIVERY_TIMES,
    FORECAST,
    ON_PHONE,
    REACHED,
    Bar,
    Course,
    Reach,
    delivery_times_summary,
    reach_summary,
    throughput_summary,
)

#: Decimals of a value.
_DIGITS = 6


def charts_json(course: Course) -> dict[str, Any]:
    """All charts of a run; None for those of which nothing is known yet."""
    return {
        "throughput": _throughput(course) if course.throughput else None,
        "reach": _reach(course) if course.reach else None,
        "delivery_times": _delivery_times(course) if course.delivery_times else None,
    }


def summaries_json(course: Course) -> dict[str, str]:
    """What the charts show, in words, by the id of their element: not everybody can see them."""
    return {
        "throughput": throughput_summary(course),
        "reach": reach_summary(course),
        "delivery-times": delivery_times_summary(course),
    }


def _throughput(course: Course) -> dict[str, Any]:
    """A value of a series holds from the start of its stretch to the start of the next."""
    stretches = course.throughput
    names = stretches[0].rates
    return {
        "across": axis_json(axes.time_axis(course)),
        "up": axis_json(axes.rate_axis(course)),
        "starts": [stretch.start for stretch in stretches],
        "end": stretches[-1].end,
        "series": {name: [short(one.rates[name]) for one in stretches] for name in names},
        "texts": [stretch.text for stretch in stretches],
        "bands": _bands(course),
    }


def _reach(course: Course) -> dict[str, Any]:
    return {
        "across": axis_json(axes.time_axis(course)),
        "up": axis_json(axes.reach_axis()),
        "seconds": [point.seconds for point in course.reach],
        "series": {
            REACHED: [short(point.share) for point in course.reach],
            **_beside(course, ON_PHONE, course.on_phone),
            **_beside(course, FORECAST, course.foretold),
        },
        "texts": [point.text for point in course.reach],
        "marks": [
            {"seconds": mark.seconds, "share": mark.share, "text": mark.text}
            for mark in course.marks
        ],
        "bands": _bands(course),
    }


def _bands(course: Course) -> list[dict[str, Any]]:
    """Times in which something went wrong."""
    return [{"start": one.start, "end": one.end, "text": one.text} for one in course.bands]


def _beside(course: Course, name: str, points: Sequence[Reach]) -> dict[str, list[float]]:
    """Another curve at the moments of the reach, if there is one."""
    if not points:
        return {}
    at, shares = zip(*points, strict=True)
    wanted = [point.seconds for point in course.reach]
    return {name: [short(share) for share in np.interp(wanted, at, shares)]}


def _delivery_times(course: Course) -> dict[str, Any]:
    bars = sorted([*course.delivery_times, *course.on_phone_times])
    across = axes.delivery_time_axis(bars)
    return {
        "across": axis_json(across),
        "up": axis_json(axes.share_axis(bars)),
        **_bars(DELIVERY_TIMES, course.delivery_times),
        "beside": [_bars(ON_PHONE, course.on_phone_times)] if course.on_phone_times else [],
        "marks": [
            {"seconds": max(seconds, across.low), "text": name}
            for name, seconds in course.percentiles.items()
        ],
    }


def _bars(name: str, bars: Sequence[Bar]) -> dict[str, Any]:
    return {
        "shortest": [bar.shortest for bar in bars],
        "longest": [bar.longest for bar in bars],
        "series": {name: [short(bar.share) for bar in bars]},
        "texts": [bar.text for bar in bars],
    }


def axis_json(axis: Axis) -> dict[str, Any]:
    """The range and the ticks of an axis."""
    return {
        "range": [axis.low, axis.high],
        "ticks": [tick.at for tick in axis.ticks],
        "labels": [tick.label for tick in axis.ticks],
    }


def short(value: float) -> float:
    """With no more digits than anybody can see."""
    return round(value, _DIGITS)
