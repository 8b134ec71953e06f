"""The simulated gateway draws what the profile says, and the same again for the same attempt."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.gateway import Outcomes, SimulatedGateway, event_draws, part_draws
from sms_pipeline.core.profiles import MAX_BATCH_SIZE
from tests.unit import make

#: Batches that make up a sample of 100,000 draws.
BATCHES = 20
#: Durations of the first messages of a batch: repeated runs rest on them.
FIRST_DRAWS = [0.09365128093047649, 0.08903369034982977, 0.11040084402976214]


def draw(**values: Any) -> Outcomes:
    """100,000 draws of a profile, over many batches of one run."""
    gateway = SimulatedGateway(make.profile(**values))
    whole = make.batch(MAX_BATCH_SIZE)
    parts = [gateway.attempt(whole.model_copy(update={"number": n})) for n in range(BATCHES)]
    return Outcomes(
        np.concatenate([part.durations for part in parts]),
        np.concatenate([part.delivered for part in parts]),
    )


def test_durations_have_the_mean_and_the_spread_of_the_profile() -> None:
    durations = draw(mean_time=0.2).durations
    assert durations.mean() == pytest.approx(0.2, rel=0.005)
    # Gamma of shape 16: coefficient of variation 1 / sqrt(16), skewness 2 / sqrt(16)
    assert durations.std() / durations.mean() == pytest.approx(0.25, rel=0.02)
    skewness = ((durations - durations.mean()) ** 3).mean() / durations.std() ** 3
    assert skewness == pytest.approx(0.5, abs=0.05)
    assert durations.min() > 0


@pytest.mark.parametrize("shape", [1.0, 4.0, 100.0])
def test_shape_sets_the_spread(shape: float) -> None:
    durations = draw(mean_time=2.0, shape=shape).durations
    assert durations.mean() == pytest.approx(2.0, rel=0.02)
    assert durations.std() / durations.mean() == pytest.approx(shape**-0.5, rel=0.02)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_share_of_failures_is_the_failure_rate(rate: float) -> None:
    delivered = draw(failure_rate=rate).delivered
    # Five standard deviations
    assert 1 - delivered.mean() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / 1e5) ** 0.5)


@pytest.mark.parametrize(("rate", "delivered"), [(0.0, True), (1.0, False)])
def test_certain_outcomes_are_certain(rate: float, delivered: bool) -> None:
    assert (draw(failure_rate=rate).delivered == delivered).all()


def test_outcome_does_not_depend_on_the_duration() -> None:
    durations, delivered, *_ = draw(failure_rate=0.5)
    assert abs(np.corrcoef(durations, delivered)[0, 1]) < 0.02


def test_max_time_caps_durations_and_changes_no_others() -> None:
    free, capped = draw(mean_time=1.0).durations, draw(mean_time=1.0, max_time=1.2).durations
    assert capped.max() == 1.2
    assert np.array_equal(capped, np.minimum(free, 1.2))


def test_no_mean_time_is_no_time() -> None:
    durations, delivered, *_ = draw(mean_time=0, failure_rate=0.1)
    assert not durations.any()
    assert 1 - delivered.mean() == pytest.approx(0.1, abs=0.005)


def test_same_attempt_gives_the_same_outcomes() -> None:
    gateway = SimulatedGateway(make.profile())
    one, two = gateway.attempt(make.batch(100)), gateway.attempt(make.batch(100))
    assert np.array_equal(one.durations, two.durations)
    assert np.array_equal(one.delivered, two.delivered)


def test_each_seed_run_batch_and_attempt_has_draws_of_its_own() -> None:
    gateway = SimulatedGateway(make.profile())
    base = make.batch(100)
    changes = [{}, {"seed": 8}, {"run": 2}, {"number": 1}, {"attempt": 1}]
    draws = [gateway.attempt(base.model_copy(update=change)).durations for change in changes]
    for one, two in itertools.combinations(draws, 2):
        assert not np.intersect1d(one, two).size


def test_remainder_gets_one_outcome_for_each_of_its_messages() -> None:
    remainder = make.batch(100).remainder(np.array([3, 50, 99]))
    outcomes = SimulatedGateway(make.profile()).attempt(remainder)
    assert len(outcomes.durations) == len(outcomes.delivered) == 3


def test_measured_times_are_drawn_instead_of_the_gamma_distribution() -> None:
    durations, delivered, *_ = draw(mean_time=2.0, failure_rate=0.3, times=(1.0, 2.0, 3.0))
    assert np.quantile(durations, [0.25, 0.5, 0.75]) == pytest.approx([1.5, 2, 2.5], rel=0.02)
    assert (durations.min(), durations.max()) == pytest.approx((1, 3), abs=0.01)
    assert 1 - delivered.mean() == pytest.approx(0.3, abs=0.01)


def test_measured_times_that_are_stretched_to_no_time_take_none() -> None:
    assert not draw(mean_time=0, times=(1.0, 2.0)).durations.any()


def test_a_profile_without_measured_times_draws_what_it_always_drew() -> None:
    first = SimulatedGateway(make.profile(mean_time=0.1)).attempt(make.batch(3)).durations
    assert first == pytest.approx(FIRST_DRAWS)


def test_parts_are_drawn_from_a_stream_of_their_own() -> None:
    batch = make.batch()
    drawn = part_draws(batch, 1_000)
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert np.array_equal(drawn, part_draws(batch, 1_000))
    assert not np.intersect1d(drawn, event_draws(batch, 1_000)).size
    assert not np.intersect1d(drawn, part_draws(make.batch(number=1), 1_000)).size
