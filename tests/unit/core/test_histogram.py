"""Buckets add up, and a percentile taken from them is off by less than a bucket."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.histogram import (
    BUCKETS_PER_DOUBLING,
    LAST_BUCKET,
    SHORTEST,
    count_buckets,
    percentile,
    spread,
    upper_bound,
)

TIMES = st.lists(st.floats(0, 1e9), min_size=1, max_size=50)


@settings(max_examples=100, deadline=None)
@given(TIMES)
def test_every_time_falls_in_one_bucket(times: list[float]) -> None:
    counts = count_buckets(np.array(times))
    assert sum(counts.values()) == len(times)
    assert all(0 <= bucket <= LAST_BUCKET and n > 0 for bucket, n in counts.items())


@settings(max_examples=100, deadline=None)
@given(st.floats(SHORTEST, 1e6))
def test_time_lies_between_the_bounds_of_its_bucket(seconds: float) -> None:
    (bucket,) = count_buckets(np.array([seconds]))
    rounding = 1 + 1e-9
    assert seconds <= upper_bound(bucket) * rounding
    assert bucket == 0 or seconds * rounding >= upper_bound(bucket - 1)


def test_bounds_grow_by_the_same_factor() -> None:
    bounds = [upper_bound(bucket) for bucket in range(LAST_BUCKET)]
    ratios = [after / before for before, after in itertools.pairwise(bounds)]
    assert ratios == pytest.approx([2 ** (1 / BUCKETS_PER_DOUBLING)] * len(ratios))
    assert bounds[0] == SHORTEST


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_percentile_is_within_a_bucket_of_the_exact_one(share: float) -> None:
    times = np.random.default_rng(1).gamma(2, 1.5, 20_000)
    exact = np.quantile(times, share)
    assert percentile(count_buckets(times), share) == pytest.approx(exact, rel=0.09)


@settings(max_examples=50, deadline=None)
@given(TIMES, TIMES)
def test_sum_of_two_histograms_is_the_histogram_of_both(one: list[float], two: list[float]) -> None:
    both = count_buckets(np.array(one + two))
    parts = [count_buckets(np.array(times)) for times in (one, two)]
    keys = parts[0].keys() | parts[1].keys()
    assert {key: sum(part.get(key, 0) for part in parts) for key in keys} == both


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        # The first bucket begins at nothing, every other one where the one before ends.
        ({0: 10}, 0.5, SHORTEST / 2),
        ({0: 10}, 0.0, 0.0),
        ({8: 10}, 0.0, upper_bound(7)),
        ({8: 10}, 0.5, (upper_bound(7) + upper_bound(8)) / 2),
        ({8: 10}, 1.0, upper_bound(8)),
        # Half of all fell within bucket 8; a little more needs bucket 16.
        ({8: 5, 16: 5}, 0.5, upper_bound(8)),
        ({8: 5, 16: 5}, 0.6, upper_bound(15) + (upper_bound(16) - upper_bound(15)) / 5),
        # A bucket that nothing is in holds no share of them.
        ({3: 0, 8: 10}, 0.0, upper_bound(7)),
    ],
)
def test_percentile_is_linear_within_the_bucket_that_holds_it(
    counts: dict[int, int], share: float, seconds: float
) -> None:
    assert percentile(counts, share) == pytest.approx(seconds, rel=1e-9)


def test_percentile_never_falls_as_the_share_grows() -> None:
    counts = {3: 2, 10: 5, 200: 1}
    values = [percentile(counts, share) for share in np.linspace(0, 1, 50).tolist()]
    assert values == sorted(values)
    assert values[-1] == upper_bound(200)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_no_percentile_is_longer_than_the_longest_time(share: float) -> None:
    # Given times that are all the same, so that their bucket ends above them
    seconds = (upper_bound(20) + upper_bound(21)) / 2
    found = percentile(count_buckets(np.full(1_000, seconds)), share, seconds)
    assert found is not None
    assert upper_bound(20) < found <= seconds


@pytest.mark.parametrize(("share", "is_last"), [(0.9, False), (0.91, True), (1.0, True)])
def test_the_last_of_all_took_the_longest(share: float, is_last: bool) -> None:
    found = percentile({3: 9, 40: 1}, share, 0.031)
    assert found == (0.031 if is_last else upper_bound(3))


@pytest.mark.parametrize("share", [0.98, 0.99, 0.995])
def test_the_last_bucket_ends_with_the_longest_time(share: float) -> None:
    # Given even times of which the longest is in the middle of a bucket
    times = np.linspace(0.65, 1_310.65, 100_000)
    found = percentile(count_buckets(times), share, float(times.max()))
    assert found == pytest.approx(float(np.quantile(times, share)), rel=0.001)


def test_nothing_counted() -> None:
    assert count_buckets(np.array([])) == {}
    assert percentile({}, 0.5) is None
    assert percentile({}, 0.5, 0.0) is None


def test_extremes_keep_within_the_buckets() -> None:
    assert count_buckets(np.array([0.0, 1e-12, 1e300])) == {0: 2, LAST_BUCKET: 1}


def test_an_even_spread_is_what_as_many_even_times_are() -> None:
    times = np.linspace(0.7, 3.2, 200_001)
    exact, found = count_buckets(times), spread(times.size, 0.7, 3.2)
    assert found.keys() == exact.keys()
    assert list(found.values()) == pytest.approx([exact[bucket] for bucket in found], abs=2)
    assert sum(found.values()) == pytest.approx(times.size)


def test_a_spread_from_nothing_on_begins_in_the_first_bucket() -> None:
    assert spread(10.0, 0.0, 2 * SHORTEST)[0] == pytest.approx(5.0)
