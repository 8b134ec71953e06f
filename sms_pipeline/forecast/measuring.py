"""What a machine and its broker take their time for, from short real runs without sending time.

Each of them has batches of another size, so that what a message costs can be told from what a batch
costs: by least squares. The CPU of producer and worker is known by their threads. The same runs are
then simulated with these costs. If the real ones took longer, threads were in one another's way, or
the broker was: all that takes CPU costs as much more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import median

import numpy as np

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS, NO_COSTS, Costs
from sms_pipeline.forecast.rehearsal import rehearse
from sms_pipeline.forecast.setting import exact_setting

#: The name of a run that measures, and of its profile.
MEASURE = "measure"
#: The tag that says on which machine it was.
MACHINE = "measured on"
#: Runs that measure: messages, and the size of their batches. Each takes a few seconds.
RUNS = ((2_000_000, 20_000), (1_000_000, 5_000), (200_000, 1_000))
#: A run of one message: nothing stands in its way.
PROBE = (1, 1_000)
#: Senders that take no time: no batch waits for them.
_SENDERS = 1_000
_SEED = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured, and when."""

    machine: str
    #: Seconds since the epoch.
    at: float
    #: Whether broker, producer and worker were one process.
    embedded: bool
    #: What things cost there.
    costs: Costs


@dataclass(frozen=True, slots=True)
class Sample:
    """What a run without sending time took."""

    simulation: Simulation
    #: From its first dispatch to its last settlement.
    seconds: float
    #: CPU seconds of the producer for each group of batches that it records …
    turn: float
    #: … for all else …
    producer: float
    #: … and of the worker.
    worker: float
    #: Messages and batches that were dispatched …
    messages: int
    batches: int
    #: … those of all attempts …
    attempts: int
    settlements: int
    #: … and batches of which a part was handed on.
    handed_on: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What took which time in a run of one message, seconds. The names are those of `Costs`."""

    start: float
    publish: float
    deliver: float
    settle: float


def run_to_measure(planned: Simulation, machine: str, messages: int, batch_size: int) -> Simulation:
    """A run without sending time in which as large a share of the attempts fails as is planned."""
    senders = sum(one.count for one in planned.senders)
    failure_rate = sum(one.count * one.failure_rate for one in planned.senders) / senders
    profile = SenderProfile(name=MEASURE, mean_time=0.0, failure_rate=failure_rate, count=_SENDERS)
    return Simulation(
        name=MEASURE,
        tags={MACHINE: machine},
        messages_from="measure",
        num_messages=messages,
        batch_size=batch_size,
        senders=(profile,),
        max_text_length=planned.max_text_length,
        retry=RetryPolicy(max_attempts=planned.retry.max_attempts or 2, backoff=0.0),
    )


def costs_of(samples: Sequence[Sample], probes: Sequence[Probe]) -> Costs:
    """What things cost where such runs took so long."""
    delays = {
        field.name: median(max(getattr(probe, field.name), 0.0) for probe in probes)
        for field in fields(Probe)
    }
    make_message, publish_batch = _each(
        [(one.messages, one.batches, one.producer) for one in samples]
    )
    # A settlement and handing a remainder on cost about the same; there is no run with only one.
    play_message, play_batch = _each(
        [(one.attempts, one.settlements + one.handed_on, one.worker) for one in samples]
    )
    alone = replace(
        COSTS,
        **delays,
        turn=median(one.turn for one in samples),
        make_message=make_message,
        publish_batch=publish_batch,
        play_message=play_message,
        play_batch=play_batch,
        retry_batch=play_batch,
    )
    return alone.busier(_stretch(samples, alone))


def _each(rows: Sequence[tuple[int, int, float]]) -> tuple[float, float]:
    """What a message and a batch cost, of (messages, batches, CPU seconds): least squares.

    Each row counts for the same, however long it took, and nothing costs less than nothing.
    """
    counts = np.array([(messages / cost, batches / cost) for messages, batches, cost in rows])
    (message, batch), *_ = np.linalg.lstsq(counts, np.ones(len(rows)), rcond=None)
    if message < 0:
        return 0.0, float(1 / counts[:, 1].mean())
    if batch < 0:
        return float(1 / counts[:, 0].mean()), 0.0
    return float(message), float(batch)


def _stretch(samples: Sequence[Sample], costs: Costs) -> float:
    """How many times as long as simulated the runs took."""
    simulated = sum(seconds_of(one.simulation, costs) for one in samples)
    return sum(one.seconds for one in samples) / simulated


def seconds_of(simulation: Simulation, costs: Costs) -> float:
    """From the first dispatch to the last settlement, in one process."""
    return rehearse(exact_setting(simulation, None, costs), _SEED).seconds - costs.start


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many messages a second a machine can do at most, with as many failures as planned."""

    #: Producer and worker in one process.
    one_process: float
    #: A producer in a process of its own, and each worker.
    producer: float
    worker: float


def ceiling_of(planned: Simulation, costs: Costs) -> Ceiling:
    """With batches of the largest size."""
    messages, size = RUNS[0]
    simulation = run_to_measure(planned, MEASURE, messages, size)
    producer = replace(NO_COSTS, make_message=costs.make_message, publish_batch=costs.publish_batch)
    worker = replace(
        NO_COSTS,
        play_message=costs.play_message,
        play_batch=costs.play_batch,
        retry_batch=costs.retry_batch,
    )
    return Ceiling(*(messages / seconds_of(simulation, one) for one in (costs, producer, worker)))


def by_name(costs: Costs) -> Mapping[str, float]:
    """As the ledger keeps them."""
    return asdict(costs)


def from_names(costs: Mapping[str, float]) -> Costs:
    """As the ledger had them; what it does not know costs what it usually does."""
    known = {name: costs[name] for name in Costs.__slots__ if name in costs}
    return replace(COSTS, **known)
