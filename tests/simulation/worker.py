"""A worker process: the real one, but for its threads, its senders' time and its connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from celery.exceptions import Reject

from sms_pipeline.celery import app
from sms_pipeline.core.batch import TASK_NAME, Batch
from sms_pipeline.core.errors import LedgerUnavailableError, StoppingError
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.submission import Finished, Seconds, Terms
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.senders import Senders
from sms_pipeline.worker.pipeline import Pipeline
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.writer import LedgerWriter
from tests.chaos.checker import Played
from tests.simulation import hub as hubs
from tests.simulation.broker import Broker, Message
from tests.simulation.chance import PLAY, Chance, Fault
from tests.simulation.hub import Flag, Future, Hub, Inbox, Process, ProcessClock

#: Senders are stepped this often; when each message ends does not depend on it.
_TICK = 0.5
_LATE_SECONDS = 30.0
_AWAIT_SECONDS = 1.0

#: What Celery runs, to be given a task of ours.
run_send_sms = app.tasks[TASK_NAME].run.__func__


@dataclass
class Journal:
    """What was really sent, noted apart from all that the pipeline records."""

    entries: list[Played]
    deadline: float | None

    def note(
        self, worker: str, clock: ProcessClock, batch: Batch, sent: Outcomes, ended: Seconds
    ) -> None:
        """Note an attempt whose messages have all ended, at these moments on the true clock."""
        indexes = batch.first_index + batch.positions()
        # By which clock a deadline goes: that of the producer on this machine, or our own.
        offset = batch.offset if batch.boot == clock.host else clock.offset
        in_time = np.ones(len(ended), np.bool_)
        if self.deadline is not None:
            in_time = EPOCH + ended + offset <= batch.started_at + self.deadline
        delivered = indexes[sent.delivered & in_time]
        self.entries.append(
            Played(
                worker,
                batch.number,
                batch.attempt,
                frozenset(indexes.tolist()),
                frozenset(delivered.tolist()),
            )
        )


class OwnGateway:
    """Draws outcomes of its own for each attempt.

    Those of the simulated gateway repeat, which would hide that two workers' outcomes got mixed.
    """

    def __init__(self, profile: SenderProfile, rng: np.random.Generator) -> None:
        self._profile = profile
        self._rng = rng

    def attempt(self, batch: Batch) -> Outcomes:
        """See `Gateway.attempt`."""
        outcomes = self.draw(batch)
        hubs.current().sending = batch, outcomes
        return outcomes

    def draw(self, batch: Batch) -> Outcomes:
        """How long each message takes, and whether it is delivered."""
        profile, count = self._profile, batch.count
        durations = self._rng.random(count) * 2 * profile.mean_time
        return Outcomes(durations, self._rng.random(count) >= profile.failure_rate)


class VirtualDriver:
    """As `worker.driver.SenderDriver`, on virtual time."""

    def __init__(
        self, process: Process, chance: Chance, profile: SenderProfile, journal: Journal
    ) -> None:
        self._process = process
        self._chance = chance
        self._journal = journal
        self._senders = Senders(process.hub.agenda, [profile], _TICK)
        self._rng = chance.stream(f"{process.name}'s senders")
        self._waiting: dict[Future, None] = {}
        self._stopping = False

    @property
    def heartbeat(self) -> int:
        return int(self._process.hub.now)

    def play(
        self, profile: str, durations: Seconds, give_up_at: float, _sent: None, terms: Terms
    ) -> Finished:
        """See `SenderDriver.play`."""
        if self._stopping:
            raise StoppingError("the worker is stopping")
        batch, outcomes = hubs.current().sending
        about = f"batch {batch.number}, attempt {batch.attempt + 1}"
        fault = self._chance.fault(self._process.name, "play", PLAY, about)
        if fault is Fault.DIES_BEFORE:
            self._process.die()
        if fault is Fault.DIES_DURING:
            self._process.hub.agenda.after(
                self._rng.random() * float(durations.sum()), self._process.kill
            )
        future = Future()
        self._waiting[future] = None
        self._senders.play(profile, durations, give_up_at, future.set_result, terms)
        try:
            finished: Finished = future.result()
        finally:
            del self._waiting[future]
        self._journal.note(
            self._process.name, self._process.clock, batch, outcomes, finished.finish_times
        )
        if fault is Fault.LATE:
            hubs.sleep(self._rng.random() * _LATE_SECONDS)
        if fault is Fault.DIES_AFTER:
            self._process.die()
        return finished

    def stop(self) -> None:
        self._stopping = True
        for future in self._waiting:
            future.set_exception(StoppingError("the worker is stopping"))

    def join(self) -> None:
        """Nothing of it goes on after `stop`."""


class VirtualWriter(LedgerWriter):
    """The real one, as a thread on virtual time."""

    def begin(self, process: Process) -> None:
        """Start that thread."""
        self._inbox, self._ending, self._ended = Inbox(), Flag(), Future()  # type: ignore[assignment]
        process.start(self._serve)

    def _serve(self) -> None:
        self._run()
        self._ended.set_result(None)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has committed what was in hand."""
        self._ended.result()


