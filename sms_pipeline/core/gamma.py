"""A capped gamma distribution: draws, and its mean. Pure."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: From "most take no time at all" to "all take the same".
MIN_SHAPE, MAX_SHAPE = 0.01, 1_000_000
#: Terms after which both expansions have long converged, for shapes up to some thousands.
_MAX_TERMS = 100_000
_PRECISION = 1e-12
#: Stands in for zero in the continued fraction.
_TINY = 1e-300


def capped_draws(
    generator: np.random.Generator, count: int, mean: float, shape: float, cap: float | None
) -> NDArray[np.float64]:
    """`count` independent draws of min(X, cap) where X ~ Gamma(shape, mean / shape)."""
    if mean == 0:
        return np.zeros(count)
    drawn = generator.gamma(shape, mean / shape, count)
    return drawn if cap is None else np.minimum(drawn, cap)


@lru_cache(maxsize=1_024)
def capped_mean(mean: float, shape: float, cap: float | None) -> float:
    """The mean of min(X, cap) where X ~ Gamma(shape, mean / shape); `cap` None = uncapped.

    E[min(X, c)] = mean * P(shape + 1, c/θ) + c * (1 - P(shape, c/θ)), where θ = mean / shape and P
    is the regularised lower incomplete gamma function.
    """
    if cap is None or mean == 0:
        return mean
    at = cap * shape / mean
    below = lower_incomplete_gamma(shape, at)
    return mean * lower_incomplete_gamma(shape + 1, at) + cap * (1 - below)


def lower_incomplete_gamma(shape: float, at: float) -> float:
    """P(shape, at), regularised: the share of Gamma(shape, 1) that is at most `at`.

    By its series below shape + 1, else by the continued fraction of its complement (Lentz).
    """
    if at <= 0:
        return 0.0
    if math.isinf(at):
        return 1.0
    weight = math.exp(shape * math.log(at) - at - math.lgamma(shape))
    if at < shape + 1:
        return min(weight * _series(shape, at), 1.0)
    return max(1.0 - weight * _fraction(shape, at), 0.0)


def _series(shape: float, at: float) -> float:
    term = total = 1 / shape
    for number in range(1, _MAX_TERMS):
        term *= at / (shape + number)
        total += term
        if term < total * _PRECISION:
            break
    return total


def _fraction(shape: float, at: float) -> float:
    b = at + 1 - shape
    c, d = 1 / _TINY, 1 / b
    total = d
    for number in range(1, _MAX_TERMS):
        a = -number * (number - shape)
        b += 2
        d = 1 / (_nonzero(a * d + b))
        c = _nonzero(b + a / c)
        total *= d * c
        if abs(d * c - 1) < _PRECISION:
            break
    return total


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def gamma_quantile(share: float, shape: float) -> float:
    """Where `lower_incomplete_gamma` of this shape is `share`, by bisection."""
    low, high = 0.0, shape + 1
    while lower_incomplete_gamma(shape, high) < share:
        low, high = high, 2 * high
    while high - low > high * _PRECISION and high > _TINY:
        middle = (low + high) / 2
        if lower_incomplete_gamma(shape, middle) < share:
            low = middle
        else:
            high = middle
    return high
