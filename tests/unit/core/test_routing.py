"""The next batch goes where the queue is empty soonest, and never over a profile's cap."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.routing import (
    BACKLOG_SECONDS,
    GROWTH,
    MAX_WAITING_MESSAGES,
    MESSAGES_PER_SENDER,
    MIN_BATCHES,
    Load,
    batches_in_hand,
    choose,
    choose_with_room,
    delivery_rate,
    outstanding,
)


def load(profile: str = "fast", **values: float | None) -> Load:
    defaults = {"outstanding": 0, "in_play": 10, "rate": 100.0, "batch_size": 10}
    return Load(profile=profile, **{**defaults, **values})


LOADS = st.lists(
    st.builds(
        Load,
        profile=st.text("abc", min_size=1, max_size=3),
        outstanding=st.integers(0, 5_000),
        in_play=st.integers(1, 1_000),
        rate=st.one_of(st.just(0.0), st.just(math.inf), st.floats(0.01, 1e5)),
        batch_size=st.integers(1, 5_000),
        max_batches=st.none() | st.integers(1, 50),
    ),
    max_size=5,
)


@settings(max_examples=75, deadline=None)
@given(LOADS)
def test_chosen_stays_under_its_cap_and_is_empty_soonest(loads: list[Load]) -> None:
    chosen = choose_with_room(loads)
    fitting = [one for one in loads if one.outstanding + one.batch_size <= one.cap]
    if chosen is None:
        assert not fitting
        return
    assert chosen in fitting
    assert all(chosen.empty_after <= other.empty_after for other in fitting)


@settings(max_examples=50, deadline=None)
@given(LOADS)
def test_dispatch_until_full_never_passes_a_cap(loads: list[Load]) -> None:
    # Given no profile over its cap, as the producer leaves it
    loads = [replace(one, outstanding=0, profile=str(n)) for n, one in enumerate(loads)]
    for _ in range(300):
        chosen = choose_with_room(loads)
        if chosen is None:
            break
        grown = replace(chosen, outstanding=chosen.outstanding + chosen.batch_size)
        loads = [grown if one is chosen else one for one in loads]
        assert all(one.outstanding <= one.cap for one in loads)


@settings(max_examples=75, deadline=None)
@given(LOADS)
def test_dead_profile_is_not_chosen_while_another_has_room(loads: list[Load]) -> None:
    chosen = choose_with_room(loads)
    if chosen is not None and chosen.rate == 0:
        assert not [one for one in loads if one.rate > 0 and one.has_room]


def test_dead_profile_is_filled_only_up_to_its_few_batches() -> None:
    dead = load(rate=0.0, in_play=1)
    assert choose([dead]) is dead
    assert dead.empty_after == math.inf
    assert dead.cap == MIN_BATCHES * dead.batch_size


def test_profiles_share_in_proportion_to_their_rates() -> None:
    loads = {"a": load("a", rate=300.0), "b": load("b", rate=100.0)}
    for _ in range(40):
        chosen = choose(list(loads.values()))
        grown = chosen.outstanding + chosen.batch_size
        loads[chosen.profile] = replace(chosen, outstanding=grown)
    assert (loads["a"].outstanding, loads["b"].outstanding) == (300, 100)


def test_among_endless_rates_the_emptier_queue_is_chosen() -> None:
    full, empty = (load(rate=math.inf, outstanding=n) for n in (100, 0))
    assert choose([full, empty]) is empty


def test_nothing_to_choose_from() -> None:
    assert choose([]) is None
    assert choose_with_room([load(outstanding=10_000)]) is None


@pytest.mark.parametrize(
    ("one", "cap"),
    [
        (load(), MESSAGES_PER_SENDER * 10 + 100 * BACKLOG_SECONDS),
        (load(rate=math.inf), MESSAGES_PER_SENDER * 10 + MAX_WAITING_MESSAGES),
        (load(rate=0.1, in_play=1), MIN_BATCHES * 10),
        (load(max_batches=3), 30),
        (load(rate=0.1, in_play=1, max_batches=100), MIN_BATCHES * 10),
        # Each worker may have one
        (load(rate=0.1, in_play=1, workers=9), 9 * 10),
        (load(rate=0.1, in_play=1, workers=9, max_batches=5), 5 * 10),
    ],
)
def test_cap_is_senders_and_seconds_of_backlog_within_limits(one: Load, cap: float) -> None:
    assert one.cap == cap


@pytest.mark.parametrize(
    ("nominal", "failure_rate", "observed", "rate"),
    [
        (100.0, 0.0, None, 100.0),
        (100.0, 0.25, None, 75.0),
        (100.0, 0.0, 10.0, GROWTH * 10.0),
        (100.0, 0.5, 10.0, GROWTH * 5.0),
        (100.0, 0.0, 99.0, 100.0),
        (100.0, 0.0, 0.0, 0.0),
        (100.0, 1.0, None, 0.0),
        (math.inf, 1.0, None, 0.0),
        (math.inf, 0.5, None, math.inf),
    ],
)
def test_delivery_rate(
    nominal: float, failure_rate: float, observed: float | None, rate: float
) -> None:
    assert delivery_rate(nominal, failure_rate, observed) == rate


@pytest.mark.parametrize(
    ("failure_rate", "most_attempts", "rate"),
    # Of 100 attempts a second, each message takes 1, 1.5 or 1.75
    [(0.5, 1, 100.0), (0.5, 2, 100 / 1.5), (0.5, 3, 100 / 1.75), (0.0, 2, 100.0), (1.0, 4, 25.0)],
)
def test_what_others_go_on_with_leaves_sooner(
    failure_rate: float, most_attempts: int, rate: float
) -> None:
    assert delivery_rate(100.0, failure_rate, None, most_attempts) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("backlog", "stuck", "with_lost", "counted"),
    [
        (100, 0, 0, 100),
        (100, 30, 0, 70),
        (100, 0, 60, 40),
        # What is stuck is what lost workers hold
        (100, 30, 60, 40),
        (100, 60, 30, 40),
        # A bound may be too high
        (100, 0, 500, 0),
    ],
)
def test_what_nobody_can_come_by_does_not_count(
    backlog: int, stuck: int, with_lost: int, counted: int
) -> None:
    assert outstanding(backlog, stuck, with_lost) == counted


def test_senders_that_take_no_time_take_all_batches_they_can_hold() -> None:
    assert batches_in_hand(100, math.inf, 5_000) == 51