class VirtualWorker(Worker):
    """The real one, on virtual time."""

    def __init__(
        self,
        ledger: Any,
        profile: SenderProfile,
        process: WorkerProcess,
        chance: Chance,
        journal: Journal,
    ) -> None:
        rng = chance.numbers(f"{process.name}'s gateway")
        super().__init__(
            ledger, [profile], lambda known: OwnGateway(known, rng), clock=process.clock
        )
        self._process = process
        self.id = process.name
        self.stopping = Flag()  # type: ignore[assignment]
        self._rng = chance.stream(f"{process.name}'s jitter")
        self._driver = VirtualDriver(process, chance, profile, journal)  # type: ignore[assignment]
        self._writer = VirtualWriter(
            ledger,
            self.id,
            lambda: self._driver.heartbeat,
            self.stopping,  # type: ignore[arg-type]
            process.clock,
            self.signs,
            self._look,
        )

    def _look(self) -> None:
        """Celery's main loop, which does so every second, is none of the threads here."""
        if self.takeover and not self.stopping.is_set():
            self.takeover.look()
            self._process.take_over(self.takeover.wanted)

    def start(self) -> None:
        """Join, once the ledger is there, and start the thread that commits."""
        while True:
            try:
                self.ledger.join(self.id, self.profiles)
                break
            except LedgerUnavailableError:
                hubs.sleep(_AWAIT_SECONDS)
        self._writer.begin(self._process)


class VirtualPublisher:
    """What a task publishes with; see `broker.publisher.Publisher`."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process

    def retry(self, _task: object, batch: Batch, delay: int) -> None:
        """See `Publisher.retry`."""
        self._broker.publish(self._process, "publish again later", Message.of(batch), delay)


class WorkerProcess(Process):
    """A process that consumes the queue of one profile."""

    def __init__(
        self,
        hub: Hub,
        name: str,
        host: str,
        wall_offset: float,
        broker: Broker,
        profile: SenderProfile,
        prefetch: int,
        drain: float,
        is_foreign: bool = False,
    ) -> None:
        """
        Args:
            hub: the time.
            name: its id.
            host: where it runs.
            wall_offset: see `Process`.
            broker: where it consumes.
            profile: its senders.
            prefetch: batches that it takes in hand.
            drain: how long it lets them go on when it is told to stop, seconds.
            is_foreign: whether it has another ledger.
        """
        super().__init__(hub, name, host, wall_offset)
        self.process = self
        self._drain = drain
        self.profile = profile.name
        self.is_foreign = is_foreign
        self.senders = profile
        #: Which of the setting's workers it stands for.
        self.place = 0
        #: See `celery.worker.state.should_stop`.
        self.should_stop: int | None = None
        self._broker = broker
        self._prefetch = prefetch
        self._stopping = False

    def install(self, worker: Worker) -> None:
        """Say what its tasks work with, and begin."""
        self.parts = Pipeline(worker, VirtualPublisher(self._broker, self))  # type: ignore[arg-type]
        self.start(self._begin)

    def _begin(self) -> None:
        self.parts.worker.start()
        self.connection = self._broker.connect(self, self._prefetch)

    def take_over(self, profiles: Iterable[str]) -> None:
        """Consume the queues of these profiles, too, and no others."""
        if hasattr(self, "connection"):
            self._broker.also_consume(self.connection, frozenset(profiles))

    def receive(self, tag: int, message: Message) -> None:
        """See `Receiver.receive`."""
        self.start(lambda: self._take(tag, message))

    def _take(self, tag: int, message: Message) -> None:
        """What a pool thread does, and Celery with what came of it."""
        info = {"redelivered": message.returns > 0}
        request = SimpleNamespace(delivery_info=info, is_eager=False)
        vars(request)["x-delivery-count"] = message.returns
        try:
            self.run_task(tag, SimpleNamespace(request=request), message.body)
        except Reject as rejection:
            self._broker.reject(self.connection, tag, rejection.requeue)
        else:
            self._broker.acknowledge(self.connection, tag)
        if self.should_stop is not None:
            self.terminate()

    def run_task(self, _tag: int, bound: Any, body: Any) -> Any:
        """Run `send_sms`."""
        return run_send_sms(bound, body)

    def terminate(self) -> None:
        """SIGTERM: let what is in hand go on for a while, give the rest back, sign off."""
        if not self._stopping and self.alive:
            self._stopping = True
            self.start(self._end)

    def _end(self) -> None:
        worker = self.parts.worker
        if not hasattr(self, "connection"):
            self.die()
        self.connection.prefetch = 0
        hubs.sleep(self._drain)
        worker.abandon()
        hubs.sleep(0.1)
        worker.stop()
        self.die()

    def kill(self) -> None:
        """See `Process.kill`. The broker takes a while to notice."""
        if self.alive and hasattr(self, "connection"):
            noticed = self._broker.noticed_after()
            self.hub.agenda.after(noticed, lambda: self._broker.cut(self.connection, forever=True))
        super().kill()
