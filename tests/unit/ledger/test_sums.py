"""Sums of records against sums that are kept; each of them is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.failover import Failover
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.ledger.sums import CounterRow, Sums
from tests.unit import make

BATCH = make.row(1)
WAY = ("fast", "slow", "w1")


def handed(*retried: int) -> Sums:
    """Of batches whose first attempt left so many of ten messages to another profile."""
    sums = Sums(Failover(attempts=1, to="slow"))
    for number, left in enumerate(retried):
        sums.settle(BATCH, [make.settlement(1, number, delivered=10 - left, retried=left)])
    return sums


def test_hand_overs_that_are_counted_are_as_they_should_be() -> None:
    assert list(handed(3, 4).against_handed({WAY: (7, 0)})) == []
    assert list(handed().against_handed({})) == []


@pytest.mark.parametrize("counted", [(8, 0), (6, 0), (7, 1)])
def test_hand_overs_that_were_changed_are_told(counted: tuple[int, int]) -> None:
    assert list(handed(3, 4).against_handed({WAY: counted})) == [
        f"handed over from fast to slow at w1: {counted[0]} messages counted, {counted[1]} of "
        "them untried, but by its settlements 7, 0 of them untried"
    ]


def test_hand_overs_that_are_missing_are_told_and_those_that_never_were() -> None:
    other = ("slow", "fast", "w2")
    assert list(handed(2).against_handed({other: (1, 1)})) == [
        "handed over from fast to slow at w1: 0 messages counted, 0 of them untried, but by its "
        "settlements 2, 0 of them untried",
        "handed over from slow to fast at w2: 1 message counted, 1 of them untried, but by its "
        "settlements 0, 0 of them untried",
    ]


def test_what_was_taken_over_untried_is_summed() -> None:
    # Two batches of the fast profile that workers of the slow one played
    sums = Sums()
    for number in range(2):
        sums.settle(BATCH, [make.settlement(1, number, profile="slow")])
    assert list(sums.against_handed({WAY: (20, 20)})) == []
    assert len(list(sums.against_handed({WAY: (20, 10)}))) == 1


PHONE = OnPhone.of(np.array([1.0, 2.0, np.nan]))
SETTLER = ("fast", "w1")


def test_receipts_that_are_counted_are_as_they_should_be() -> None:
    sums = Sums()
    sums.settle(BATCH, [make.settlement(1, on_phone=PHONE)])
    assert list(sums.against_receipts({SETTLER: PHONE})) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"receipts": 3}, "counter receipts of fast at w1 is 3, but its settlements sum to 2"),
        ({"missing": 0}, "counter missing receipts of fast at w1 is 0"),
        ({"times": {}}, "counter receipts in the histogram of fast at w1 is 0"),
        ({"seconds": 3.5}, "counter receipt_seconds of fast at w1 is 3.500000"),
    ],
)
def test_receipts_that_were_changed_are_told(changes: dict[str, Any], said: str) -> None:
    sums = Sums()
    sums.settle(BATCH, [make.settlement(1, on_phone=PHONE)])
    found = list(sums.against_receipts({SETTLER: replace(PHONE, **changes)}))
    assert found[0].startswith(said)


def told(deadline: float | None = None, **changes: Any) -> list[str]:
    """What is said of counters that were changed."""
    sums = Sums()
    settled = make.honest(1)
    sums.settle(BATCH, [settled])
    right = CounterRow(
        "fast",
        "w1",
        settlements=1,
        first_attempts=10,
        attempts=10,
        delivered=10,
        timed=10,
        send_seconds=settled.send_seconds,
        delivery_seconds=settled.delivery_seconds,
        transit_seconds=settled.transit_seconds,
        longest_delivery=settled.longest_delivery,
        last_settled_at=settled.settled_at,
        times=settled.delivery_times,
    )
    return list(sums.against_counters([right._replace(**changes)], deadline))


def test_counters_are_as_they_should_be() -> None:
    assert told() == []
    assert told(deadline=make.EACH) == []


def test_a_bucket_with_nothing_in_it_says_nothing() -> None:
    times = make.honest(1).delivery_times
    assert told(times={**times, 3: 0}) == []
    assert told(times={**times, 3: -1}) == [
        "the histogram of delivery times of fast at w1 counts less than nothing"
    ]


def test_times_must_be_where_the_histogram_has_them() -> None:
    half = {bucket: messages // 2 for bucket, messages in make.honest(1).delivery_times.items()}
    (said,) = told(times=half)
    assert said.startswith("counter delivery_seconds of fast at w1 is 2.000000, but by its histo")
    (said,) = told(longest_delivery=9.0)
    assert said == "counter longest_delivery of fast at w1 is 9, where its histogram does not end"


def test_nothing_takes_longer_than_the_deadline() -> None:
    assert told(deadline=0.1) == ["a message of fast at w1 took 0.2 s, but the deadline is 0.1 s"]
