"""From what was measured to the parameters of senders, with how far to trust them. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.gamma import MIN_SHAPE, gamma_quantile

Numbers = NDArray[np.float64]

#: Of the normal distribution: 95 of 100 intervals of this many standard errors hold the truth.
_STANDARD_ERRORS = 1.96
#: Beyond it times are equal, as far as any clock can tell.
_LARGEST_SHAPE = 10_000.0
#: Where the fitted distribution is compared with the measured times.
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
#: A fit that is further off than this share of a quantile is not good enough…
MISFIT = 0.10
#: … if chance does not explain it: standard errors of the share of times below the quantile.
_BEYOND_CHANCE = 3.0
#: Failures come in bursts when their variance a minute is this many times that of a rate…
_FAR_ABOVE_BINOMIAL = 2.0
#: … and further above it, in standard deviations, than chance ever brings it.
_SURELY = 5.0
#: A minute is bad when it has this many standard deviations more failures than the others.
_BAD_MINUTE = 4.0
MINUTE = 60.0
#: Where the most were under way: the busiest this share of messages began in.
_BUSIEST = 0.99


class Estimate(NamedTuple):
    """A parameter, and the interval that holds the true one in 95 of 100 samples."""

    value: float
    low: float
    high: float


class Misfit(NamedTuple):
    """Where a fitted distribution is furthest off."""

    #: Share of times below, 0 to 1.
    level: float
    measured: float
    fitted: float

    @property
    def share(self) -> float:
        """By which share of the measured time the fitted one is off."""
        return abs(self.fitted / self.measured - 1) if self.measured else math.inf


class Bursts(NamedTuple):
    """How failures are spread over the minutes of a log."""

    #: Variance of the failures a minute, as a multiple of what one constant rate would give.
    dispersion: float
    #: Whether that is far more than one rate and chance explain.
    found: bool
    minutes: int
    #: Minutes with far more failures than the others.
    bad_minutes: int
    #: Start of the worst minute, in the seconds of the log, and its share of failures.
    worst_at: float
    worst_rate: float
    #: Share of failures in all but the bad minutes.
    rate_outside: float


def mean_of(times: Numbers) -> Estimate:
    """The mean of `times`, which are in no order."""
    mean = float(times.mean())
    error = _STANDARD_ERRORS * float(times.std()) / math.sqrt(len(times))
    return Estimate(mean, max(mean - error, 0.0), mean + error)


def shape_of(times: Numbers) -> Estimate:
    """The shape of the gamma distribution that `times` come from.

    Ye and Chen's closed form, n * sum(x) / (n * sum(x * ln x) - sum(ln x) * sum(x)). For
    y = x / mean it is 1 / mean((y - 1) * ln y), where nothing cancels out. The interval needs no
    gamma distribution: it follows from the influence of each time on the result.
    """
    if not times.any():
        return Estimate(_LARGEST_SHAPE, _LARGEST_SHAPE, _LARGEST_SHAPE)
    scaled = _above_zero(times)
    scaled /= scaled.mean()
    logs = np.log(scaled)
    spread = (scaled - 1) * logs
    if spread.mean() <= 1 / _LARGEST_SHAPE:
        return Estimate(_LARGEST_SHAPE, _LARGEST_SHAPE, _LARGEST_SHAPE)
    shape = 1 / float(spread.mean())
    influence = float((scaled * logs).mean()) * scaled - float(logs.mean()) - spread
    error = _STANDARD_ERRORS * shape * float(influence.std()) / math.sqrt(len(times))
    found = (shape, shape * math.exp(-error), shape * math.exp(error))
    return Estimate(*(min(max(value, MIN_SHAPE), _LARGEST_SHAPE) for value in found))


def _above_zero(times: Numbers) -> Numbers:
    """A logarithm needs more than zero: a time too short for the clock is half the shortest."""
    positive = times[times > 0]
    above: Numbers = np.maximum(times, positive.min() / 2)
    return above


def failure_rate_of(failed: int, total: int, dispersion: float = 1.0) -> Estimate:
    """A share with Wilson's interval; failures that come in bursts say less than they are many."""
    rate, sample = failed / total, total / max(dispersion, 1.0)
    z2 = _STANDARD_ERRORS**2 / sample
    middle = (rate + z2 / 2) / (1 + z2)
    error = math.sqrt(z2 * (rate * (1 - rate) + z2 / 4)) / (1 + z2)
    return Estimate(rate, min(max(middle - error, 0.0), rate), max(min(middle + error, 1.0), rate))


