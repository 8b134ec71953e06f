"""What a log was made with comes back from it, and what makes a log doubtful is noticed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sms_pipeline.core.calibration import Estimate
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.gateway import SimulatedGateway
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.forecast.calibration import CalibratedProfile, Calibration, calibrate
from sms_pipeline.forecast.delivery_log import read_log
from tests.unit import make
from tests.unit.forecast.logs import BEGIN, Attempt, attempts, write_log

#: Senders of different kinds.
FLEET = (
    make.profile("fast", count=40, mean_time=0.5, shape=3.0, failure_rate=0.05),
    make.profile("slow", count=7, mean_time=2.0, shape=16.0, failure_rate=0.3),
    make.profile("steady", count=1, mean_time=0.2, shape=400.0, failure_rate=0.001),
)


def calibration(path: Path, rows: Iterable[str], empirical: bool = False) -> Calibration:
    """Of a log with these rows."""
    return calibrate(read_log(write_log(path / "log.csv", rows)), empirical)


def one(path: Path, rows: Iterable[Attempt], empirical: bool = False) -> CalibratedProfile:
    """The only profile of a log."""
    (found,) = calibration(path, (row.row() for row in rows), empirical).profiles
    return found


@cache
def of_profile(profile: SenderProfile, batches: int = 5) -> tuple[Attempt, ...]:
    """What its senders do in a log of 10,000 attempts."""
    return tuple(attempts(profile, batches))


def within(truth: float, estimate: Estimate) -> bool:
    """Whether the interval holds the truth."""
    return estimate.low <= truth <= estimate.high


# A log that is simulated, exported and calibrated


@pytest.mark.parametrize("empirical", [False, True])
def test_parameters_come_back_within_their_intervals(tmp_path: Path, empirical: bool) -> None:
    rows = (attempt.row() for profile in FLEET for attempt in of_profile(profile))
    found = calibration(tmp_path, rows, empirical)
    assert [calibrated.profile.name for calibrated in found.profiles] == ["fast", "slow", "steady"]
    for truth, calibrated in zip(FLEET, found.profiles, strict=True):
        assert within(truth.mean_time, calibrated.mean_time)
        assert within(truth.failure_rate, calibrated.failure_rate)
        assert within(truth.shape, calibrated.shape)
        assert calibrated.profile.count == truth.count
        assert calibrated.profile.capacity == pytest.approx(truth.capacity, rel=0.03)
        assert calibrated.misfit is None
        assert not (calibrated.bursts and calibrated.bursts.found)
        assert calibrated.missing == 0


def test_intervals_are_narrow_enough_to_tell_something(tmp_path: Path) -> None:
    found = one(tmp_path, of_profile(FLEET[0]))
    for estimate in (found.mean_time, found.shape, found.failure_rate):
        assert estimate.low < estimate.value < estimate.high
        assert estimate.high - estimate.low < 0.2 * estimate.value


def test_the_rate_of_busy_senders_is_a_limit(tmp_path: Path) -> None:
    found = one(tmp_path, of_profile(FLEET[0]))
    assert found.rates[10.0] == pytest.approx(FLEET[0].capacity, rel=0.1)
    assert found.rates[60.0] == pytest.approx(FLEET[0].capacity, rel=0.05)
    assert found.rate_held is True


def test_a_peak_is_no_limit_and_a_short_log_does_not_tell(tmp_path: Path) -> None:
    peak = [Attempt(BEGIN + at, BEGIN + at + 1, True, "a") for at in np.arange(0, 10, 0.01)]
    slow = [Attempt(BEGIN + at, BEGIN + at + 1, True, "a") for at in np.arange(10, 200, 1.0)]
    assert one(tmp_path, [*peak, *slow]).rate_held is False
    assert one(tmp_path, peak[:500]).rate_held is None


def test_a_limit_on_the_rate_is_as_many_senders_as_are_busy(tmp_path: Path) -> None:
    # 50 a second, each of which takes 30 s: 1,500 senders would do the same
    rows = (Attempt(BEGIN + at, BEGIN + at + 30, True, "a") for at in np.arange(0, 200, 0.02))
    found = one(tmp_path, rows)
    assert found.profile.count == pytest.approx(1_500, rel=0.01)
    assert found.profile.capacity == pytest.approx(50, rel=0.01)


# Where no gamma distribution fits

TWO_WAYS = make.profile(
    "a", count=20, mean_time=3.0, failure_rate=0.1, times=(1.0, 1.1, 1.2, 1.3, 9.0, 9.5)
)


def test_times_that_no_gamma_distribution_describes_are_noticed(tmp_path: Path) -> None:
    found = one(tmp_path, of_profile(TWO_WAYS))
    assert found.misfit
    assert found.misfit.share > 0.1
    assert found.profile.times is None


def test_measured_times_are_drawn_again_as_they_were(tmp_path: Path) -> None:
    truth = [attempt.ended - attempt.sent for attempt in of_profile(TWO_WAYS)]
    found = one(tmp_path, of_profile(TWO_WAYS), empirical=True)
    assert found.profile.times
    again = SimulatedGateway(found.profile).attempt(make.batch(20_000)).durations
    assert again.mean() == pytest.approx(np.mean(truth), rel=0.02)
    levels = [0.05, 0.25, 0.5, 0.9, 0.95, 0.99]
    assert np.quantile(again, levels) == pytest.approx(np.quantile(truth, levels), rel=0.05)
    assert found.profile.capacity == pytest.approx(TWO_WAYS.capacity, rel=0.03)


# What makes a log doubtful


def test_failures_in_bursts_are_noticed_and_widen_the_interval(tmp_path: Path) -> None:
    def out(attempt: Attempt) -> bool:
        return 60 <= attempt.sent - BEGIN < 180

    steady = of_profile(make.profile("a", count=4, mean_time=0.2, failure_rate=0.05))
    with_outage = [row._replace(delivered=row.delivered and not out(row)) for row in steady]
    before, after = one(tmp_path, steady), one(tmp_path, with_outage)
    assert before.bursts
    assert not before.bursts.found
    assert after.bursts
    assert after.bursts.found
    assert after.bursts.bad_minutes in (2, 3)
    assert after.bursts.rate_outside == pytest.approx(0.05, abs=0.02)
    widths = [found.failure_rate.high - found.failure_rate.low for found in (before, after)]
    assert widths[1] > 3 * widths[0]


def test_missing_receipts_are_counted_and_leave_the_others_as_they_are(tmp_path: Path) -> None:
    rows = [row.row() for row in of_profile(FLEET[0])]
    begun = [row.split(",")[0] for row in rows[:500]]
    pending = [f"{sent},,sent,fast" for sent in begun]
    unfinished = [f"{sent},{sent},enroute,fast" for sent in begun]
    endless = [f"{sent},,failed,fast" for sent in begun]
    (found,) = calibration(tmp_path, [*rows, *pending, *unfinished, *endless]).profiles
    assert (found.attempts, found.timed, found.missing) == (11_500, 10_000, 1_500)
    assert (found.final, found.failed) == (10_500, one(tmp_path, of_profile(FLEET[0])).failed + 500)
    assert found.highest_failure_rate == pytest.approx((found.failed + 1_000) / 11_500)
    assert within(FLEET[0].mean_time, found.mean_time)
    assert found.profile.failure_rate == pytest.approx(found.failed / 10_500, rel=1e-5)


def test_a_clock_of_whole_seconds_keeps_mean_and_capacity(tmp_path: Path) -> None:
    rows = (row._replace(sent=row.sent // 1, ended=row.ended // 1) for row in of_profile(FLEET[0]))
    found = one(tmp_path, rows)
    assert found.whole_seconds
    assert found.mean_time.value == pytest.approx(0.5, rel=0.03)
    assert found.profile.capacity == pytest.approx(FLEET[0].capacity, rel=0.1)
    assert found.misfit is None


def test_delivered_and_failed_attempts_are_told_apart(tmp_path: Path) -> None:
    rows = (
        row if row.delivered else row._replace(ended=row.ended + 9) for row in of_profile(FLEET[1])
    )
    found = one(tmp_path, rows)
    assert found.mean_delivered == pytest.approx(2, rel=0.02)
    assert found.mean_failed == pytest.approx(11, rel=0.02)
    assert one(tmp_path, of_profile(FLEET[2])).mean_failed is None


def test_profiles_of_which_nothing_is_known_are_left_out(tmp_path: Path) -> None:
    rows = [row.row() for row in of_profile(FLEET[0])]
    found = calibration(tmp_path, [*rows, f"{BEGIN},,sent,dark"])
    assert [one.profile.name for one in found.profiles] == ["fast"]
    assert found.left_out == {"dark": "no attempt has an end and a final status"}


def test_a_log_of_which_nothing_is_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.csv: no attempt has an end and a final status"):
        calibration(tmp_path, [f"{BEGIN},,delivered,a", f"{BEGIN},{BEGIN},sent,a"])


@pytest.mark.parametrize(
    "rows",
    [
        [f"{BEGIN},{BEGIN + 1},ok,a"],
        [f"{BEGIN},{BEGIN + 1},failed,a"],
        [f"{BEGIN},{BEGIN},ok,a"],
        [f"{BEGIN},{BEGIN},ok,a"] * 50,
        [f"{BEGIN},{BEGIN + 1},ok,a"] * 50,
        [f"{BEGIN},{BEGIN + 1},ok,a", f"{BEGIN + 1e7},{BEGIN + 1e7 + 80_000},failed,a"],
    ],
)
@pytest.mark.parametrize("empirical", [False, True])
def test_any_log_gives_a_profile(tmp_path: Path, rows: list[str], empirical: bool) -> None:
    (found,) = calibration(tmp_path, rows, empirical).profiles
    assert found.profile.count >= 1
    assert found.profile.mean_time == pytest.approx(found.mean_time.value)


def test_fifty_at_once_are_fifty_senders(tmp_path: Path) -> None:
    (found,) = calibration(tmp_path, [f"{BEGIN},{BEGIN + 1},ok,a"] * 50).profiles
    assert found.profile.count == 50
