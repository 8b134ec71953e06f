"""What is simulated: a configuration, its workers, and what things cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS, Costs
from sms_pipeline.worker.in_hand import threads_for

#: Between two steps of the senders, while messages wait: as the driver thread does, …
_SHORTEST_TICK = 0.02
#: … or in a long run, so many times in all.
_TICKS = 2_000


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
    #: Messages that one simulated message stands for.
    factor: float = 1.0

    @property
    def tick(self) -> float:
        """Shortest pause between two steps of the senders."""
        seconds = work_seconds(self.simulation, self.workers or 1)
        return max(_SHORTEST_TICK, seconds / _TICKS)

    def threads_for(self, profile: SenderProfile, _batch_size: int) -> int:
        """What `worker.in_hand.threads_for` says of the configuration that this one stands for."""
        return self.threads[profile.name]


def exact_setting(simulation: Simulation, workers: int | None, costs: Costs = COSTS) -> Setting:
    """Every message and every sender of a configuration."""
    return Setting(
        simulation=simulation,
        workers=workers,
        costs={profile.name: costs for profile in simulation.senders},
        threads={
            profile.name: threads_for(profile, simulation.batch_size_for(profile))
            for profile in simulation.senders
        },
    )


def work_seconds(simulation: Simulation, workers: int) -> float:
    """A first guess: how long the senders are busy with what they will deliver; may be 0.

    messages / sum over profiles of capacity * (1 - failure rate). It knows nothing of the start,
    the end, and pauses.
    """
    rate = sum(one.capacity * (1 - one.failure_rate) for one in simulation.senders) * workers
    return simulation.num_messages / rate if rate and math.isfinite(rate) else 0.0
