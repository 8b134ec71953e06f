"""Points of the dashboard's charts."""

from __future__ import annotations

import pytest

from sms_pipeline.core import histogram
from sms_pipeline.ledger.timeline import BINS, Bin, Timeline
from sms_pipeline.views.dashboard import charts
from tests.unit import make

#: The thing to see: nobody can tell more points apart, and a phone must draw them every second.
MOST_POINTS = BINS + 3


def timeline(*delivered: int, width: float = 1.0, total: int = 100, failed: int = 0) -> Timeline:
    """Of a run in which so many messages were delivered in each bin."""
    bins = tuple(Bin(delivered=count, failed=failed) for count in delivered)
    return Timeline(1, total, 0.0, (len(bins) - 0.9) * width, width, bins, {0.5: 2.0, 0.9: None})


def test_rates_are_those_of_whole_bins_in_the_middle_of_their_time() -> None:
    drawn = charts.course(timeline(10, 30, 20, width=2.0, failed=2), 6.0)
    assert drawn["rate_seconds"] == [1.0, 3.0, 5.0]
    assert drawn["rates"] == [6.0, 16.0, 11.0]


def test_a_bin_that_is_not_over_does_not_look_like_a_fall() -> None:
    assert charts.course(timeline(10, 30, 1, width=2.0), 4.5)["rates"] == [5.0, 15.0]


def test_narrow_bins_are_taken_together_up_to_a_second() -> None:
    drawn = charts.course(timeline(*[5] * 20, width=0.1, total=1_000), 2.0)
    assert drawn["rates"] == [50.0, 50.0]
    assert len(drawn["reached"]) > 20


def test_a_run_of_less_than_a_second_has_a_rate() -> None:
    assert charts.course(timeline(10, width=0.1), 0.1)["rates"] == [100.0]


def test_reach_grows_from_nothing_to_the_end() -> None:
    drawn = charts.course(timeline(10, 40, 20), 3.0)
    assert drawn["reach_seconds"] == [0.0, 1.0, 2.0, 3.0, 3.0]
    assert drawn["reached"] == [0.0, 0.1, 0.5, 0.7, 0.7]
    assert drawn["marks"] == [{"share": 0.5, "seconds": 2.0}, {"share": 0.9, "seconds": None}]


def test_a_run_that_stands_still_is_seen_to() -> None:
    drawn = charts.course(timeline(10, 10), 3_600.0)
    assert (drawn["rates"][-2:], drawn["rate_seconds"][-1]) == ([0.0, 0.0], 3_600.0)
    assert (drawn["reached"][-1], drawn["reach_seconds"][-1]) == (0.2, 3_600.0)


def test_a_run_that_has_not_begun_has_no_points_but_the_first() -> None:
    drawn = charts.course(Timeline(1, 100, time_to_reach={0.5: None}), 0.0)
    assert (drawn["rates"], drawn["reached"]) == ([], [0.0])


@pytest.mark.parametrize("width", [0.1, 1.0, 21_600.0])
def test_there_are_never_more_points_than_a_chart_can_show(width: float) -> None:
    drawn = charts.course(timeline(*[1] * BINS, width=width, total=BINS), BINS * width * 9)
    assert len(drawn["rates"]) <= MOST_POINTS
    assert len(drawn["reached"]) <= MOST_POINTS


def test_delivery_times_are_those_of_all_profiles_without_gaps() -> None:
    profiles = [
        make.counts("fast", delivery_times={0: 1, 2: 5}),
        make.counts("slow", delivery_times={2: 2, 3: 4}),
    ]
    drawn = charts.delivery_times(profiles)
    assert drawn["messages"] == [1, 0, 7, 4]
    assert drawn["from"] == [0.0, *(histogram.upper_bound(bucket) for bucket in (0, 1, 2))]
    assert drawn["to"] == [histogram.upper_bound(bucket) for bucket in (0, 1, 2, 3)]
    assert charts.delivery_times([]) == {"from": [], "to": [], "messages": []}
