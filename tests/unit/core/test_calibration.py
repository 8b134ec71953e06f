"""Parameters come back from samples, within intervals that hold the truth as often as they say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from sms_pipeline.core import calibration
from sms_pipeline.core.calibration import Estimate
from sms_pipeline.core.gamma import gamma_quantile, lower_incomplete_gamma

MINUTE = 60.0
#: Of 300 intervals 285 hold the truth on average; fewer than 267 do in one of 5,000 tests, and so
#: do more than 296.
SAMPLES, FEWEST, MOST = 300, 267, 296


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def holding(truth: float, estimate: Callable[[np.random.Generator], Estimate]) -> int:
    """How many of the intervals of many samples hold the truth."""
    random = generator()
    found = (estimate(random) for _ in range(SAMPLES))
    return sum(one.low <= truth <= one.high for one in found)


# Send times


@pytest.mark.parametrize("shape", [0.3, 1.0, 16.0, 400.0])
def test_intervals_hold_the_shape_and_the_mean_as_often_as_they_say(shape: float) -> None:
    def sample(random: np.random.Generator) -> np.ndarray:
        return random.gamma(shape, 2 / shape, 1_000)

    assert FEWEST <= holding(shape, lambda random: calibration.shape_of(sample(random))) <= MOST
    assert FEWEST <= holding(2.0, lambda random: calibration.mean_of(sample(random))) <= MOST


def test_the_shape_is_that_of_the_published_formula() -> None:
    times = generator().gamma(3.0, 1.0, 50)
    n, logs = len(times), np.log(times)
    published = n * times.sum() / (n * (times * logs).sum() - logs.sum() * times.sum())
    assert calibration.shape_of(times).value == pytest.approx(published)


def test_the_interval_of_the_shape_holds_where_nothing_is_a_gamma_distribution() -> None:
    def sample(random: np.random.Generator, count: int = 1_000) -> np.ndarray:
        return random.lognormal(0, 1, count)

    truth = calibration.shape_of(sample(generator(2), 4_000_000)).value
    assert holding(truth, lambda random: calibration.shape_of(sample(random))) >= FEWEST * 0.95


@pytest.mark.parametrize("times", [[0.5] * 10, [0.5], [0.0] * 10])
def test_equal_times_have_the_largest_shape(times: list[float]) -> None:
    assert calibration.shape_of(np.array(times)).value == 10_000


def test_times_of_zero_are_times_that_the_clock_was_too_slow_for() -> None:
    times = np.floor(generator().gamma(2.0, 1.0, 10_000))
    assert (times == 0).any()
    found = calibration.shape_of(times)
    assert 0.5 < found.value < 4
    assert calibration.mean_of(np.array([0.0, 0.0])) == (0, 0, 0)


def test_the_parameters_are_those_of_the_times_in_any_order() -> None:
    times = generator().gamma(3.0, 1.0, 100)
    before = times.copy()
    assert calibration.shape_of(times) == pytest.approx(calibration.shape_of(times[::-1]))
    assert np.array_equal(times, before)


# Where a gamma distribution is off


@pytest.mark.parametrize("shape", [0.02, 0.5, 1.0, 16.0, 9_000.0])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_quantile_is_where_the_share_is_reached(shape: float, share: float) -> None:
    assert lower_incomplete_gamma(shape, gamma_quantile(share, shape)) == pytest.approx(share)


@pytest.mark.parametrize("count", [20, 200, 20_000])
@pytest.mark.parametrize("shape", [0.5, 3.0, 16.0])
def test_a_gamma_distribution_fits_itself(shape: float, count: int) -> None:
    times = generator().gamma(shape, 2 / shape, count)
    found = calibration.shape_of(times).value
    assert calibration.misfit_of(times, float(times.mean()), found, 0.0) is None


def test_two_ways_to_a_phone_are_no_gamma_distribution() -> None:
    random = generator()
    times = np.concatenate((random.normal(1, 0.05, 7_000), random.normal(9, 0.5, 3_000)))
    misfit = calibration.misfit_of(times, times.mean(), calibration.shape_of(times).value, 0.0)
    assert misfit
    assert misfit.share > 0.5
    assert misfit.measured == pytest.approx(np.quantile(times, misfit.level))
    # It is off nearly everywhere, and there the most
    assert misfit.level == 0.5


@pytest.mark.parametrize(("count", "level"), [(1_000, 0.99), (100, None)])
def test_a_few_long_times_are_a_misfit_if_they_are_too_many_for_chance(
    count: int, level: float | None
) -> None:
    # Given times just as a gamma distribution has them, but three of a hundred are far longer
    shares = (np.arange(count) + 0.5) / count
    times = np.array([gamma_quantile(share, 16.0) / 16 for share in shares])
    times[-count * 3 // 100 :] = 10
    misfit = calibration.misfit_of(times, 1.0, 16.0, 0.0)
    assert (misfit and misfit.level) == level


def test_what_a_slow_clock_hides_is_no_misfit() -> None:
    times = np.round(generator().gamma(16.0, 3 / 16, 50_000))
    found = calibration.shape_of(times).value
    assert calibration.misfit_of(times, times.mean(), found, 0.0)
    assert calibration.misfit_of(times, times.mean(), found, 1.0) is None


def test_a_clock_of_whole_seconds_is_seen() -> None:
    whole = np.array([1.0, 2.0])
    assert calibration.grain_of(whole, whole) == 1
    assert calibration.grain_of(whole, whole + 0.25) == 0


def test_no_time_at_all_fits() -> None:
    assert calibration.misfit_of(np.zeros(100), 0.0, 1.0, 0.0) is None


# Failures


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_intervals_hold_the_failure_rate_as_often_as_they_say(rate: float) -> None:
    def estimate(random: np.random.Generator) -> Estimate:
        return calibration.failure_rate_of(int(random.binomial(1_000, rate)), 1_000)

    assert FEWEST <= holding(rate, estimate) <= MOST


def test_the_interval_is_wilsons() -> None:
    # From Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20.
    some, none = calibration.failure_rate_of(81, 263), calibration.failure_rate_of(0, 20)
    assert (some.low, some.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert (none.low, none.high) == pytest.approx((0, 0.1611), abs=1e-4)
    assert calibration.failure_rate_of(20, 20).high == 1


def test_a_failure_rate_is_a_share_with_an_interval_of_shares() -> None:
    for total in range(1, 400):
        none, half, all_ = (calibration.failure_rate_of(n, total) for n in (0, total // 2, total))
        assert (none.value, half.value, all_.value) == (0, total // 2 / total, 1)
        assert (none.low, all_.high) == (0, 1)
        assert half.low <= half.value <= half.high


def test_failures_in_bursts_widen_the_interval() -> None:
    alone, together = (calibration.failure_rate_of(81, 263, times) for times in (1.0, 9.0))
    assert together.value == alone.value
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def failing(rates: np.ndarray, per_minute: int) -> tuple[np.ndarray, np.ndarray]:
    """Moments of attempts, and which failed, with a rate for each minute."""
    moments = np.repeat(np.arange(len(rates)) * MINUTE, per_minute)
    return moments, generator().random(len(moments)) < np.repeat(rates, per_minute)


@pytest.mark.parametrize("per_minute", [1, 20, 2_000])
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.9])
def test_one_rate_is_no_burst(rate: float, per_minute: int) -> None:
    found = calibration.bursts_of(*failing(np.full(200, rate), per_minute))
    assert found
    assert not found.found
    assert found.minutes == 200


def test_an_outage_is_a_burst() -> None:
    rates = np.full(100, 0.02)
    rates[40:45] = 0.9
    found = calibration.bursts_of(*failing(rates, 50))
    assert found
    assert found.found
    assert found.dispersion > 10
    assert found.bad_minutes == 5
    assert 40 * MINUTE <= found.worst_at < 45 * MINUTE
    assert found.worst_rate == pytest.approx(0.9, abs=0.15)
    assert found.rate_outside == pytest.approx(0.02, abs=0.01)


def minutes(*stretches: tuple[int, int, int]) -> calibration.Bursts:
    """What is found in so many minutes, each with so many attempts and so many failures."""
    each = [(made, failed) for count, made, failed in stretches for _ in range(count)]
    moments = [place * MINUTE for place, (made, _) in enumerate(each) for _ in range(made)]
    fates = [number < failed for made, failed in each for number in range(made)]
    found = calibration.bursts_of(np.array(moments), np.array(fates))
    assert found
    return found


def test_the_dispersion_is_the_variance_over_that_of_one_rate() -> None:
    # One rate of 0.2 would give 2 of 10, with a variance of 1.6; there is one of (3 * 1 + 9) / 3
    assert minutes((3, 10, 1), (1, 10, 5)).dispersion == pytest.approx(4 / 1.6)


@pytest.mark.parametrize(
    ("stretches", "is_found"),
    [
        # Far above what one rate gives, but so few minutes may be by chance
        ([(3, 10, 1), (1, 10, 5)], False),
        # Surely no chance, but not far above it
        ([(500, 100, 6), (500, 100, 14)], False),
        ([(500, 100, 4), (500, 100, 16)], True),
        # Where a minute has one attempt, nothing can be said
        ([(2, 1, 0), (2, 1, 1)], False),
    ],
)
def test_bursts_are_far_above_one_rate_and_surely_so(
    stretches: list[tuple[int, int, int]], is_found: bool
) -> None:
    assert minutes(*stretches).found is is_found


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.8])
def test_surprise_is_in_standard_deviations_of_binomial_distributions(rate: float) -> None:
    totals, failures = np.array([1.0, 2.0, 5.0, 40.0]), np.array([1.0, 0.0, 4.0, 9.0])

    def variance(total: int) -> float:
        """Of the square of how far the failures of a minute are off, in standard deviations."""
        counts = np.arange(total + 1)
        ways = np.array([math.comb(total, count) for count in counts])
        chances = ways * rate**counts * (1 - rate) ** (total - counts)
        squares = (counts - total * rate) ** 2 / (total * rate * (1 - rate))
        return float((chances * squares**2).sum() - (chances * squares).sum() ** 2)

    dispersion, surprise = calibration._dispersion(totals, failures, rate)
    deviation = math.sqrt(sum(variance(int(total)) for total in totals))
    assert surprise == pytest.approx((dispersion - 1) * 3 / deviation)


@pytest.mark.parametrize(
    ("stretches", "bad"),
    [
        # 30 in 100, give or take 4.6: without them, 55 are 5.5 deviations above it
        ([(10, 100, 28), (10, 100, 32), (2, 100, 55)], 2),
        ([(10, 100, 28), (10, 100, 32), (2, 100, 45)], 0),
        # Where nearly nothing fails, five failures are bad and four are not
        ([(20, 100, 0), (1, 100, 5)], 1),
        ([(20, 100, 0), (1, 100, 4)], 0),
    ],
)
def test_a_minute_is_bad_if_it_is_far_from_the_others(
    stretches: list[tuple[int, int, int]], bad: int
) -> None:
    assert minutes(*stretches).bad_minutes == bad


def test_the_worst_minute_is_the_most_unlikely_one() -> None:
    # Given a minute with very many attempts and more failures than most, one with few attempts that
    # all failed, and one with a single attempt
    found = minutes((4, 100, 0), (1, 10_000, 350), (1, 10, 10), (1, 1, 0))
    assert (found.worst_at, found.worst_rate) == (5 * MINUTE, 1.0)


@pytest.mark.parametrize(
    ("moments", "failed"),
    [([0.0, 100.0], [False, False]), ([0.0, 100.0], [True, True]), ([1.0, 2.0], [True, False])],
)
def test_nothing_is_said_of_bursts_where_there_can_be_none(
    moments: list[float], failed: list[bool]
) -> None:
    assert calibration.bursts_of(np.array(moments), np.array(failed)) is None


# Load


def test_the_busiest_seconds_are_found_wherever_they_are() -> None:
    slow, fast = np.arange(0, 100, 1.0), np.arange(50.5, 60.5, 0.1)
    starts = np.sort(np.concatenate((slow, fast)))
    assert calibration.busiest_rate(starts, 10.0) == pytest.approx(11)
    assert calibration.busiest_rate(starts, 100.0) == pytest.approx(2)
    assert calibration.busiest_rate(np.array([7.0]), 1.0) == 1


def test_what_is_under_way_is_counted_where_it_is_most() -> None:
    # Ten senders with messages of 2 s, one after the other, for 100 s; then one of them
    many = np.repeat(np.arange(0, 100, 2.0), 10)
    few = np.arange(100, 200, 2.0)
    starts = np.concatenate((many, few)) + 1e9
    assert calibration.under_way_at_most(starts, starts + 2, 10.0) == pytest.approx(10, rel=0.01)


def test_messages_under_way_are_counted_for_as_long_as_they_are() -> None:
    # From the start of the first one on, ten seconds see ten of it and one of the other
    found = calibration.under_way_at_most(np.array([0.0, 4.0]), np.array([10.0, 5.0]), 10.0)
    assert found == pytest.approx(1.1, rel=0.01)


def test_a_clock_of_whole_seconds_hides_no_sender() -> None:
    # Each sender makes 20 messages a second
    began = np.tile(np.arange(0, 200, 0.05), 40) + np.repeat(generator().random(40), 4_000)
    starts, ends = np.floor(began), np.floor(began + 0.05)
    found = calibration.under_way_at_most(starts, ends, 10.0)
    assert found == pytest.approx(40, rel=0.1)


def test_one_message_is_under_way_alone() -> None:
    found = calibration.under_way_at_most(np.array([5.0]), np.array([7.0]), 2.0)
    assert math.isclose(found, 1)
