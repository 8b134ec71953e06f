"""The fleet that meets a time: found by bisection over forecasts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.playable import require_playable
from sms_pipeline.core.profiles import MAX_SENDERS, SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.caps import PassedCap, passed_caps
from sms_pipeline.forecast.costs import COSTS, Costs
from sms_pipeline.forecast.limits import Limit, limits_of
from sms_pipeline.forecast.outlook import (
    FEW_RUNS,
    FINE,
    FIRST_SEED,
    ROUGH,
    Spread,
    play,
)
from sms_pipeline.forecast.setting import exact_setting, work_seconds
from sms_pipeline.forecast.thinning import Budget, thin

#: This share of the time is kept in hand: a forecast is not exact.
IN_HAND = 0.03
#: Worker processes of each profile that are tried, one after the other: all in one process first.
_WORKERS = (None, 1, 2, 4, 8, 16)
#: Fleets that differ by less than this are the same.
_CLOSE = 1.01
#: Between two fleets that are tried before the search closes in.
_STRIDE = 1.3
#: Fleets beside the chosen one that are shown, in senders of it.
_BESIDE = {"half": 0.5, "double": 2.0}


@dataclass(frozen=True, slots=True)
class Goal:
    """`share` (0 to 1) of the messages delivered `within` seconds."""

    share: float
    within: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """Senders and workers, and how long a run takes with them."""

    #: The configuration, with as many senders as each worker has.
    simulation: Simulation
    #: Worker processes of each profile; None: one process plays all.
    workers: int | None
    #: When the share is reached; None if it never is.
    reached: Spread | None
    #: When the run ends.
    end: Spread
    #: Daily caps that it passes.
    caps: tuple[PassedCap, ...] = ()
    #: Money for what is delivered; None without prices.
    cost: float | None = None

    @property
    def senders(self) -> dict[str, int]:
        """All of each profile."""
        return {one.name: one.count * (self.workers or 1) for one in self.simulation.senders}

    def meets(self, goal: Goal) -> bool:
        """Whether every simulated run was in time, with something in hand."""
        return self.reached is not None and self.reached.high * (1 + IN_HAND) <= goal.within


@dataclass(frozen=True, slots=True)
class Plan:
    """What is needed to meet a goal."""

    goal: Goal
    #: The smallest fleet that meets it; None: none does.
    chosen: Fleet | None
    #: Half and double of it, by name; not of so few senders that they are the same.
    beside: dict[str, Fleet]
    #: With all the senders and workers that could be of any use.
    largest: Fleet
    #: What holds up the chosen fleet, or the largest, the worst first.
    limits: list[Limit]


def make_plan(
    simulation: Simulation,
    goal: Goal,
    grow: str | None = None,
    workers: int | None = None,
    costs: Costs = COSTS,
) -> Plan:
    """Find the smallest fleet that meets a goal.

    Args:
        simulation: what to rehearse; its mix of senders is kept.
        goal: what is wanted.
        grow: only this profile gets more senders, or fewer.
        workers: processes of each profile; None: as few as can do it.
        costs: what the machine takes.

    Raises:
        ConfigError: there is no such profile.
    """
    search = _Search(simulation, goal, grow, costs)
    for count in _WORKERS if workers is None else (workers,):
        largest = search.fleet(search.plenty, count)
        if largest.meets(goal):
            return _plan(search, goal, largest)
    return Plan(goal, None, {}, largest, _limits_of(largest, costs))


def _plan(search: _Search, goal: Goal, largest: Fleet) -> Plan:
    workers = largest.workers
    scale = search.smallest(workers)
    # Found by rough runs; finer ones may ask for a little more.
    while not (chosen := search.fleet(scale, workers, FINE)).meets(goal) and scale < search.plenty:
        scale *= _CLOSE
    others = {name: search.fleet(scale * by, workers) for name, by in _BESIDE.items()}
    beside = {name: one for name, one in others.items() if one.senders != chosen.senders}
    return Plan(goal, chosen, beside, largest, _limits_of(chosen, search.costs))


def _limits_of(fleet: Fleet, costs: Costs) -> list[Limit]:
    return limits_of(fleet.simulation, fleet.workers, costs, fleet.end.middle)


class _Search:
    """Fleets of one configuration by their scale: 1 is what is configured."""

    def __init__(self, simulation: Simulation, goal: Goal, grow: str | None, costs: Costs) -> None:
        self.costs = costs
        self._simulation = simulation
        self._goal = goal
        self._grow = None if grow is None else simulation.profile(grow).name
        #: What was played before: scales that come to the same senders are one fleet.
        self._played: dict[tuple[tuple[int, ...], Budget, int], Fleet] = {}

    @property
    def plenty(self) -> float:
        """With so many times the senders, each message has one of its own."""
        fewest = min(one.count for one in self._simulation.senders if self._grows(one))
        return max(1.0, self._simulation.num_messages / fewest)

    def fleet(
        self, scale: float, workers: int | None, budget: Budget = ROUGH, runs: int = FEW_RUNS
    ) -> Fleet:
        """The fleet of that scale, and what it comes to."""
        key = (self._counts(scale, workers), budget, runs)
        if key not in self._played:
            self._played[key] = self._play(scale, workers, budget, runs)
        return self._played[key]

    def _play(self, scale: float, workers: int | None, budget: Budget, runs: int) -> Fleet:
        simulation = self._scaled(scale, workers or 1)
        setting = thin(exact_setting(simulation, workers, self.costs), budget)
        played = play(setting, simulation, FIRST_SEED, runs)
        reached = played.reached(self._goal.share)
        middle = played.progress(played.middle)
        caps = passed_caps(simulation, workers, middle)
        return Fleet(simulation, workers, reached, Spread.of(played.ends), caps, middle.cost)

    def smallest(self, workers: int | None) -> float:
        """About the smallest scale that meets the goal; that of plenty does."""
        high = self._guess(workers)
        while high < self.plenty and not self._meets(high, workers):
            high = min(high * _STRIDE, self.plenty)
        low = high / _STRIDE
        while self._counts(low, workers) != self._counts(high, workers) and self._meets(
            low, workers
        ):
            low, high = low / _STRIDE, low
        while high / low > _CLOSE:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if self._meets(middle, workers) else (middle, high)
        return high

    def _guess(self, workers: int | None) -> float:
        """Where to begin: as many senders as the work takes."""
        seconds = self._goal.share * work_seconds(self._simulation, workers or 1)
        return min(max(seconds / self._goal.within, 1 / self.plenty), self.plenty)

    def _meets(self, scale: float, workers: int | None) -> bool:
        playable = self._is_playable(scale, workers)
        return playable and self.fleet(scale, workers, runs=1).meets(self._goal)

    def _is_playable(self, scale: float, workers: int | None) -> bool:
        """Whether a batch is short enough with so few senders."""
        try:
            require_playable(self._scaled(scale, workers or 1))
        except ConfigError:
            return False
        return True

    def _counts(self, scale: float, workers: int | None) -> tuple[int, ...]:
        simulation = self._scaled(scale, workers or 1)
        return (workers or 0, *(one.count for one in simulation.senders))

    def _scaled(self, scale: float, workers: int) -> Simulation:
        senders = tuple(
            one.model_copy(update={"count": _count(one, scale if self._grows(one) else 1, workers)})
            for one in self._simulation.senders
        )
        return self._simulation.model_copy(update={"senders": senders})

    def _grows(self, profile: SenderProfile) -> bool:
        return self._grow is None or profile.name == self._grow


def _count(profile: SenderProfile, scale: float, workers: int) -> int:
    """Senders for each worker."""
    most = MAX_SENDERS // profile.lanes_each
    return min(max(1, round(profile.count * scale / workers)), most)
