"""A distribution of times that is given by its quantiles, evenly spaced from shortest to longest.

Between two quantiles it is uniform. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

#: Quantiles that stand for a sample: each interval holds half a percent of it.
QUANTILES = 200
#: Where all quantiles are the same.
_LARGEST_SHAPE = 10_000.0


def mean_of(quantiles: Sequence[float]) -> float:
    """The mean of the distribution."""
    ends = (quantiles[0] + quantiles[-1]) / 2
    return (sum(quantiles) - ends) / (len(quantiles) - 1)


def shape_of(quantiles: Sequence[float]) -> float:
    """The shape of the gamma distribution with the same mean and variance."""
    squares = [(a * a + a * b + b * b) / 3 for a, b in pairwise(quantiles)]
    square, mean = sum(squares) / len(squares), mean_of(quantiles)
    variance = square - mean**2
    return min(mean**2 / variance, _LARGEST_SHAPE) if variance > 0 else _LARGEST_SHAPE


class Empirical:
    """Draws from the distribution, scaled so that its mean is `mean`."""

    def __init__(self, quantiles: Sequence[float], mean: float) -> None:
        self._quantiles = np.array(quantiles) * (mean / mean_of(quantiles))
        self._steps = np.diff(self._quantiles)

    def draw(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        """`count` independent draws."""
        places = generator.random(count) * len(self._steps)
        before = places.astype(np.intp)
        drawn: NDArray[np.float64] = (
            self._quantiles[before] + (places - before) * self._steps[before]
        )
        return drawn


def quantiles_of(times: NDArray[np.float64], count: int = QUANTILES) -> NDArray[np.float64]:
    """The quantiles that stand for a sample.

    The first and the last are chosen so that the times beyond their neighbours have the mean that
    they have in the sample: one time of an hour must not make all times near the end too long.
    """
    found: NDArray[np.float64] = np.quantile(times, np.linspace(0, 1, count))
    shortest, longest = times[times <= found[1]], times[times >= found[-2]]
    found[0] = max(2 * shortest.mean() - found[1], 0.0)
    found[-1] = 2 * longest.mean() - found[-2]
    return found
