"""A distribution that is given by quantiles has their mean and their form."""

from __future__ import annotations

import numpy as np
import pytest

from sms_pipeline.core.empirical import QUANTILES, Empirical, mean_of, quantiles_of, shape_of

DRAWS = 200_000


def drawn(quantiles: list[float], mean: float | None = None) -> np.ndarray:
    """Many draws; without `mean`, not scaled."""
    distribution = Empirical(quantiles, mean_of(quantiles) if mean is None else mean)
    return distribution.draw(np.random.default_rng(1), DRAWS)


def test_mean_is_that_of_the_pieces_between_neighbours() -> None:
    assert mean_of([1.0, 3.0]) == 2
    assert mean_of([0.0, 1.0, 9.0]) == pytest.approx((0.5 + 5) / 2)


def test_draws_have_the_mean_of_the_quantiles_and_the_ends() -> None:
    quantiles = [0.2, 0.3, 0.5, 4.0]
    draws = drawn(quantiles)
    assert draws.mean() == pytest.approx(mean_of(quantiles), rel=0.01)
    assert draws.min() == pytest.approx(0.2, abs=1e-3)
    assert draws.max() == pytest.approx(4.0, abs=1e-3)


def test_each_interval_gets_the_same_share_and_is_uniform_within() -> None:
    draws = drawn([0.2, 0.3, 0.5, 4.0])
    shares = np.histogram(draws, [0.2, 0.3, 0.4, 0.5, 2.25, 4.0])[0] / DRAWS
    assert shares == pytest.approx([1 / 3, 1 / 6, 1 / 6, 1 / 6, 1 / 6], abs=0.005)


def test_a_mean_of_its_own_stretches_all_times_alike() -> None:
    quantiles = [0.2, 0.3, 0.5, 4.0]
    assert drawn(quantiles, 2 * mean_of(quantiles)) == pytest.approx(2 * drawn(quantiles))


@pytest.mark.parametrize("spread", [0.2, 1.5])
def test_the_quantiles_of_a_sample_give_its_mean_and_its_quantiles_back(spread: float) -> None:
    sample = np.random.default_rng(2).lognormal(0, spread, 50_000)
    quantiles = quantiles_of(sample).tolist()
    assert len(quantiles) == QUANTILES
    assert quantiles == sorted(quantiles)
    assert mean_of(quantiles) == pytest.approx(sample.mean(), rel=0.01)
    levels = [0.05, 0.5, 0.9, 0.99]
    assert np.quantile(drawn(quantiles), levels) == pytest.approx(
        np.quantile(sample, levels), rel=0.03
    )


def test_one_time_of_an_hour_does_not_lengthen_its_neighbours() -> None:
    sample = np.append(np.random.default_rng(2).normal(10, 1, 9_999), 3_600.0)
    quantiles = quantiles_of(sample)
    assert mean_of(quantiles.tolist()) == pytest.approx(sample.mean(), rel=0.01)
    assert quantiles[-2] < 15


def test_quantiles_for_each_time_are_the_times() -> None:
    times = [1.0, 2.0, 3.0, 4.0, 10.0]
    assert quantiles_of(np.array(times), len(times)).tolist() == pytest.approx(times)


def test_a_sample_of_two_is_enough() -> None:
    quantiles = quantiles_of(np.array([1.0, 2.0])).tolist()
    assert quantiles == sorted(quantiles)
    assert mean_of(quantiles) == pytest.approx(1.5, rel=0.01)


def test_the_shape_is_that_of_a_gamma_distribution_with_the_same_mean_and_variance() -> None:
    sample = np.random.default_rng(3).gamma(4.0, 0.5, 100_000)
    assert shape_of(quantiles_of(sample).tolist()) == pytest.approx(4, rel=0.02)
    draws = drawn([0.2, 0.3, 0.5, 4.0])
    assert shape_of([0.2, 0.3, 0.5, 4.0]) == pytest.approx(
        (draws.mean() / draws.std()) ** 2, rel=0.02
    )
    # Also where all times are well below a second
    assert shape_of([0.02, 0.03, 0.05, 0.4]) == pytest.approx(shape_of([0.2, 0.3, 0.5, 4.0]))
    assert shape_of([2.0, 2.0]) == 10_000
