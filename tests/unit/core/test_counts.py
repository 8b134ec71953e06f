"""Counts add up, and all else that is told of messages follows from the sums."""

from __future__ import annotations

import operator
from dataclasses import fields
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.counts import (
    Counts,
    ProfileCounts,
    how_many,
    of_attempts,
    of_messages,
    total,
)
from sms_pipeline.core.histogram import count_buckets, upper_bound
from sms_pipeline.core.receipts import OnPhone
from tests.unit import make

#: Every field that is added up as it stands: all but histograms and the longest time.
NUMBERS = [
    one.name
    for one in fields(Counts)
    if one.name not in ("delivery_times", "longest_delivery", "on_phone")
]

COUNTS = st.builds(
    ProfileCounts,
    profile=st.sampled_from(["fast", "slow"]),
    delivery_times=st.dictionaries(st.integers(0, 4), st.integers(0, 9)),
    longest_delivery=st.integers(0, 1_000),
    # Whole numbers of seconds, too, so that every sum is exact.
    **{name: st.integers(0, 1_000) for name in NUMBERS},
)


# Sums


def test_every_field_is_added_up() -> None:
    # Given a value of its own in every field, so that none can stand in for another
    one = make.counts("fast", **{name: 2**n for n, name in enumerate(NUMBERS)})
    two = make.counts("slow", **{name: 2 ** (n + 20) for n, name in enumerate(NUMBERS)})
    # When they are added up
    found = total([one, two])
    # Then each field is the sum of that field
    assert {name: getattr(found, name) for name in NUMBERS} == {
        name: 2**n + 2 ** (n + 20) for n, name in enumerate(NUMBERS)
    }


def test_histograms_are_added_up_bucket_by_bucket() -> None:
    parts = [make.counts(delivery_times=times) for times in ({3: 1, 7: 2}, {}, {7: 5, 9: 4})]
    assert total(parts).delivery_times == {3: 1, 7: 7, 9: 4}


def test_receipts_are_added_up() -> None:
    parts = [make.counts(on_phone=OnPhone(some, 1, 2.0, some, {some: 1})) for some in (3, 7)]
    assert total([*parts, make.counts()]).on_phone == OnPhone(10, 2, 4.0, 7, {3: 1, 7: 1})


def test_longest_time_of_all_is_the_longest_of_any() -> None:
    parts = [make.counts(longest_delivery=seconds) for seconds in (2.0, 7.5, 3.0)]
    assert total(parts).longest_delivery == 7.5


@settings(max_examples=100, deadline=None)
@given(st.lists(COUNTS, max_size=5))
def test_sums_do_not_depend_on_how_the_parts_are_grouped(parts: list[Counts]) -> None:
    assert total(parts) == reduce(lambda one, two: total([one, two]), parts, total([]))


@settings(max_examples=100, deadline=None)
@given(st.lists(COUNTS, max_size=5))
def test_messages_and_attempts_of_the_whole_are_those_of_the_parts(parts: list[Counts]) -> None:
    whole = total(iter(parts))
    for name in ("finished", "timed", "attempts_made", "failed_attempts", "in_flight"):
        of_a_part = operator.attrgetter(name)
        assert of_a_part(whole) == sum(of_a_part(part) for part in parts)


def test_sum_of_nothing_is_nothing() -> None:
    assert total([]) == Counts()


def test_percentiles_are_taken_over_all_profiles() -> None:
    whole = total(
        [
            make.counts("fast", delivery_times={10: 98}, longest_delivery=upper_bound(10)),
            make.counts("slow", delivery_times={90: 2}, longest_delivery=upper_bound(90)),
        ]
    )
    p50, p99 = whole.percentile(0.50), whole.percentile(0.99)
    assert p50 is not None
    assert p99 is not None
    assert upper_bound(9) <= p50 <= upper_bound(10)
    assert upper_bound(89) <= p99 <= upper_bound(90)


@pytest.mark.parametrize("seconds", [0.001, 0.0473, 3.21, 86_400.0])
def test_percentiles_of_one_message_are_its_time(seconds: float) -> None:
    one = make.counts(delivery_times=count_buckets(np.array([seconds])), longest_delivery=seconds)
    assert [one.percentile(share) for share in (0.5, 0.95, 0.99, 1.0)] == [seconds] * 4


# What follows from them


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("finished", 20 + 5 + 3 + 2),
        ("timed", 20 + 5),
        # None is made at what expired or was cancelled.
        ("attempts_made", 60 - 3 - 2),
        # Those that another attempt follows, and those that were the last.
        ("failed_attempts", 30 + 5),
        ("failure_rate", 35 / 55),
        # Dispatched, and the first attempt is not settled.
        ("backlog", 50 - 40),
        # Failed an attempt; 20 of these 30 have had their next one.
        ("retrying", 30 - 20),
        ("in_flight", 20),
        ("mean_send", 11.0 / 55),
        # All attempts of a message that is delivered or failed, and one of them.
        ("mean_send_in_all", 11.0 / 25),
        ("mean_delivery", 100.0 / 25),
        ("mean_transit", 75.0 / 25),
    ],
)
def test_figures_follow_from_the_counts(figure: str, value: float) -> None:
    counts = make.counts(
        dispatched=50, first_attempts=40, attempts=60, delivered=20, failed=5, expired=3,
        cancelled=2, retried=30, send_seconds=11.0, delivery_seconds=100.0,
        transit_seconds=75.0,
    )  # fmt: skip
    assert getattr(counts, figure) == value
    assert counts.in_flight == counts.dispatched - counts.finished


@pytest.mark.parametrize("counted", [{}, {"attempts": 7, "expired": 4, "cancelled": 3}])
def test_nothing_attempted_has_no_rates_and_no_times(counted: dict[str, Any]) -> None:
    counts = Counts(**counted)
    assert counts.failure_rate is counts.mean_send is counts.mean_send_in_all is None
    assert counts.mean_delivery is counts.mean_transit is None
    assert counts.percentile(0.5) is None


def test_one_is_no_plural() -> None:
    assert [of_messages(number) for number in (0, 1, 1_234)] == [
        "0 messages", "1 message", "1,234 messages",
    ]  # fmt: skip
    assert [of_attempts(number) for number in (0, 1, 1_234)] == [
        "0 attempts", "1 attempt", "1,234 attempts",
    ]  # fmt: skip
    assert [how_many(number, "batch", "batches") for number in (0, 1, 1_234)] == [
        "0 batches", "1 batch", "1,234 batches",
    ]  # fmt: skip
    assert [how_many(number, "more row") for number in (1, 2)] == ["1 more row", "2 more rows"]
