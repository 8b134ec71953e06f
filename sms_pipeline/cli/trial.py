"""Short runs without sending time, in this process: what they take is what the machine takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.cli.parts import Parts, start_run
from sms_pipeline.cli.rehearsal import working
from sms_pipeline.config import cpu
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.errors import PipelineError
from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.measuring import Probe, Sample
from sms_pipeline.ledger.measurements import settlements_of
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.background import Dispatch
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.producer import Producer
from sms_pipeline.producer.seed import draw_seed
from sms_pipeline.worker.in_hand import threads_for
from sms_pipeline.worker.process import Worker

#: How often the counters are read while a run is on.
_POLL_SECONDS = 0.02
#: Threads of a worker, by the beginning of their names; Celery gives those of its pool no name.
_WORKER_THREADS = ("consumer", "sender-driver", "ledger-writer", "ThreadPoolExecutor")
#: What a producer asks of the ledger for a group of batches.
_TURN = ("snapshot", "record_batches", "mark_published")


class Call(NamedTuple):
    """A call that was timed."""

    began: float
    ended: float
    #: CPU seconds.
    cpu: float

    @property
    def seconds(self) -> float:
        """From its begin to its end."""
        return self.ended - self.began


class Stopwatch:
    """Times the calls of some methods of an object."""

    def __init__(self, target: Ledger | Publisher, *names: str) -> None:
        self._target = target
        self._calls: dict[str, list[Call]] = {name: [] for name in names}
        for name in names:
            setattr(target, name, self._timed(name, getattr(target, name)))

    def calls(self, name: str) -> list[Call]:
        """Those of one method since they were taken last."""
        found, self._calls[name] = self._calls[name], []
        return found

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            began, cpu_began = MACHINE_CLOCK.monotonic(), cpu.call_seconds()
            try:
                return call(*arguments, **options)
            finally:
                took = cpu.call_seconds() - cpu_began
                self._calls[name].append(Call(began, MACHINE_CLOCK.monotonic(), took))

        return timed


class Trial:
    """Runs one after the other on one worker."""

    def __init__(self, parts: Parts, worker: Worker, ended: threading.Event) -> None:
        self._parts = parts
        self._worker = worker
        self._ended = ended
        self._unplayed = [parts.run]
        # Looking on is not timed.
        self._snapshot = parts.ledger.snapshot
        self._ledger = Stopwatch(parts.ledger, *_TURN, "standing", "settle")
        self._publisher = Stopwatch(parts.publisher, "publish")

    def probe(self, simulation: Simulation) -> Probe:
        """Play a run of one message."""
        run = self._play(simulation)
        calls = self._taken()
        publish, standing, settle = (calls[name][0] for name in ("publish", "standing", "settle"))
        return Probe(
            start=self._origin(run) - run.started_at,
            publish=publish.seconds - publish.cpu,
            deliver=standing.began - publish.ended,
            settle=settle.ended - standing.ended,
        )

    def sample(self, simulation: Simulation) -> Sample:
        """Play a run, and see what CPU it took."""
        before = self._cpu()
        run = self._play(simulation)
        producer, worker = (now - then for now, then in zip(self._cpu(), before, strict=True))
        calls = self._taken()
        snapshot = self._snapshot(run)
        batches = -(-run.total // simulation.batch_size_for(simulation.senders[0]))
        settlements = settlements_of(self._parts.ledger, run.id)
        turns = sum(call.cpu for name in _TURN for call in calls[name])
        return Sample(
            simulation=simulation,
            seconds=(snapshot.settled_at or run.started_at) - self._origin(run),
            turn=turns / len(calls["record_batches"]),
            producer=max(producer - turns, 0.0),
            worker=worker,
            messages=run.total,
            batches=batches,
            attempts=snapshot.counts.attempts,
            settlements=settlements,
            handed_on=settlements - batches,
        )

    def _origin(self, run: Run) -> float:
        origin = self._parts.ledger.origin(run.id)
        return run.started_at if origin is None else origin

    def _taken(self) -> Mapping[str, list[Call]]:
        watches = {"publish": self._publisher} | dict.fromkeys(
            (*_TURN, "standing", "settle"), self._ledger
        )
        return {name: watch.calls(name) for name, watch in watches.items()}

    def _cpu(self) -> tuple[float, float]:
        """CPU seconds of producer and worker so far; this thread only looks on."""
        threads = threading.enumerate()
        looking = cpu.call_seconds()
        working = cpu.thread_seconds(one for one in threads if one.name.startswith(_WORKER_THREADS))
        both = cpu.process_seconds() - looking
        # Where a system can't tell one from the other, they are taken for alike.
        worker = both / 2 if working is None else working
        return both - worker, worker

    def _play(self, simulation: Simulation) -> Run:
        """A run from start to end.

        Raises:
            PipelineError: it came to no end.
        """
        run, ledger = self._start(simulation), self._parts.ledger
        loads = Loads(simulation, trusted=(self._worker.id,), max_batches=threads_for)
        producer = Producer(ledger, self._parts.publish, run, loads)
        dispatch = Dispatch(producer, Producer.dispatch, self._ended)
        dispatch.start()
        try:
            while not self._snapshot(run).done:
                if self._ended.wait(_POLL_SECONDS):
                    raise dispatch.error or PipelineError(
                        "the worker ended before the run was done"
                    )
        finally:
            producer.stop()
        dispatch.join()
        # What has just been committed is noted a moment later.
        self._ended.wait(_POLL_SECONDS)
        return run

    def _start(self, simulation: Simulation) -> Run:
        """A new run; the first one is there already."""
        if self._unplayed:
            return self._unplayed.pop()
        embedded = self._parts.settings.embedded
        return self._parts.ledger.start_run(simulation, draw_seed(), embedded)


@contextmanager
def trial(settings: Settings, first: Simulation) -> Iterator[Trial]:
    """A worker for runs like `first`, which is the first one to play, and what makes them.

    Raises:
        PipelineError: the broker or the ledger can't be reached.
    """
    parts = start_run(settings, first)
    worker = Worker(parts.ledger, first.senders)
    with working(worker, parts) as ended:
        yield Trial(parts, worker, ended)
