"""How long a run will still take."""

from __future__ import annotations

from typing import Any

import pytest

from sms_pipeline.core.remaining import Ahead, seconds_left
from sms_pipeline.core.retry import RetryPolicy

#: Pauses of 1, 2, 4 … seconds, four attempts.
POLICY = RetryPolicy(jitter=0)


def ahead(**values: Any) -> Ahead:
    given = {
        "untried": 0,
        "tried": 0,
        "retrying": 0,
        "attempts_per_second": 10.0,
        "failure_rate": 0.0,
        "mean_time": 0.5,
        "retry": POLICY,
        **values,
    }
    return Ahead(**given)


def test_nothing_left_takes_no_time() -> None:
    assert seconds_left(ahead()) == 0.0


def test_without_any_rate_it_is_not_known() -> None:
    assert seconds_left(ahead(untried=1, attempts_per_second=0.0)) is None


def test_without_failures_it_is_the_work_and_the_last_attempt() -> None:
    assert seconds_left(ahead(untried=100)) == 10.0 + 0.5


def test_every_attempt_that_is_still_needed_counts() -> None:
    # 1 + 0.5 + 0.25 + 0.125 attempts each, which take longer than the pauses of the last one
    found = seconds_left(ahead(untried=1_000, failure_rate=0.5, retry=RetryPolicy(backoff=0)))
    assert found == pytest.approx(1_000 * 1.875 / 10)


def test_the_last_messages_wait_for_all_their_retries() -> None:
    # A hundred of a hundred fail again and again until they are out of attempts
    found = seconds_left(ahead(untried=1, failure_rate=1.0))
    # The first attempt starts within 0.1 s; then three retries, 1, 2 and 4 s after each other
    assert found == pytest.approx(0.1 + 4 * 0.5 + 1 + 2 + 4)


def test_rounds_that_no_message_is_expected_to_need_are_left_out() -> None:
    # Ten of a hundred are tried again, one of them a third time, none a fourth
    found = seconds_left(ahead(untried=100, failure_rate=0.1))
    assert found == pytest.approx(10 + 3 * 0.5 + 1 + 2)


def test_messages_that_only_wait_for_a_retry_are_not_at_their_end() -> None:
    assert seconds_left(ahead(retrying=1, failure_rate=0.1)) == pytest.approx(2 * 0.5 + 1)


@pytest.mark.parametrize(("retrying", "pause"), [(1, 6.0), (3, 7.0)])
def test_the_longest_of_some_pauses_counts(retrying: int, pause: float) -> None:
    policy = RetryPolicy(backoff=8, jitter=0.5)
    assert seconds_left(ahead(retrying=retrying, retry=policy)) == pytest.approx(2 * 0.5 + pause)


@pytest.mark.parametrize(("retrying", "pause"), [(100, 1 + 2 + 4), (10, 2 + 4), (1, 4)])
def test_the_fewer_are_left_the_more_often_they_have_failed(retrying: int, pause: float) -> None:
    # Of a thousand, a tenth fails: a hundred once, ten twice, one three times
    left = ahead(tried=1_000, retrying=retrying, failure_rate=0.1, attempts_per_second=10_000.0)
    rounds = {100: 3, 10: 2, 1: 1}[retrying]
    assert seconds_left(left) == pytest.approx((rounds + 1) * 0.5 + pause)


def test_no_pause_is_longer_than_the_longest() -> None:
    policy = RetryPolicy(backoff=8, backoff_max=10, jitter=0, max_attempts=3)
    found = seconds_left(ahead(untried=1, failure_rate=1.0, retry=policy))
    assert found == pytest.approx(0.1 + 3 * 0.5 + 8 + 10)


def test_without_a_limit_it_ends_when_nothing_is_expected_to_be_left() -> None:
    policy = RetryPolicy(max_attempts=None, backoff=0)
    found = seconds_left(ahead(untried=100, failure_rate=0.5, retry=policy))
    assert found == pytest.approx(20.0)
