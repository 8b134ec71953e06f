"""What is simulated: a configuration, its workers, and what things cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.routing import delivery_rate
from sms_pipeline.core.sender_bank import HORIZON_SECONDS
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.costs import COSTS, Costs
from sms_pipeline.worker.in_hand import threads_for

#: A long run is played in so many strides.
STRIDES = 2_000


@dataclass(frozen=True, slots=True)
class Setting:
    """All that one simulated run depends on, but for its seed."""

    simulation: Simulation
    #: Worker processes of each profile; None: one process plays all profiles, as in `run`.
    workers: int | None
    #: By profile.
    costs: Mapping[str, Costs]
    #: Batches that a worker of each profile takes in hand.
    threads: Mapping[str, int]
    #: Seconds that are looked at together, where times do not depend on that.
    stride: float
    #: Most batches of each profile that may be outstanding; None: as routing has it.
    most_batches: Mapping[str, int] | None = None
    #: By profile: seconds by which a batch ends later than its simulated messages; none: not.
    slower: Mapping[str, float] = field(default_factory=dict)
    #: Messages that one simulated message stands for.
    factor: float = 1.0
    #: Its batches are larger than real ones, however little waits: it may be wrong as coarser ones.
    is_coarse: bool = False
    #: Workers of a profile that its one simulated worker stands for.
    merged: int = 1
    #: Messages that are left out of the middle of the run; simulated ones.
    left_out: int = 0

    def max_batches(self) -> Callable[[SenderProfile, int], int] | None:
        """What a producer is told of how many batches a profile may hold; None: nothing."""
        most = self.most_batches
        return None if most is None else lambda profile, _batch_size: most[profile.name]


def exact_setting(
    simulation: Simulation,
    workers: int | None,
    costs: Costs = COSTS,
    threads_for: Callable[[SenderProfile, int], int] = threads_for,
) -> Setting:
    """Every message and every sender of a configuration."""
    threads = {
        profile.name: threads_for(profile, simulation.batch_size_for(profile))
        for profile in simulation.senders
    }
    return Setting(
        simulation=simulation,
        workers=workers,
        costs={profile.name: costs for profile in simulation.senders},
        threads=threads,
        stride=max(HORIZON_SECONDS, work_seconds(simulation, workers or 1) / STRIDES),
        # All profiles share one pool, so no profile may fill the part of the others.
        most_batches=threads if workers is None else None,
    )


def begun_at(simulation: Simulation, wall: float) -> Simulation:
    """A configuration for a run that begins at `wall`, seconds since the epoch.

    Its hours then are what they are at that time: the virtual clock begins long ago.
    """
    if simulation.window is None:
        return simulation
    window = simulation.window.behind(wall - EPOCH)
    return simulation.model_copy(update={"window": window})


def work_seconds(simulation: Simulation, workers: int) -> float:
    """A first guess: how long the senders are busy with what they will deliver; may be 0.

    messages / sum over profiles of capacity * (1 - failure rate), or / the rate that is set. It
    knows nothing of the start, the end, and pauses.
    """
    rates = [delivery_rate(one.capacity, one.failure_rate, None) for one in simulation.senders]
    rate = min(sum(rates) * workers, math.inf if simulation.rate is None else simulation.rate)
    return simulation.num_messages / rate if rate and math.isfinite(rate) else 0.0
