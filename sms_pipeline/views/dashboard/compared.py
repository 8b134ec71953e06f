"""Several runs beside one another, as JSON: two in detail, and the trend over many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Run
from sms_pipeline.views import axes
from sms_pipeline.views.compare import (
    Side,
    comparison_of,
    figure_rows,
    notes,
    setting_rows,
)
from sms_pipeline.views.course import Course, make_course
from sms_pipeline.views.dashboard.charts import axis_json, short
from sms_pipeline.views.format import (
    count,
    message_time,
    percent,
    rate,
    round_time,
    run_title,
    tag_list,
)
from sms_pipeline.views.percentiles import TAIL, tail


def comparison_json(first: Side, second: Side) -> dict[str, Any]:
    """Two runs for their page: texts for its tables, and curves over one another."""
    comparison = comparison_of(first, second)
    sides = (first, second)
    courses = [
        make_course(side.timeline, side.progress.seconds, side.progress.counts) for side in sides
    ]
    titles = [run_title(side.run.id, side.run.simulation.name) for side in sides]
    return {
        "titles": titles,
        "figures": list(figure_rows(comparison)),
        "settings": list(setting_rows(comparison)),
        "notes": list(notes(comparison)),
        "charts": _curves(titles, courses),
    }


def _curves(titles: Sequence[str], courses: Sequence[Course]) -> dict[str, Any]:
    """By the id of their element; None as long as one of the runs has nothing to show."""
    if not all(course.throughput for course in courses):
        return {}
    seconds = max((axes.time_axis(course) for course in courses), key=lambda axis: axis.high)
    rates = max((axes.rate_axis(course) for course in courses), key=lambda axis: axis.high)
    shares = axis_json(axes.reach_axis())
    found = {
        "reach": {
            "across": axis_json(seconds),
            "up": shares,
            "lines": [_reach(*pair) for pair in zip(titles, courses, strict=True)],
        },
        "throughput": {
            "across": axis_json(seconds),
            "up": axis_json(rates),
            "lines": [_throughput(*pair) for pair in zip(titles, courses, strict=True)],
        },
    }
    if all(course.delivery_times for course in courses):
        bars = [bar for course in courses for bar in course.delivery_times]
        ends = min(bars, key=lambda bar: bar.shortest), max(bars, key=lambda bar: bar.longest)
        found["delivery-times"] = {
            "across": axis_json(axes.delivery_time_axis(ends)),
            "up": shares,
            "lines": [_delivery_times(*pair) for pair in zip(titles, courses, strict=True)],
        }
    return found


def _reach(title: str, course: Course) -> dict[str, Any]:
    return {
        "name": title,
        "x": [point.seconds for point in course.reach],
        "y": [short(point.share) for point in course.reach],
        "texts": [point.text for point in course.reach],
    }


def _throughput(title: str, course: Course) -> dict[str, Any]:
    """A value holds from its start to the next one's."""
    stretches = course.throughput
    last = stretches[-1]
    return {
        "name": title,
        "x": [*(one.start for one in stretches), last.end],
        "y": [*(short(one.delivered) for one in stretches), short(last.delivered)],
        "texts": [*(one.text for one in stretches), last.text],
    }


def _delivery_times(title: str, course: Course) -> dict[str, Any]:
    """The share of messages that took no longer."""
    bars = course.delivery_times
    seconds = [bars[0].shortest, *(bar.longest for bar in bars)]
    shares = [0.0, *accumulate(bar.share for bar in bars)]
    return {
        "name": title,
        "x": seconds,
        "y": list(map(short, shares)),
        "texts": [
            f"{percent(share)} within {round_time(at)}"
            for at, share in zip(seconds, shares, strict=True)
        ],
    }


# Trends


class Trend(NamedTuple):
    """A figure over runs."""

    title: str
    value: Callable[[Progress], float | None]
    show: Callable[[float | None], str]


#: By the id of their element.
TRENDS = {
    "p95": Trend(f"{TAIL} delivery time", lambda progress: tail(progress.counts), message_time),
    "reach": Trend("Reached", lambda progress: progress.reached, percent),
    "rate": Trend("Average rate", lambda progress: progress.average_rate, rate),
}


def trend_json(run: Run, progress: Progress) -> dict[str, Any]:
    """One run among others: numbers for the charts, texts for the table."""
    return {
        "run": run.id,
        "name": run.simulation.name or "",
        "tags": tag_list(run.simulation.tags),
        "started_at": run.started_at,
        "values": {key: trend.value(progress) for key, trend in TRENDS.items()},
        "shown": [count(run.total), *_texts(progress)],
        "texts": dict(zip(TRENDS, _texts(progress), strict=True)),
    }


def _texts(progress: Progress) -> Iterator[str]:
    return (trend.show(trend.value(progress)) for trend in TRENDS.values())
