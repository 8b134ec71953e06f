"""One run on virtual time, from start to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from sms_pipeline.core.checks import messages_for
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import PipelineError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Run, Settlement, Snapshot
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


class Mark(NamedTuple):
    """A settlement; counts are messages."""

    #: Seconds from the start of the run.
    at: float
    profile: str
    #: 0 is the first.
    attempt: int
    delivered: int
    failed: int
    retried: int
    send_seconds: float
    transit_seconds: float

    @property
    def ended(self) -> int:
        """Messages that came to a terminal state, but for those that expired."""
        return self.delivered + self.failed

    @property
    def numbers(self) -> tuple[int, int, int, float, float]:
        """What can be added up."""
        return self.delivered, self.failed, self.retried, self.send_seconds, self.transit_seconds


@dataclass(frozen=True, slots=True)
class Course:
    """What became of a simulated run."""

    #: At its end.
    snapshot: Snapshot
    #: All settlements, in order of time.
    marks: tuple[Mark, ...]
    #: How busy the busiest process was until most messages had ended, 0 to 1.
    load: float

    @property
    def seconds(self) -> float:
        """From the start to the last settlement."""
        return (self.snapshot.settled_at or EPOCH) - EPOCH

    def reached_after(self, share: float) -> float | None:
        """Seconds until `share` (0 to 1) of the messages were delivered; None: never."""
        wanted = messages_for(share, self.snapshot.total)
        messages = 0
        for mark in self.marks:
            messages += mark.delivered
            if messages >= wanted:
                return mark.at
        return None


class _Record:
    """Notes what is settled when."""

    def __init__(self, total: int) -> None:
        self._left = total
        self._marks: list[Mark] = []

    def see(self, one: Settlement) -> None:
        self._left -= one.delivered + one.failed + one.expired + one.cancelled
        *_, attempt = one.key
        self._marks.append(
            Mark(
                one.settled_at - EPOCH,
                one.profile,
                attempt,
                one.delivered,
                one.failed,
                one.retried,
                one.send_seconds,
                one.transit_seconds,
            )
        )

    def is_full(self) -> bool:
        return self._left <= 0

    def marks(self) -> tuple[Mark, ...]:
        return tuple(sorted(self._marks))


#: Opens the books of a run, in which these workers have signed on.
Opening = Callable[[Run, Mapping[str, Sequence[SenderProfile]], Clock], Books]


def rehearse(setting: Setting, seed: int, opening: Opening = MemoryBooks) -> Course:
    """Play a run with this seed, counted in the books that `opening` opens.

    Raises:
        PipelineError: it did not end.
    """
    simulation = setting.simulation
    agenda = Agenda()
    run = Run(_RUN, EPOCH, seed, simulation.num_messages, simulation, setting.workers is None)
    workers = _workers(setting)
    books = opening(run, workers, agenda)
    world = World(run, agenda, Broker(agenda), books, setting.costs, setting.stride, setting.slower)
    record = _Record(run.total)
    world.on_settled.append(record.see)
    processors = _start(setting, workers, world)
    agenda.run(record.is_full)
    if not record.is_full():
        raise PipelineError("the simulated run does not end; this is a mistake in the simulation")
    marks = record.marks()
    return Course(books.snapshot(run), marks, _load(processors, marks))


def _load(processors: Iterable[Processor], marks: Sequence[Mark]) -> float:
    """Later than that, only retries are waited for."""
    ended = list(accumulate(mark.ended for mark in marks))
    at = next((m.at for m, sofar in zip(marks, ended, strict=True) if sofar >= _MOST * ended[-1]))
    return min(max(one.busy for one in processors) / at, 1.0) if at else 0.0


#: Of the messages.
_MOST = 0.9


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
) -> list[Processor]:
    """Let workers and producer begin. Inside one process they share its CPU and know each other."""
    inside = setting.workers is None
    producing = Processor(world.agenda)
    processors = [producing]
    for name, profiles in workers.items():
        threads = sum(setting.threads[profile.name] for profile in profiles)
        processor = producing if inside else Processor(world.agenda)
        processors.append(processor)
        VirtualWorker(name, profiles, threads, processor, world)
    trusted = workers if inside else ()
    loads = Loads(setting.simulation, trusted, setting.max_batches())
    VirtualProducer(loads, producing, world).begin()
    return processors
