"""Points of a run's charts, and that every chart draws the same ones."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms_pipeline.core import histogram
from sms_pipeline.core.counts import Counts
from sms_pipeline.core.events import Event
from sms_pipeline.ledger.timeline import Bin, Timeline
from sms_pipeline.views import axes
from sms_pipeline.views.course import (
    BINS,
    NOTHING_YET,
    Course,
    Mark,
    Reach,
    delivery_times_summary,
    make_course,
    reach_summary,
    throughput_summary,
)
from sms_pipeline.views.dashboard.charts import charts_json
from sms_pipeline.views.report import charts

#: Nobody can tell more points apart, and a phone must draw them every second.
MOST_POINTS = BINS + 6


def timeline(*delivered: int, width: float = 1.0, total: int = 100, **others: int) -> Timeline:
    """Of a run in which so many messages were delivered in each bin, and so many `others` ended."""
    bins = tuple(
        Bin(delivered=messages, attempts=messages + sum(others.values()), **others)
        for messages in delivered
    )
    return Timeline(1, total, 0.0, (len(bins) - 0.9) * width, width, bins, {0.5: 1.5, 0.9: None})


def course(*delivered: int, until: float, **values: int) -> Course:
    return make_course(timeline(*delivered, **values), until, Counts())


# Bands


def test_bands_are_where_something_went_wrong_as_far_as_the_run_came() -> None:
    events = [
        Event.model_validate({"at": 1, "for": 1, "profile": "fast", "outage": True, "share": 0.5}),
        Event.model_validate({"at": 2, "for": 60, "slowdown": 3, "failure_rate": 0.6}),
        Event.model_validate({"at": 30, "for": 60, "outage": True}),
    ]
    made = replace(timeline(*[5] * 10), origin=0.5)
    bands = make_course(made, 10.0, Counts(), events).bands
    assert [(one.start, one.end) for one in bands] == [(1.5, 2.5), (2.5, 10.0)]
    first, second = (one.text for one in bands)
    assert first == "1.5 s to 2.5 s: outage of 50% of fast"
    assert second.endswith(": all profiles: 3 times as slow, 60% of attempts fail")
    assert make_course(Timeline(1, 100), 10.0, Counts(), events).bands == ()


# Throughput


def test_rates_are_messages_a_second() -> None:
    drawn = course(10, 30, 20, width=2, until=6.0, failed=2, expired=1, cancelled=1).throughput
    assert [(one.start, one.end) for one in drawn] == [(0, 2), (2, 4), (4, 6)]
    assert [one.delivered for one in drawn] == [5, 15, 10]
    assert {one.not_delivered for one in drawn} == {2}
    assert [one.attempts for one in drawn] == [7, 17, 12]


def test_what_is_not_a_whole_stretch_is_joined_to_the_one_before() -> None:
    drawn = course(10, 30, 3, width=2, until=5.0).throughput
    assert [(one.end, one.delivered) for one in drawn] == [(2, 5), (5, 11)]


def test_narrow_bins_are_taken_together_up_to_a_second() -> None:
    made = make_course(timeline(*[5] * 60, width=0.1, total=1_000), 6.0, Counts())
    assert [one.delivered for one in made.throughput] == [50] * 6
    assert len(made.reach) > 60


def test_a_short_run_has_shorter_stretches() -> None:
    made = course(*[0, 0, 0, 0, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 9, 9], width=0.1, until=1.8)
    assert [round(one.end, 1) for one in made.throughput] == [0.4, 0.8, 1.2, 1.8]
    assert [round(one.delivered) for one in made.throughput] == [0, 50, 50, 63]


# Summaries


def test_a_chart_can_be_told() -> None:
    counts = Counts(delivered=100, delivery_times={40: 60, 80: 40}, longest_delivery=9.0)
    made = make_course(timeline(10, 50, 40, width=1, total=200), 3.0, counts)
    assert throughput_summary(made) == (
        "At most 50/s delivered, 1.0 s to 2.0 s after the start; 3.0 s in all."
    )
    assert reach_summary(made).endswith("3.0 s: 50.0% reached.")
    assert delivery_times_summary(made).startswith("p50 ")
    nothing = make_course(Timeline(1, 100), 0.0, Counts())
    for summary in (throughput_summary, reach_summary, delivery_times_summary):
        assert summary(nothing) == NOTHING_YET


@pytest.mark.parametrize(("until", "rate"), [(0.0, 100), (0.1, 100)])
def test_a_run_of_less_than_a_second_has_a_rate(until: float, rate: float) -> None:
    (only,) = make_course(timeline(10, width=0.1), until, Counts()).throughput
    assert only.delivered == pytest.approx(rate)


def test_a_run_that_stands_still_is_seen_to() -> None:
    drawn = course(10, 10, until=3_600.0)
    assert [(one.start, one.end, one.delivered) for one in drawn.throughput[1:]] == [
        (1, 2, 10),
        (2, 3_600, 0),
    ]
    assert drawn.reach[-1] == Reach(3_600, 0.2)


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=BINS),
    st.sampled_from([0.1, 0.5, 1.0, 2.0, 86_400.0]),
    st.floats(0, 3),
)
def test_no_message_is_left_out_and_no_time(
    delivered: list[int], width: float, longer: float
) -> None:
    made = timeline(*delivered, width=width)
    drawn = make_course(made, made.seconds + longer * width, Counts()).throughput
    total = sum(one.delivered * (one.end - one.start) for one in drawn)
    assert total == pytest.approx(sum(delivered), abs=1e-3)
    assert [one.start for one in drawn[1:]] == [one.end for one in drawn[:-1]]
    assert (drawn[0].start, drawn[-1].end >= made.seconds) == (0, True)


# Reach


def test_reach_grows_from_nothing_to_the_end_and_passes_through_its_marks() -> None:
    drawn = course(10, 40, 20, until=3.0)
    points = [(0, 0), (1, 0.1), (1.5, 0.5), (2, 0.5), (3, 0.7)]
    assert [tuple(point) for point in drawn.reach] == points
    assert drawn.marks == (Mark(1.5, 0.5),)
    assert drawn.marks[0].text == "50% after 1.5 s"


# Delivery times


def test_delivery_times_have_a_bar_for_each_bucket_that_is_not_empty() -> None:
    # Buckets 80 and 88 end at 1.024 s and 2.048 s
    made = make_course(timeline(1), 1.0, Counts(delivery_times={88: 10, 80: 90, 81: 0}))
    first, last = made.delivery_times
    assert (last.shortest, last.longest) == tuple(map(histogram.upper_bound, (87, 88)))
    assert (first.messages, first.share, last.share) == (90, 0.9, 0.1)
    assert first.text == "939 ms to 1.02 s: 90 messages (90.0%)"
    assert list(made.percentiles) == ["p50", "p95", "p99"]


def test_the_first_bar_has_no_lower_bound() -> None:
    (bar,) = make_course(timeline(1), 1.0, Counts(delivery_times={0: 3})).delivery_times
    assert bar.text == "up to 1 ms: 3 messages (100.0%)"


# All of it


def test_nothing_is_drawn_of_a_run_that_has_not_begun() -> None:
    made = make_course(Timeline(1, 100, time_to_reach={0.5: None}), 0.0, Counts())
    assert (made.throughput, made.reach, made.delivery_times) == ((), (), ())
    assert set(charts_json(made).values()) == {None}


@pytest.mark.parametrize("width", [0.1, 1.0, 21_600.0])
def test_there_are_never_more_points_than_a_chart_can_show(width: float) -> None:
    made = make_course(timeline(*[1] * BINS, width=width, total=BINS), BINS * width * 9, Counts())
    assert len(made.throughput) <= MOST_POINTS
    assert len(made.reach) <= MOST_POINTS


def places(path: str) -> list[list[float]]:
    """The corners of a path: from the left and from the bottom, 0 to 1."""
    side = charts.SIDE
    corners = re.findall(r"([\d.]+),([\d.]+)", path)
    return [[float(x) / side, 1 - float(y) / side] for x, y in corners]


def about(points: list[list[float]]) -> object:
    """Paths are drawn to a tenth of a thousandth."""
    return pytest.approx([part for point in points for part in point], abs=1e-4)


def flat(points: list[list[float]]) -> list[float]:
    return [part for point in points for part in point]


def test_report_and_dashboard_draw_the_same_points_under_the_same_names() -> None:
    made = make_course(
        timeline(10, 40, 20, failed=5, width=2),
        5.0,
        Counts(delivery_times={78: 1, 80: 90, 82: 0, 88: 10}),
    )
    page = charts_json(made)
    throughput, reach, times = (page[name] for name in ("throughput", "reach", "delivery_times"))

    # Throughput: the page's values at both ends of each stretch are the corners of the report's
    drawn = charts.throughput(made)
    assert list(throughput["series"]) == [shape.name for shape in drawn.shapes]
    edges = [*throughput["starts"], throughput["end"]]
    right, top = throughput["across"]["range"][1], throughput["up"]["range"][1]

    def stairs(values: list[float]) -> list[list[float]]:
        ends = zip(edges, edges[1:], values, strict=False)
        return [[at / right, value / top] for start, end, value in ends for at in (start, end)]

    delivered, others, attempts = throughput["series"].values()
    ended = [sum(parts) for parts in zip(delivered, others, strict=True)]
    for shape, values in zip(drawn.shapes, (delivered, ended, attempts), strict=True):
        wanted = stairs(values)
        assert flat(places(shape.path)[: len(wanted)]) == about(wanted)

    # Reach
    drawn = charts.reach(made)
    assert set(reach["series"]) == {shape.name for shape in drawn.shapes}
    curve = [
        [at / right, share]
        for at, share in zip(reach["seconds"], reach["series"]["reached"], strict=True)
    ]
    assert flat(places(drawn.shapes[1].path)) == about(curve)
    assert [mark["text"] for mark in reach["marks"]] == [mark.text for mark in drawn.marks]

    # Delivery times
    drawn = charts.delivery_times(made)
    assert list(times["series"]) == [shape.name for shape in drawn.shapes]
    top = times["up"]["range"][1]
    tops = [1 - float(y) / charts.SIDE for y in re.findall(r"V([\d.]+)H", drawn.shapes[0].path)]
    assert tops == pytest.approx(
        [share / top for share in times["series"]["delivery times"]], abs=1e-4
    )
    assert [mark["text"] for mark in times["marks"]] == [mark.text for mark in drawn.marks]

    # And both say the same about each point, and at the same ticks
    both = [
        (throughput, charts.throughput(made)),
        (reach, charts.reach(made)),
        (times, charts.delivery_times(made)),
    ]
    for shown, printed in both:
        assert [hover.text for hover in printed.hovers] == shown["texts"][-len(printed.hovers) :]
        assert shown["across"]["labels"] == [label.text for label in printed.x]
        assert shown["up"]["labels"] == [label.text for label in printed.y]


# Axes


@pytest.mark.parametrize(
    ("width", "bins", "labels"),
    [
        (1, 10, ["0", "2 s", "4 s", "6 s", "8 s", "10 s"]),
        (10, 18, ["0", "30 s", "1 min", "1:30 min", "2 min", "2:30 min", "3 min"]),
        (3_600, 5, ["0", "1 h", "2 h", "3 h", "4 h", "5 h"]),
    ],
)
def test_times_on_an_axis(width: float, bins: int, labels: list[str]) -> None:
    made = make_course(timeline(*[1] * bins, width=width), width * bins, Counts())  # type: ignore[arg-type]
    assert [tick.label for tick in axes.time_axis(made).ticks] == labels


@pytest.mark.parametrize(("least", "step"), [(0.011, 0.02), (1, 1), (3, 5), (7, 10), (150, 200)])
def test_steps_are_round(least: float, step: float) -> None:
    assert axes.nice_step(least) == pytest.approx(step)
