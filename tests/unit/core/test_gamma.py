"""The mean of a capped gamma distribution, against what drawing from it gives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sms_pipeline.core.gamma import capped_mean, lower_incomplete_gamma

DRAWS = 400_000


@pytest.mark.parametrize(
    ("mean", "shape", "cap"),
    [
        (3.0, 16.0, 5.0),
        (0.5, 16.0, 2.0),
        (0.5, 16.0, 0.4),
        (1.0, 1.0, 1.0),
        (1.0, 0.3, 2.0),
        (2.0, 400.0, 1.9),
        (1.0, 5_000.0, 1.01),
    ],
)
def test_it_is_the_mean_of_capped_draws(mean: float, shape: float, cap: float) -> None:
    draws = np.random.default_rng(1).gamma(shape, mean / shape, DRAWS)
    error = draws.std() / math.sqrt(DRAWS)
    assert capped_mean(mean, shape, cap) == pytest.approx(
        np.minimum(draws, cap).mean(), abs=5 * error
    )


@pytest.mark.parametrize("cap", [None, 1_000.0])
def test_a_cap_that_nothing_reaches_changes_nothing(cap: float | None) -> None:
    assert capped_mean(0.5, 16.0, cap) == pytest.approx(0.5)


def test_a_cap_far_below_the_mean_is_the_mean() -> None:
    assert capped_mean(100.0, 16.0, 0.01) == pytest.approx(0.01)


def test_a_mean_that_is_almost_nothing_is_not_capped() -> None:
    assert capped_mean(5e-324, 16.0, 86_400.0) == 5e-324


def test_sending_that_takes_no_time_takes_none() -> None:
    assert capped_mean(0.0, 16.0, 5.0) == 0.0


@pytest.mark.parametrize(("at", "share"), [(-1.0, 0.0), (0.0, 0.0), (1e9, 1.0)])
def test_nothing_lies_below_zero_and_all_below_a_lot(at: float, share: float) -> None:
    assert lower_incomplete_gamma(2.0, at) == share


@pytest.mark.parametrize("at", [0.1, 1.0, 1.9, 2.1, 5.0, 30.0])
def test_shape_one_is_the_exponential_distribution(at: float) -> None:
    assert lower_incomplete_gamma(1.0, at) == pytest.approx(1 - math.exp(-at), rel=1e-10)


@pytest.mark.parametrize("shape", [0.5, 3.0, 16.0, 200.0])
def test_it_grows_without_a_jump_where_the_expansions_meet(shape: float) -> None:
    below = lower_incomplete_gamma(shape, shape + 1 - 1e-9)
    above = lower_incomplete_gamma(shape, shape + 1 + 1e-9)
    assert 0 <= above - below < 1e-8
