"""What holds a run up: take each limit away, and see how much sooner it would end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS, NO_COSTS, Costs
from sms_pipeline.forecast.outlook import FEW_RUNS, FIRST_SEED, ROUGH, RUNS, play
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.forecast.thinning import thin

#: A gain below this share of the run's time is no limit.
LEAST_GAIN = 0.01
#: Nor is a gain below so many standard errors.
_SURE = 3.0


class Limit(NamedTuple):
    """Something that holds a run up."""

    #: What would be if it were taken away: "senders took no time".
    without: str
    #: When the run would end then, seconds, on average.
    end: float


def limits_of(simulation: Simulation, workers: int | None) -> list[Limit]:
    """What holds a run up, the worst first; nothing that hardly matters."""
    now = _ends_of(simulation, workers, COSTS)
    found = [
        Limit(change.without, fmean(ends))
        for change in _changes(simulation)
        if _is_gain(now, ends := _ends_of(change.simulation, workers, change.costs))
    ]
    return sorted(found, key=lambda limit: limit.end)


def _ends_of(simulation: Simulation, workers: int | None, costs: Costs) -> list[float]:
    """When runs end: as many runs as can be played in no time, and a few of large ones."""
    whole = exact_setting(simulation, workers, costs)
    setting = thin(whole, ROUGH)
    runs = RUNS if setting is whole else FEW_RUNS
    return play(setting, simulation, FIRST_SEED, runs).ends


def _is_gain(now: Sequence[float], then: Sequence[float]) -> bool:
    """Whether runs end sooner, and not just by chance."""
    gain = fmean(now) - fmean(then)
    by_chance = _SURE * math.hypot(stdev(now), stdev(then)) / math.sqrt(len(now))
    return gain > max(LEAST_GAIN * fmean(now), by_chance)


class _Change(NamedTuple):
    without: str
    simulation: Simulation
    costs: Costs = COSTS


def _changes(simulation: Simulation) -> Iterator[_Change]:
    instant = tuple(_instant(profile) for profile in simulation.senders)
    yield _Change("senders took no time", _with(simulation, senders=instant))
    at_once = simulation.retry.model_copy(update={"backoff": 0.0})
    yield _Change("retries did not wait", _with(simulation, retry=at_once))
    yield _Change("the machine took no time", simulation, NO_COSTS)
    if len(simulation.senders) > 1:
        for profile in simulation.senders:
            others = tuple(one for one in simulation.senders if one is not profile)
            yield _Change(f"there were no {profile.name}", _with(simulation, senders=others))


def _instant(profile: SenderProfile) -> SenderProfile:
    return profile.model_copy(update={"mean_time": 0.0})


def _with(simulation: Simulation, **changes: object) -> Simulation:
    return simulation.model_copy(update=changes)
