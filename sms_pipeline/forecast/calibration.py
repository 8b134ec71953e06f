"""Senders like those of a delivery log."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sms_pipeline.core import calibration as measured
from sms_pipeline.core.calibration import Bursts, Estimate, Misfit
from sms_pipeline.core.empirical import quantiles_of
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.profiles import MAX_SEND_SECONDS, MAX_SENDERS, SenderProfile
from sms_pipeline.forecast.delivery_log import Attempts, DeliveryLog
from sms_pipeline.forecast.log_columns import Status

#: The rate is looked for in so many of the busiest seconds, and in a minute of them.
BUSY_SECONDS, BUSY_MINUTE = 10.0, 60.0
_RATE_WINDOWS = (1.0, BUSY_SECONDS, BUSY_MINUTE)
#: A rate that is kept for a minute at this share is a limit, not a peak.
_HELD = 0.9
#: Of the length of a log: a part of it that is long enough to be busy all the time.
_PART_OF_LOG = 4
#: Digits of a parameter that a profile is given; a log doesn't know more.
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class CalibratedProfile:
    """One profile, and how far what it was calibrated from can be trusted."""

    profile: SenderProfile
    attempts: int
    #: Attempts that have begin and end.
    timed: int
    #: Attempts without an end, or without a final status.
    missing: int
    #: Attempts with a final status, and those of them that failed.
    final: int
    failed: int
    mean_time: Estimate
    shape: Estimate
    failure_rate: Estimate
    #: Most attempts per second that began, by the seconds for which that was kept.
    rates: dict[float, float]
    #: Where the gamma distribution is off; None where it fits.
    misfit: Misfit | None
    #: None if there are no failures, or nothing else, or all are of one minute.
    bursts: Bursts | None
    #: The clock of the log shows whole seconds only.
    whole_seconds: bool
    #: Mean seconds of delivered and of failed attempts; None if there are too few.
    mean_delivered: float | None
    mean_failed: float | None

    @property
    def rate_held(self) -> bool | None:
        """Whether the rate looks like a limit; None if the log is too short to tell."""
        if BUSY_MINUTE not in self.rates:
            return None
        return self.rates[BUSY_MINUTE] >= _HELD * self.rates[BUSY_SECONDS]

    @property
    def highest_failure_rate(self) -> float:
        """The failure rate if no attempt without a receipt was delivered."""
        unknown = self.attempts - self.final
        return (self.failed + unknown) / self.attempts


@dataclass(frozen=True, slots=True)
class Calibration:
    """The senders of a log."""

    log: DeliveryLog
    profiles: tuple[CalibratedProfile, ...]
    #: Profiles of which too little is known, and what is missing.
    left_out: dict[str, str] = field(default_factory=dict)


def calibrate(log: DeliveryLog, empirical: bool = False) -> Calibration:
    """Calibrate each profile of a log; with `empirical` its times are the measured ones.

    Raises:
        ConfigError: no profile can be calibrated.
    """
    left_out = {name: lack for name, one in log.profiles.items() if (lack := _lack(one))}
    if len(left_out) == len(log.profiles):
        raise ConfigError(f"{log.path}: {next(iter(left_out.values()))}")
    enough = {name: one for name, one in log.profiles.items() if name not in left_out}
    try:
        found = tuple(calibrate_profile(name, one, empirical) for name, one in enough.items())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{log.path}: no profile can have {key} {first['input']}") from error
    return Calibration(log, found, left_out)


def _lack(attempts: Attempts) -> str | None:
    """What a profile is not calibrated for the lack of."""
    if not _is_timed(attempts).any():
        return "no attempt has an end and a final status"
    return None


def _is_timed(attempts: Attempts) -> NDArray[np.bool_]:
    timed: NDArray[np.bool_] = ~np.isnan(attempts.ended) & (attempts.status != Status.PENDING)
    return timed


def calibrate_profile(name: str, attempts: Attempts, empirical: bool) -> CalibratedProfile:
    """Senders like those that made these attempts, at least one of which is timed."""
    timed, final = _is_timed(attempts), attempts.status != Status.PENDING
    failed = attempts.status == Status.FAILED
    sent, ended = attempts.sent[timed], attempts.ended[timed]
    times = ended - sent
    mean, shape = measured.mean_of(times), measured.shape_of(times)
    bursts = measured.bursts_of(attempts.sent[final], failed[final])
    dispersion = bursts.dispersion if bursts and bursts.found else 1.0
    failures, known = int(failed.sum()), int(final.sum())
    grain = measured.grain_of(sent, ended)
    failure_rate = measured.failure_rate_of(failures, known, dispersion)
    return CalibratedProfile(
        profile=SenderProfile(
            name=name,
            count=_senders(sent, ended, mean.value),
            mean_time=_rounded(mean.value),
            failure_rate=_rounded(failure_rate.value),
            shape=_rounded(shape.value),
            times=_quantiles(times) if empirical else None,
        ),
        attempts=len(attempts.sent),
        timed=len(times),
        missing=len(attempts.sent) - len(times),
        final=known,
        failed=failures,
        mean_time=mean,
        shape=shape,
        failure_rate=failure_rate,
        rates=_rates(np.sort(attempts.sent)),
        misfit=measured.misfit_of(times, mean.value, shape.value, grain),
        bursts=bursts,
        whole_seconds=grain > 0,
        mean_delivered=_mean_of_many(times[~failed[timed]]),
        mean_failed=_mean_of_many(times[failed[timed]]),
    )


#: Means of fewer attempts are not compared.
_MANY = 30


def _mean_of_many(times: NDArray[np.float64]) -> float | None:
    return float(times.mean()) if len(times) >= _MANY else None


def _senders(sent: NDArray[np.float64], ended: NDArray[np.float64], mean: float) -> int:
    """As many as were busy at the same time, since each has one message at a time."""
    length = float(np.ptp(sent))
    seconds = min(BUSY_SECONDS, length / _PART_OF_LOG) or mean
    if not seconds:
        return 1
    most = measured.under_way_at_most(sent, ended, seconds)
    return min(max(round(most), 1), MAX_SENDERS)


def _rates(sent: NDArray[np.float64]) -> dict[float, float]:
    length = float(sent[-1] - sent[0])
    return {
        seconds: measured.busiest_rate(sent, seconds)
        for seconds in _RATE_WINDOWS
        if seconds <= max(length, _RATE_WINDOWS[0])
    }


def _quantiles(times: NDArray[np.float64]) -> tuple[float, ...] | None:
    """The measured times, cut off at the longest that a profile may have; None if all are zero."""
    if not times.any():
        return None
    found = np.minimum(quantiles_of(times), MAX_SEND_SECONDS)
    return tuple(map(_rounded, found.tolist()))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
