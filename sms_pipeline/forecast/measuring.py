"""What a machine and its broker take their time for, from a short real run without sending time.

The same run is simulated with the costs that are known. A machine on which the real one takes twice
as long takes twice as long for everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS, Costs
from sms_pipeline.forecast.rehearsal import rehearse
from sms_pipeline.forecast.setting import exact_setting

#: The name of a run that measures, and of its profile.
MEASURE = "measure"
#: The tag that says on which machine it was.
MACHINE = "measured on"
#: Messages and batches cost about the same with these.
_MESSAGES, _BATCH_SIZE = 1_000_000, 5_000
#: Senders that take no time: no batch waits for them.
_SENDERS = 1_000
_SEED = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured, and when."""

    machine: str
    run: int
    #: Seconds since the epoch.
    at: float
    #: Whether broker, producer and worker were one process.
    embedded: bool
    #: How many times as long as `COSTS` say it took.
    factor: float

    @property
    def costs(self) -> Costs:
        """What things cost there."""
        return COSTS.slower(self.factor)


def run_to_measure(planned: Simulation, machine: str) -> Simulation:
    """A run of a few seconds in which as large a share of the attempts fails as is planned."""
    capacity = sum(one.count for one in planned.senders)
    failures = sum(one.count * one.failure_rate for one in planned.senders) / capacity
    profile = SenderProfile(name=MEASURE, mean_time=0.0, failure_rate=failures, count=_SENDERS)
    return Simulation(
        name=MEASURE,
        tags={MACHINE: machine},
        num_messages=_MESSAGES,
        batch_size=_BATCH_SIZE,
        senders=(profile,),
        max_text_length=planned.max_text_length,
        retry=RetryPolicy(max_attempts=planned.retry.max_attempts or 2, backoff=0.0),
    )


def factor_of(simulation: Simulation, seconds: float) -> float:
    """How many times as long as expected such a run took."""
    expected = rehearse(exact_setting(simulation, None), _SEED).seconds
    return max(seconds - COSTS.start, 0.0) / (expected - COSTS.start)