def misfit_of(times: Numbers, mean: float, shape: float, grain: float) -> Misfit | None:
    """Where the gamma distribution is off by more than `MISFIT`, if it is.

    Differences that chance explains, or the `grain` of the clock, do not count.
    """
    ordered, scale = np.sort(times), mean / shape
    found = [
        Misfit(level, float(np.quantile(ordered, level)), gamma_quantile(level, shape) * scale)
        for level in _LEVELS
    ]
    off = [one for one in found if one.share > MISFIT and _counts(one, ordered, grain)]
    return max(off, key=lambda one: one.share, default=None)


def _counts(one: Misfit, ordered: Numbers, grain: float) -> bool:
    if abs(one.measured - one.fitted) <= grain:
        return False
    below = int(np.searchsorted(ordered, one.fitted, "right")) / len(ordered)
    error = math.sqrt(one.level * (1 - one.level) / len(ordered))
    return abs(below - one.level) > _BEYOND_CHANCE * error


def grain_of(*moments: Numbers) -> float:
    """What one tick of the clock hides: a second if all moments are whole ones, else nothing."""
    return 1.0 if all((one == np.floor(one)).all() for one in moments) else 0.0


# Failures


def bursts_of(moments: Numbers, failed: NDArray[np.bool_]) -> Bursts | None:
    """How failures are spread over minutes; None if there is nothing to tell."""
    minutes, place = np.unique(np.floor(moments / MINUTE), return_inverse=True)
    totals = np.bincount(place).astype(np.float64)
    failures = np.bincount(place, failed).astype(np.float64)
    rate = float(failures.sum() / totals.sum())
    if len(minutes) == 1 or not 0 < rate < 1:
        return None
    dispersion, surprise = _dispersion(totals, failures, rate)
    bad = _bad_minutes(totals, failures)
    worst = int(np.argmax((failures - totals * rate) / np.sqrt(totals)))
    return Bursts(
        dispersion=dispersion,
        found=dispersion > _FAR_ABOVE_BINOMIAL and surprise > _SURELY,
        minutes=len(minutes),
        bad_minutes=int(bad.sum()),
        worst_at=float(minutes[worst] * MINUTE),
        worst_rate=float(failures[worst] / totals[worst]),
        rate_outside=float(failures[~bad].sum() / totals[~bad].sum()),
    )


def _dispersion(totals: Numbers, failures: Numbers, rate: float) -> tuple[float, float]:
    """Variance over that of one rate, and by how many standard deviations it is above 1."""
    variance = rate * (1 - rate)
    squares = (failures - totals * rate) ** 2 / (totals * variance)
    # The fourth moment of a binomial distribution: small minutes vary more.
    spread = math.sqrt(float((2 + (1 - 6 * variance) / (totals * variance)).sum()))
    freedom = len(totals) - 1
    above = float(squares.sum()) - freedom
    return 1 + above / freedom, above / spread if spread else 0.0


def _bad_minutes(totals: Numbers, failures: Numbers) -> NDArray[np.bool_]:
    """Minutes with far more failures than those that are left when these are taken out.

    Some are always left: not all can have more than they have on average.
    """
    bad = np.zeros(len(totals), bool)
    while True:
        rate = failures[~bad].sum() / totals[~bad].sum()
        error = np.sqrt(np.maximum(totals * rate * (1 - rate), 1.0))
        found = bad | (failures - totals * rate > _BAD_MINUTE * error)
        if (found == bad).all():
            return bad
        bad = found


# Load


def busiest_rate(starts: Numbers, seconds: float) -> float:
    """Most messages that began within so many seconds, per second; `starts` are in order."""
    ends = np.searchsorted(starts, starts + seconds, "left")
    return float((ends - np.arange(len(starts))).max() / seconds)


def under_way_at_most(starts: Numbers, ends: Numbers, seconds: float) -> float:
    """Messages under way at the same time where they were most, on average over `seconds`.

    So many senders, one message at a time each, would have done the same. Most is what one of a
    hundred messages saw exceeded, so that a fluke does not count.
    """
    origin = starts.min()
    begun, ended = np.sort(starts) - origin, np.sort(ends) - origin
    busy = _busy_until(begun + seconds, begun, ended) - _busy_until(begun, begun, ended)
    return float(np.quantile(busy / seconds, _BUSIEST))


def _busy_until(moments: Numbers, begun: Numbers, ended: Numbers) -> Numbers:
    """Seconds that all messages together were under way until each of these moments."""
    return _seconds_since(begun, moments) - _seconds_since(ended, moments)


def _seconds_since(events: Numbers, moments: Numbers) -> Numbers:
    """Seconds from each event that had happened until then, summed up."""
    before = np.searchsorted(events, moments, "left")
    sums = np.concatenate(([0.0], np.cumsum(events)))
    found: Numbers = before * moments - sums[before]
    return found
