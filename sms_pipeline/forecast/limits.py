"""What holds a run up: take each limit away, and see how much sooner it would end."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

from sms_pipeline.core.failover import endless
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS, NO_COSTS, Costs
from sms_pipeline.forecast.outlook import FEW_RUNS, FIRST_SEED, ROUGH, RUNS, Hours, play
from sms_pipeline.forecast.rehearsal import rehearse
from sms_pipeline.forecast.setting import Setting, exact_setting
from sms_pipeline.forecast.thinning import thin

#: A gain below this share of the run's time is no limit; nor is one below what thinning is off.
LEAST_GAIN = 0.01
#: Nor is a gain below so many standard errors.
_SURE = 3.0
#: So many profiles are taken away at most, one at a time.
_MOST_PROFILES = 5
#: More batches than any worker is ever given.
_ENDLESS = 1_000_000


class Limit(NamedTuple):
    """Something that holds a run up."""

    #: What would take it away: "if senders took no time", "without the profile slow".
    without: str
    #: When the run would end then, seconds, on average.
    end: float


def limits_of(
    simulation: Simulation,
    workers: int | None,
    costs: Costs = COSTS,
    told: float | None = None,
    ends: Sequence[float] = (),
) -> list[Limit]:
    """What holds a run up, the worst first; nothing that hardly matters.

    Args:
        simulation: what is rehearsed.
        workers: see `look_ahead`.
        costs: what the machine takes.
        told: when the run will end, if that is told besides. What is found here is thinned more:
            it tells how much sooner a run would end, not when.
        ends: when runs end that are thinned as much, if that is known.
    """
    now = ends or _ends_of(exact_setting(simulation, workers, costs))
    off = 0.0 if told is None else _off(Hours(simulation), median(now), told)
    least = max(LEAST_GAIN, abs(off))
    found = list[Limit]()
    for without, setting in _changes(simulation, workers, costs):
        then = _ends_of(setting, fmean(now))
        if _is_gain(now, then, least):
            found.append(Limit(without, Hours(setting.simulation).longer(fmean(then), off)))
    return sorted(found, key=lambda limit: limit.end)


def _off(hours: Hours, seen: float, told: float) -> float:
    """By which share of its work a run takes longer than it was seen to."""
    return hours.work(told) / hours.work(seen) - 1


def _ends_of(whole: Setting, hoped: float = math.inf) -> list[float]:
    """When runs end: as many runs as can be played in no time, and a few of large ones.

    None, where the first of these few does not even end by `hoped`.
    """
    setting = thin(whole, ROUGH)
    if setting is whole:
        return play(setting, whole.simulation, FIRST_SEED, RUNS).ends
    first = play(setting, whole.simulation, FIRST_SEED, 1).ends
    if first[0] > hoped:
        return []
    return first + play(setting, whole.simulation, FIRST_SEED + 1, FEW_RUNS - 1).ends


def _is_gain(now: Sequence[float], then: Sequence[float], least: float) -> bool:
    """Whether runs end sooner by that share, and not just by chance."""
    if not then:
        return False
    gain = fmean(now) - fmean(then)
    errors = (stdev(ends) / math.sqrt(len(ends)) for ends in (now, then))
    by_chance = _SURE * math.hypot(*errors)
    return gain > max(least * fmean(now), by_chance)


def _changes(
    simulation: Simulation, workers: int | None, costs: Costs
) -> Iterator[tuple[str, Setting]]:
    """What could be taken away, and the setting without it."""

    def changed(**changes: object) -> Setting:
        return exact_setting(simulation.model_copy(update=changes), workers, costs)

    at_once = simulation.retry.model_copy(update={"backoff": 0.0})
    yield "if senders took no time", changed(senders=tuple(map(_instant, simulation.senders)))
    yield "if retries did not wait", changed(retry=at_once)
    yield "if the machine took no time", exact_setting(simulation, workers, NO_COSTS)
    yield (
        "if workers took more batches in hand",
        exact_setting(simulation, workers, costs, threads_for=lambda *_: _ENDLESS),
    )
    if simulation.rate is not None:
        yield "if no rate was set", changed(rate=None)
    if simulation.window:
        yield "if it could send at any hour", changed(window=None)
    if simulation.events:
        yield "if nothing went wrong", changed(events=())
    if len(simulation.senders) > 1:
        for profile in _waited_for(simulation, workers, costs):
            others = _without(profile, simulation)
            if not endless(others.senders, others.failover, others.retry):
                without = f"without the profile {profile.name}"
                yield without, exact_setting(others, workers, costs)


def _waited_for(
    simulation: Simulation, workers: int | None, costs: Costs
) -> Sequence[SenderProfile]:
    """The profiles whose messages end last: without another one, a run would end no sooner."""
    if len(simulation.senders) <= _MOST_PROFILES:
        return simulation.senders
    course = rehearse(thin(exact_setting(simulation, workers, costs), ROUGH), FIRST_SEED)
    ended_at = {mark.profile: mark.at for mark in course.marks}
    return heapq.nlargest(
        _MOST_PROFILES, simulation.senders, key=lambda one: ended_at.get(one.name, 0.0)
    )


def _without(profile: SenderProfile, simulation: Simulation) -> Simulation:
    """The configuration without a profile: no attempt is handed over to it either."""
    others = tuple(one for one in simulation.senders if one is not profile)
    failover = simulation.failover and simulation.failover.without(profile.name)
    return simulation.model_copy(update={"senders": others, "failover": failover})


def _instant(profile: SenderProfile) -> SenderProfile:
    return profile.model_copy(update={"mean_time": 0.0, "parts_per_second": None})
