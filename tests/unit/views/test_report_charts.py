"""Points become shapes at the right places."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms_pipeline.core import histogram
from sms_pipeline.core.counts import Counts
from sms_pipeline.ledger.timeline import Bin, Timeline
from sms_pipeline.views.course import make_course
from sms_pipeline.views.report.charts import (
    EMPTY,
    SIDE,
    Chart,
    Label,
    delivery_times,
    reach,
    throughput,
)

BINS = (Bin(attempts=10), Bin(attempts=20, delivered=20), Bin(attempts=8, delivered=4, failed=4))
TIMELINE = Timeline(
    run=1, total=40, width=2, bins=BINS, time_to_reach={0.5: 3.0, 0.6: 5.5, 0.9: None}
)
COURSE = make_course(TIMELINE, 6.0, Counts())


def distribution(counts: dict[int, int]) -> Chart:
    return delivery_times(make_course(TIMELINE, 6.0, Counts(delivery_times=counts)))


def points(path: str) -> list[tuple[float, float]]:
    """The corners of a path."""
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path)]


def heights(path: str, top: float) -> list[float]:
    """The values that the corners of a path stand for."""
    return [round((1 - y / SIDE) * top, 1) for _, y in points(path)]


def path_of(chart: Chart, name: str, line: bool = False) -> str:
    (found,) = (one.path for one in chart.shapes if (one.name, one.line) == (name, line))
    return found


def test_throughput_is_a_staircase_of_messages_a_second() -> None:
    chart = throughput(COURSE)
    top = 10 * 1.05
    assert points(path_of(chart, "attempts", line=True))[1][0] == pytest.approx(SIDE / 3, abs=0.1)
    attempts = heights(path_of(chart, "attempts", line=True), top)
    assert attempts == [5, 5, 10, 10, 4, 4]
    assert heights(path_of(chart, "delivered"), top) == [0, 0, 10, 10, 2, 2, 0, 0]


def test_what_was_not_delivered_lies_on_what_was() -> None:
    band = heights(path_of(throughput(COURSE), "not delivered"), 10.5)
    assert band == [0, 0, 10, 10, 4, 4, 2, 2, 10, 10, 0, 0]


def test_reach_grows_to_what_was_delivered() -> None:
    chart = reach(COURSE)
    assert heights(path_of(chart, "reached", line=True), 1)[-1] == 0.6
    assert [mark.text for mark in chart.marks] == ["50% after 3.0 s", "60% after 5.5 s"]
    assert (chart.marks[0].x, chart.marks[0].y) == (50, 50)


def test_curve_of_reach_passes_through_its_marks() -> None:
    chart = reach(COURSE)
    corners = points(path_of(chart, "reached", line=True))
    assert (SIDE / 2, SIDE / 2) in corners
    assert corners == sorted(corners, key=lambda corner: (corner[0], -corner[1]))


def test_delivery_times_have_a_bar_for_each_bucket_and_a_rule_for_each_percentile() -> None:
    # Buckets 80 and 88 end at 1.024 s and 2.048 s
    chart = distribution({80: 90, 88: 10})
    assert path_of(chart, "delivery times").count("M") == 2
    assert [mark.text for mark in chart.marks] == ["p50", "p95", "p99"]
    assert [label.text for label in chart.x] == ["1 s", "2 s"]
    assert chart.hovers[0].text == "939 ms to 1.02 s: 90 messages (90.0%)"
    assert [mark.x for mark in chart.marks] == sorted(mark.x for mark in chart.marks)


def test_bar_stands_where_the_axis_says() -> None:
    chart = distribution({80: 1, 82: 1})
    (left, right) = re.findall(r"M([\d.]+),\d+V[\d.]+H([\d.]+)", path_of(chart, "delivery times"))[
        0
    ]
    (one,) = (label.at for label in chart.x if label.text == "1 s")
    assert float(left) < one * SIDE / 100 < float(right)


@given(st.dictionaries(st.integers(0, histogram.LAST_BUCKET), st.integers(0, 10**9), max_size=20))
def test_any_distribution_can_be_drawn(counts: dict[int, int]) -> None:
    chart = distribution(counts)
    assert len(chart.hovers) == sum(count > 0 for count in counts.values())
    assert all(0 <= label.at <= 100 for label in [*chart.x, *chart.y])
    assert all(0 <= mark.x <= 100 for mark in chart.marks)


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=30), st.sampled_from([0.1, 1, 86_400]))
def test_any_course_can_be_drawn(delivered: list[int], width: float) -> None:
    bins = tuple(Bin(delivered=one, attempts=one) for one in delivered)
    timeline = Timeline(run=1, total=max(sum(delivered), 1), width=width, bins=bins)
    course = make_course(timeline, width * len(bins), Counts())
    for chart in (throughput(course), reach(course)):
        assert all(0 <= label.at <= 100.01 for label in [*chart.x, *chart.y])
        for shape in chart.shapes:
            assert all(0 <= x <= SIDE + 1 and 0 <= y <= SIDE for x, y in points(shape.path))


def test_nothing_is_drawn_of_nothing() -> None:
    nothing = make_course(Timeline(run=1, total=10), 0.0, Counts())
    assert (throughput(nothing), reach(nothing), delivery_times(nothing)) == (EMPTY, EMPTY, EMPTY)


def test_an_axis_begins_at_nothing() -> None:
    assert throughput(COURSE).x[0] == Label(0, "0")
