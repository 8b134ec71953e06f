"""What an attempt came to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.histogram import count_buckets
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.settling import cancellation_of, due_at, expire, settlement_of
from tests.unit import make
from tests.unit.make import NOON, bitmap


def outcomes(delivered: Sequence[bool], seconds: float = 0.5) -> Outcomes:
    return Outcomes(np.full(len(delivered), seconds), np.array(delivered))


def ended(batch: Batch, *seconds: float) -> np.ndarray:
    return batch.queued_at + np.array(seconds)


def test_settlement_of_a_first_attempt() -> None:
    batch = make.batch(4, first_index=100)
    found = settlement_of(
        batch, outcomes([True, False, True, False]), ended(batch, 1, 2, 3, 4), "w1", NOON + 9
    )
    assert (found.key, found.profile, found.worker) == ((1, 0, 0), "fast", "w1")
    assert (found.messages, found.delivered, found.failed, found.retried) == (4, 2, 0, 2)
    assert found.settled_at == NOON + 9
    assert (found.remainder, found.taken) == (bitmap(1, 3, size=4), None)
    assert found.send_seconds == 2.0
    # Only what came to its end: the first and the third, after 1 and 3 seconds
    assert found.delivery_seconds == pytest.approx(4.0)
    assert sum(found.delivery_times.values()) == 2
    assert list(found.failed_indexes) == []


def test_settlement_of_the_last_attempt_at_a_remainder() -> None:
    policy = RetryPolicy(max_attempts=2)
    batch = make.batch(10, first_index=100, retry=policy).remainder(np.array([2, 5, 9]))
    found = settlement_of(
        batch, outcomes([True, False, False]), ended(batch, 1, 2, 4), "w1", NOON + 9
    )
    assert (found.key, found.messages) == ((1, 0, 1), 3)
    assert (found.delivered, found.failed, found.retried) == (1, 2, 0)
    assert (found.taken, found.remainder) == (bitmap(2, 5, 9), None)
    assert list(found.failed_indexes) == [105, 109]
    assert found.delivery_seconds == pytest.approx(7.0)


def test_settlement_without_losses_leaves_no_remainder() -> None:
    batch = make.batch(2)
    found = settlement_of(batch, outcomes([True, True]), ended(batch, 1, 1), "w1", NOON + 9)
    assert (found.delivered, found.retried, found.remainder) == (2, 0, None)


def test_clock_behind_the_producers_gives_no_negative_time() -> None:
    batch = make.batch(2)
    found = settlement_of(batch, outcomes([True, True]), ended(batch, -5, 1), "w1", NOON + 9)
    assert found.delivery_seconds == pytest.approx(1.0)
    assert found.transit_seconds == pytest.approx(1.0)


def test_delivery_takes_from_the_start_of_the_run_and_transit_from_dispatch() -> None:
    # Given a batch that was dispatched 60 s after the run was started
    batch = make.batch(3, started_at=NOON, queued_at=NOON + 60, retry=RetryPolicy(max_attempts=1))
    # When its messages end 1, 2 and 4 s later, the last without success
    found = settlement_of(
        batch, outcomes([True, True, False]), ended(batch, 1, 2, 4), "w1", NOON + 70
    )
    assert found.delivery_seconds == pytest.approx(61 + 62 + 64)
    assert found.transit_seconds == pytest.approx(1 + 2 + 4)
    # Then the histogram has the delivery times, and the longest is known exactly
    assert found.longest_delivery == pytest.approx(64)
    assert found.delivery_times == count_buckets(np.array([61.0, 62.0, 64.0]))


def test_times_of_a_later_attempt_count_from_the_same_moments() -> None:
    batch = make.batch(2, started_at=NOON, queued_at=NOON + 60).remainder(np.array([1]))
    found = settlement_of(batch, outcomes([True]), ended(batch, 30), "w1", NOON + 99)
    assert (found.delivery_seconds, found.transit_seconds) == pytest.approx((90, 30))


def test_nothing_that_is_retried_has_a_time() -> None:
    batch = make.batch(2)
    found = settlement_of(batch, outcomes([False, False]), ended(batch, 1, 2), "w1", NOON + 9)
    assert (found.retried, found.delivery_seconds, found.transit_seconds) == (2, 0, 0)
    assert (found.longest_delivery, found.delivery_times) == (0, {})


def test_what_comes_too_late_is_expired_and_not_retried() -> None:
    # Given a message in time, one delivered late, one failed late, and one never started
    batch = make.batch(4, first_index=100)
    ends = ended(batch, 1, 9, 9, math.nan)
    # When the deadline is at 5 s
    found = expire(outcomes([True, True, False, True]), ends, NOON + 5)
    settlement = settlement_of(batch, found, ends, "w1", NOON + 9)
    # Then all but the first are expired, and the last took no sender any time
    assert (settlement.delivered, settlement.expired) == (1, 3)
    assert (settlement.failed, settlement.retried, settlement.remainder) == (0, 0, None)
    assert list(settlement.expired_indexes) == [101, 102, 103]
    assert settlement.send_seconds == 0.5
    assert settlement.delivery_seconds == pytest.approx(1.0)


def test_in_time_nothing_expires() -> None:
    before = outcomes([True, False])
    assert expire(before, np.array([NOON, NOON + 5]), NOON + 5) is before


def test_cancelled_attempt_sends_nothing_and_leaves_nothing() -> None:
    batch = make.batch(10).remainder(np.array([2, 5, 9]))
    found = cancellation_of(batch, "w1", NOON + 9)
    assert (found.key, found.profile, found.worker) == ((1, 0, 1), "fast", "w1")
    assert (found.messages, found.cancelled, found.delivered, found.retried) == (3, 3, 0, 0)
    assert (found.taken, found.remainder) == (bitmap(2, 5, 9), None)
    assert (found.failed, found.expired) == (0, 0)
    assert (found.send_seconds, found.delivery_seconds, found.delivery_times) == (0, 0, {})
    assert found.settled_at == NOON + 9


def test_a_deadline_counts_from_the_start_of_the_run() -> None:
    late = make.batch(deadline=5.0, queued_at=NOON + 60)
    assert due_at(late) == due_at(late.remainder(np.array([0]))) == NOON + 5
    assert due_at(make.batch()) == math.inf
