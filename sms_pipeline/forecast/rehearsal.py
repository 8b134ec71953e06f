"""One run on virtual time, from start to end."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sms_pipeline.core.checks import messages_for
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Run, Settlement, Snapshot
from sms_pipeline.errors import PipelineError
from sms_pipeline.forecast.agenda import EPOCH, Agenda
from sms_pipeline.forecast.broker import Broker
from sms_pipeline.forecast.costs import Processor
from sms_pipeline.forecast.producers import VirtualProducer
from sms_pipeline.forecast.setting import Setting
from sms_pipeline.forecast.standing import Books, MemoryBooks
from sms_pipeline.forecast.workers import VirtualWorker
from sms_pipeline.forecast.world import World
from sms_pipeline.producer.load import Loads

#: The worker that plays all profiles in the process of the producer.
_INSIDE = "inside"
_RUN = 1


@dataclass(frozen=True, slots=True)
class Course:
    """What became of a simulated run."""

    #: At its end.
    snapshot: Snapshot
    #: (seconds from the start, messages delivered by then), at each settlement.
    delivered: tuple[tuple[float, int], ...]
    #: The last attempt that messages of each profile needed; 0 is the first.
    last_attempts: Mapping[str, int]

    @property
    def seconds(self) -> float:
        """From the start to the last settlement."""
        return (self.snapshot.settled_at or EPOCH) - EPOCH

    def reached_after(self, share: float) -> float | None:
        """Seconds until `share` (0 to 1) of the messages were delivered; None: never."""
        wanted = messages_for(share, self.snapshot.total)
        return next((at for at, messages in self.delivered if messages >= wanted), None)


class _Record:
    """Adds up what is delivered when."""

    def __init__(self, total: int) -> None:
        self._left = total
        self._settlements: list[tuple[float, int]] = []
        self.last_attempts: dict[str, int] = {}

    def see(self, one: Settlement) -> None:
        self._left -= one.delivered + one.failed + one.expired + one.cancelled
        self._settlements.append((one.settled_at - EPOCH, one.delivered))
        *_, attempt = one.key
        self.last_attempts[one.profile] = max(attempt, self.last_attempts.get(one.profile, 0))

    def is_full(self) -> bool:
        return self._left <= 0

    def delivered(self) -> tuple[tuple[float, int], ...]:
        messages, course = 0, []
        for at, delivered in sorted(self._settlements):
            messages += delivered
            course.append((at, messages))
        return tuple(course)


#: Opens the books of a run, in which these workers have signed on.
Opening = Callable[[Run, Mapping[str, Sequence[SenderProfile]], Clock], Books]


def rehearse(setting: Setting, seed: int, opening: Opening = MemoryBooks) -> Course:
    """Play a run with this seed, counted in the books that `opening` opens.

    Raises:
        PipelineError: it did not end.
    """
    simulation = setting.simulation
    agenda, rng = Agenda(), random.Random(seed)  # noqa: S311 - a simulation, not a secret
    run = Run(_RUN, EPOCH, seed, simulation.num_messages, simulation, setting.workers is None)
    workers = _workers(setting)
    books = opening(run, workers, agenda)
    world = World(run, agenda, Broker(agenda), books, setting.costs, setting.tick, rng)
    record = _Record(run.total)
    world.on_settled.append(record.see)
    _start(setting, workers, world)
    agenda.run(record.is_full)
    if not record.is_full():
        raise PipelineError("the simulated run does not end; this is a mistake in the simulation")
    return Course(books.snapshot(run), record.delivered(), record.last_attempts)


def _workers(setting: Setting) -> dict[str, tuple[SenderProfile, ...]]:
    profiles = setting.simulation.senders
    if setting.workers is None:
        return {_INSIDE: profiles}
    return {
        f"{profile.name}-{number}": (profile,)
        for profile in profiles
        for number in range(setting.workers)
    }


def _start(
    setting: Setting, workers: Mapping[str, tuple[SenderProfile, ...]], world: World
) -> None:
    """Let workers and producer begin. Inside one process they share its CPU and know each other."""
    inside = setting.workers is None
    producing = Processor(world.agenda)
    for name, profiles in workers.items():
        threads = sum(setting.threads[profile.name] for profile in profiles)
        processor = producing if inside else Processor(world.agenda)
        VirtualWorker(name, profiles, threads, processor, world)
    loads = (
        Loads(setting.simulation, trusted=workers, max_batches=setting.threads_for)
        if inside
        else Loads(setting.simulation)
    )
    VirtualProducer(loads, producing, world).begin()
