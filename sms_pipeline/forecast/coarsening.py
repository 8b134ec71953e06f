"""Fewer, larger batches for a thinned run. Pure.

A profile's batches must stay small beside what routing lets wait there, or its senders idle between
one batch and the next. So each profile gets batches of its own size: the same share of that.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping

import numpy as np

from sms_pipeline.core.empirical import mean_of
from sms_pipeline.core.gamma import gamma_quantile
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.routing import Load, delivery_rate
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.setting import Setting

#: With unlimited attempts: more than anybody will see.
MOST_ATTEMPTS = 100
#: Batches that a worker must have so that it never waits: one in play, and the next.
AHEAD = 2
#: A batch is a whole number of these parts of what waits …
_PARTS = 100
#: … and of no more: where two such batches wait, the times of a run are still right.
_MOST_PARTS = 150


def attempts_at_batches(
    simulation: Simulation, messages: Mapping[str, float], sizes: Mapping[str, float]
) -> float:
    """Attempts at all batches of a run: each needs as many as its unluckiest message.

    Args:
        simulation: the run.
        messages: of each profile.
        sizes: of its batches.
    """
    most = simulation.retry.max_attempts or MOST_ATTEMPTS
    found = 0.0
    for profile in simulation.senders:
        size, rate = simulation.batch_size_for(profile), profile.failure_rate
        tries = sum(1 - (1 - rate**attempt) ** size for attempt in range(most))
        given = messages[profile.name]
        found += max(given / sizes[profile.name], given > 0) * tries
    return found


def sizes_by_waiting(
    setting: Setting, messages: Mapping[str, float], most_attempts: float
) -> dict[str, float] | None:
    """Messages in a batch of each profile: the same share of what may wait there, or as configured.

    None where nobody knows what waits, where a batch would have to be much more than that, and
    where workers wait for batches anyway: that depends on how large these are.

    Args:
        setting: every message and sender.
        messages: of each profile.
        most_attempts: that are made at batches.
    """
    simulation = setting.simulation
    hands_over = simulation.failover is not None and simulation.failover.to is not None
    if simulation.routing == "static" or hands_over:
        return None
    most = {one.name: most_batches(setting, one) for one in simulation.senders}
    if min(most.values()) < AHEAD * (setting.workers or 1):
        return None
    waiting = {
        one.name: min(most[one.name] * simulation.batch_size_for(one), messages[one.name])
        for one in simulation.senders
    }

    def with_share(share: float) -> dict[str, float]:
        return {
            one.name: max(simulation.batch_size_for(one), share * waiting[one.name])
            for one in simulation.senders
        }

    def is_within(share: float) -> bool:
        return attempts_at_batches(simulation, messages, with_share(share)) <= most_attempts

    shares = [number / _PARTS for number in range(1, _MOST_PARTS + 1)]
    place = bisect_left(shares, True, key=is_within)
    return with_share(shares[place]) if place < len(shares) else None


def most_batches(setting: Setting, profile: SenderProfile) -> float:
    """How many batches of a profile routing lets wait: limits that are numbers are thinned, too."""
    workers, size = setting.workers or 1, setting.simulation.batch_size_for(profile)
    most = setting.max_batches()
    load = Load(
        profile.name,
        outstanding=0,
        in_play=profile.in_play * workers,
        rate=delivery_rate(profile.capacity * workers, profile.failure_rate, None),
        batch_size=size,
        max_batches=most(profile, size) if most else None,
        workers=workers,
    )
    return load.cap / size


def later_end(profile: SenderProfile, thinned: SenderProfile, size: int, simulated: int) -> float:
    """Seconds by which a batch of `size` messages ends later than one of `simulated` messages.

    It ends with its slowest message, and the slowest of n takes about the quantile of sending times
    at 1 - 1/n. When the last ones start, no more are under way than there are senders.
    """
    if thinned.shape != profile.shape:
        return 0.0
    of_all, of_few = min(size, profile.in_play), min(simulated, thinned.in_play)
    return max(_slowest(profile, of_all) - _slowest(profile, of_few), 0.0)


def _slowest(profile: SenderProfile, messages: int) -> float:
    share = 1 - 1 / max(messages, 2)
    if profile.times:
        scale = profile.mean_time / mean_of(profile.times)
        return float(np.quantile(profile.times, share)) * scale
    slowest = gamma_quantile(share, profile.shape) * profile.mean_time / profile.shape
    return min(slowest, math.inf if profile.max_time is None else profile.max_time)
