"""The pause before a retry keeps to its formula, whatever the numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.retry import MAX_ATTEMPTS, MAX_PAUSE, RetryPolicy, longest_pause, retry_delay

POLICIES = st.builds(
    RetryPolicy,
    backoff=st.floats(0, MAX_PAUSE),
    backoff_max=st.floats(0, MAX_PAUSE),
    jitter=st.floats(0, 1),
)


@settings(max_examples=100, deadline=None)
@given(POLICIES, st.integers(0, 40), st.integers())
def test_delay_keeps_to_the_formula(policy: RetryPolicy, attempt: int, seed: int) -> None:
    pause = min(policy.backoff_max, policy.backoff * 2**attempt)
    delay = retry_delay(policy, seed, (1, 0, attempt))
    assert isinstance(delay, int)
    assert math.floor(pause * (1 - policy.jitter) + 0.5) <= delay <= math.floor(pause + 0.5)


@pytest.mark.parametrize(
    ("attempt", "delay"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (50, 60), (10**9, 60)]
)
def test_without_jitter_it_doubles_up_to_the_maximum(attempt: int, delay: int) -> None:
    assert retry_delay(RetryPolicy(jitter=0), 7, (1, 0, attempt)) == delay


@pytest.mark.parametrize(("backoff", "delay"), [(0.0, 0), (0.4, 0), (0.5, 1), (1.4, 1), (1.5, 2)])
def test_fractions_are_rounded_half_up(backoff: float, delay: int) -> None:
    assert retry_delay(RetryPolicy(backoff=backoff, jitter=0), 7, (1, 0, 0)) == delay


def test_the_longest_backoff_and_a_huge_attempt_do_not_overflow() -> None:
    policy = RetryPolicy(backoff=MAX_PAUSE, backoff_max=86_400, jitter=0)
    assert retry_delay(policy, 7, (1, 0, 10**18)) == 86_400


def test_jitter_spreads_delays_over_its_share() -> None:
    policy = RetryPolicy(backoff=60, backoff_max=60, jitter=0.5)
    delays = [retry_delay(policy, 7, (1, batch, 0)) for batch in range(2_000)]
    assert min(delays) in (30, 31)
    assert max(delays) in (59, 60)
    assert sum(delays) / len(delays) == pytest.approx(45, abs=1)


def test_every_attempt_has_a_jitter_of_its_own_and_always_the_same() -> None:
    policy = RetryPolicy(backoff=10_000, backoff_max=10_000, jitter=1)
    draws = [(7, (1, 2, 3)), (8, (1, 2, 3)), (7, (2, 2, 3)), (7, (1, 3, 3)), (7, (1, 2, 4))]
    delays = [retry_delay(policy, seed, key) for seed, key in draws]
    assert len(set(delays)) == len(draws)
    assert delays == [retry_delay(policy, seed, key) for seed, key in draws]


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [(1, [False, False]), (2, [True, False]), (4, [True] * 3 + [False]), (None, [True] * 9)],
)
def test_attempts_are_limited(limit: int | None, allowed: list[bool]) -> None:
    policy = RetryPolicy(max_attempts=limit)
    assert [policy.allows_after(attempt) for attempt in range(len(allowed))] == allowed


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        # No pause comes after the last attempt, and each is twice the one before.
        ({"max_attempts": 2}, 1),
        ({"max_attempts": 4}, 4),
        ({"max_attempts": 4, "backoff_max": 3}, 3),
        ({"max_attempts": None, "backoff_max": 50}, 50),
        ({"max_attempts": MAX_ATTEMPTS}, 60),
    ],
    ids=str,
)
def test_longest_pause_is_that_before_the_last_attempt(
    values: dict[str, Any], seconds: float
) -> None:
    assert longest_pause(RetryPolicy(**values)) == seconds
