"""One simulated run: its processes, what befalls them, and how it ends."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import tenacity.wait

from sms_pipeline.core.records import Control
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.ledger import steering
from sms_pipeline.producer import dispatching
from sms_pipeline.worker import task, turns, writer
from tests.simulation import hub as hubs
from tests.simulation.broker import Broker, Message
from tests.simulation.chance import WORLD, Chance, Fault, Place
from tests.simulation.database import database
from tests.simulation.effects import ForeignLedger, ProcessLedger
from tests.simulation.hub import Future, Hub, Process, ProcessClock
from tests.simulation.producer import Command
from tests.simulation.setting import PROFILES, Setting
from tests.simulation.worker import Journal, VirtualWorker, WorkerProcess

#: The world makes no more trouble after that.
HORIZON_SECONDS = 30.0
#: Whatever is left of a healthy run is done by then: seconds, and things that happened.
PATIENCE_SECONDS = 3_000.0
MOST_ACTS = 30_000
#: No clock is off by more: beyond `rules.CLOCKS_DIFFER_SECONDS` the audit says so.
SKEW_SECONDS = 140.0
#: How long a worker that is told to stop lets its batches go on.
_DRAINS = (0.0, 0.2, 2.0)
#: Old messages that come back at once.
_OLD = 5
_PRODUCER_HOST = "h0"
_FOREIGN_ID = "elsewhere"
#: No worker has it: even those of another ledger must put such a batch back.
_THIRD_ID = "nowhere"


class StuckError(Exception):
    """The run does not come to an end."""


class World:
    """What there is in one run."""

    def __init__(self, seed: int, setting: Setting, keep: Collection[Place] | None = None) -> None:
        """
        Args:
            seed: decides all that is left to chance.
            setting: what the run is like.
            keep: see `Chance`.
        """
        self.chance = chance = Chance(seed, keep)
        self.setting = setting
        chance.rate, chance.kinds = setting.rate, setting.kinds
        self.hub = Hub()
        self.database = database()
        self.database.clear()
        self._rng = chance.stream("world's choices")
        self._offsets = {
            host: 0.0 if host == _PRODUCER_HOST else self._rng.uniform(-1, 1) * SKEW_SECONDS
            for host in dict.fromkeys(setting.hosts)
        }
        self.broker = Broker(self.hub, chance, PROFILES, setting.delivery_limit)
        self.journal = Journal([], setting.simulation.deadline)
        self.own = self.database.open(ProcessClock(self.hub, _PRODUCER_HOST, 0.0))
        self.run = self.own.start_run(setting.simulation, seed, started_at=EPOCH)
        self.workers: list[WorkerProcess] = []
        self.commands: list[Command] = []
        self._names = 0
        self._asked_at = -1.0
        self._acts = 0

    # Making processes

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}"

    def _ledger(self, process: Process) -> ProcessLedger:
        return ProcessLedger(self.database.open(process.clock), process, self.chance, self.database)

    def start_worker(self, place: int, is_foreign: bool = False) -> WorkerProcess:
        """A worker on the host, and for the profile, of that place."""
        setting = self.setting
        profile = setting.simulation.profile(setting.workers[place])
        host = setting.hosts[place]
        process = WorkerProcess(
            self.hub,
            self._name("foreign" if is_foreign else "worker"),
            host,
            self._offsets[host],
            self.broker,
            profile,
            setting.prefetch,
            self._rng.choice(_DRAINS),
            is_foreign,
        )
        process.place = place
        ledger = self._ledger(process)
        if is_foreign:
            ledger = ForeignLedger(ledger, _FOREIGN_ID)
        worker = VirtualWorker(ledger, profile, process, self.chance, self.journal)
        process.install(worker)
        self.workers.append(process)
        return process

    def command(self, name: str) -> Command:
        """A command of the user's, on the producer's host."""
        command = Command(
            self.hub,
            self._name(name),
            self._offsets[_PRODUCER_HOST],
            self.broker,
            self.chance,
            _PRODUCER_HOST,
        )
        self.commands.append(command)
        return command

    def resume(self, force: bool = True) -> None:
        command = self.command("resume")
        command.resume(self._ledger(command), self.run.id, force)

    def steer(self, wanted: Control) -> None:
        command = self.command(str(wanted))
        command.steer(self._ledger(command), self.run.id, wanted)

    # The course of a run

    def play(self) -> None:
        """From the start until all that went wrong is over."""
        for place in range(len(self.setting.workers)):
            self.start_worker(place)
        producer = self.command("producer")
        producer.produce(self._ledger(producer), self.run)
        for moment in self.setting.disturbances:
            self.hub.agenda.at(moment, self._disturb)
        self.hub.agenda.after(self.setting.replace, self._replace)
        last = self.setting.disturbances[-1] if self.setting.disturbances else 0.0
        self._run_until(lambda: self.is_quiet and self.hub.now > last, HORIZON_SECONDS)

    def heal(self) -> None:
        """Nothing goes wrong any more; let what is left come to its end."""
        self.chance.healed = True
        self.broker.heal()
        for worker in self.workers:
            if worker.is_foreign and worker.alive:
                worker.terminate()
        # A `pause` that comes late would otherwise pause the run for good.
        steering = [one for one in self.commands if one.steers]
        self._run_until(
            lambda: not any(one.busy for one in steering), self.hub.now + PATIENCE_SECONDS
        )
        if self.own.run(self.run.id).control is Control.PAUSED:
            self.steer(Control.RUNNING)
        self.settle_down()

    def settle_down(self) -> None:
        """Let the run go on until nobody has anything to do.

        Raises:
            StuckError: somebody still had.
        """
        until = self.hub.now + PATIENCE_SECONDS
        if not self._run_until(lambda: self.is_quiet, until):
            raise StuckError(f"not quiet after {PATIENCE_SECONDS:.0f} s: {self._who_is_busy()}")

    def _run_until(self, ended: Callable[[], bool], until: float) -> bool:
        """Whether that came before the time was up."""
        agenda, crashes = self.hub.agenda, self.hub.crashes
        met = False

        def over() -> bool:
            nonlocal met
            self._acts += 1
            met = ended()
            return met or bool(crashes) or agenda.monotonic() > until or self._acts > MOST_ACTS

        agenda.run(over)
        if self._acts > MOST_ACTS:
            raise StuckError(f"no end after {MOST_ACTS:,} steps: {self._who_is_busy()}")
        return met

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way, and no command at work."""
        if any(one.busy for one in self.commands):
            return False
        return self.broker.empty or (self._left_alone() and self._what_waits_is_settled())

    def _what_waits_is_settled(self) -> bool:
        """Asked once a second: it reads rows."""
        if self.hub.now - self._asked_at < 1.0:
            return False
        self._asked_at = self.hub.now
        unsettled = {entry.row.number for entry in self.own.unsettled(self.run.id)}
        waiting = {message.batch for line in self.broker.lines.values() for message in line}
        return not unsettled & waiting

    def _left_alone(self) -> bool:
        """Whether nothing is left but in queues without workers: what came twice, and garbage."""
        served = {one.profile for one in self.workers if one.alive}
        return self.broker.only_in(set(self.broker.lines) - served)

    def _who_is_busy(self) -> str:
        commands = [one.name for one in self.commands if one.busy]
        holding = [
            f"{one.receiver.process.name} holds {len(one.unacked)}"
            for one in self.broker.connections
            if one.unacked
        ]
        waiting = [
            f"{len(line)} wait for {name}" for name, line in self.broker.lines.items() if line
        ]
        late = [f"{self.broker.delayed} are delayed"] if self.broker.delayed else []
        return "; ".join([*commands, *holding, *waiting, *late])

    def _replace(self) -> None:
        """Start a worker for each place that has none."""
        alive = {one.place for one in self.workers if one.alive and not one.is_foreign}
        for place in range(len(self.setting.workers)):
            if place not in alive:
                self.start_worker(place)
        self.hub.agenda.after(self.setting.replace, self._replace)

    @property
    def was_interrupted(self) -> bool:
        """Whether a command did not come to its end: what it had begun is left to `resume`."""
        return any(not one.done for one in self.commands)

    def bring_back(self) -> None:
        """Old messages come once more, and somebody resumes a run that has ended."""
        stored = self.broker.stored
        for _ in range(min(_OLD, len(stored))):
            self.broker.put(self._rng.choice(stored))
        self.resume()

    # Trouble

    def _disturb(self) -> None:
        fault = self.chance.strike("world", "the world", WORLD)
        if fault is not None:
            _DISTURBANCES[fault](self)

    def _some(self, processes: list[Any]) -> Any:
        """One of those that are alive; None if nobody is."""
        alive = [one for one in processes if one.alive]
        return self._rng.choice(alive) if alive else None

    def _kill_worker(self) -> None:
        if worker := self._some(self.workers):
            worker.kill()

    def _terminate_worker(self) -> None:
        if worker := self._some(self.workers):
            worker.terminate()

    def _kill_command(self) -> None:
        if command := self._some([one for one in self.commands if one.busy]):
            command.kill()

    def _a_worker_joins(self) -> None:
        self.start_worker(self._rng.randrange(len(self.setting.workers)))

    def _a_foreign_worker_joins(self) -> None:
        self.start_worker(self._rng.randrange(len(self.setting.workers)), is_foreign=True)

    def _lose_queue(self) -> None:
        self.broker.lose_queue(self._rng.choice(PROFILES))

    def _bring_old_message(self) -> None:
        if self.broker.stored:
            self.broker.put(self._rng.choice(self.broker.stored))

    def _put_garbage(self) -> None:
        self.broker.put(Message(self._rng.choice(PROFILES), self._garbage()))

    def _garbage(self) -> Any:
        batches = [one.body for one in self.broker.stored if one.batch is not None]
        if not batches or self._rng.random() < 0.3:
            return self._rng.choice((None, 5, "x", [], {}, {"run": 1}))
        changed = self._rng.choice(
            (
                {"ledger": _THIRD_ID},
                {"run": 77},
                {"number": 7_777},
                {"profile": "nobody's"},
                {"first_index": 3_000},
                {"offsets": "!"},
                {"size": 0},
            )
        )
        return self._rng.choice(batches) | changed

    def _set_clock(self) -> None:
        """Of one host: those that start there later have it."""
        host = self._rng.choice(list(self._offsets))
        self._offsets[host] = self._rng.uniform(-1, 1) * SKEW_SECONDS

    def _two_resumes(self) -> None:
        self.resume()
        self.resume()


_DISTURBANCES: dict[Fault, Callable[[World], None]] = {
    Fault.WORKER_KILLED: World._kill_worker,
    Fault.WORKER_TERMINATED: World._terminate_worker,
    Fault.WORKER_JOINS: World._a_worker_joins,
    Fault.FOREIGN_WORKER: World._a_foreign_worker_joins,
    Fault.PRODUCER_KILLED: World._kill_command,
    Fault.BROKER_RESTARTS: lambda world: world.broker.restart(),
    Fault.QUEUE_LOST: World._lose_queue,
    Fault.OLD_MESSAGE: World._bring_old_message,
    Fault.GARBAGE: World._put_garbage,
    Fault.CLOCK_SET: World._set_clock,
    Fault.PAUSE: lambda world: world.steer(Control.PAUSED),
    Fault.CONTINUE: lambda world: world.steer(Control.RUNNING),
    Fault.CANCEL: lambda world: world.steer(Control.CANCELLED),
    Fault.RESUME: lambda world: world.resume(),
    Fault.TWO_RESUMES: World._two_resumes,
}


class _ShouldStop:
    """`celery.worker.state`, of the process whose thread runs."""

    @property
    def should_stop(self) -> int | None:
        return hubs.current().process.should_stop

    @should_stop.setter
    def should_stop(self, code: int) -> None:
        hubs.current().process.should_stop = code


@contextmanager
def virtual(seed: int, setting: Setting) -> Iterator[None]:
    """Threads, identities and chance are those of a simulated run inside the block."""
    rng = random.Random(f"{seed} identities")
    group, parts = setting.group, lambda: hubs.current().process.parts
    with ExitStack() as stack:
        for where, name, what in (
            (writer, "Future", Future),
            (turns, "Future", Future),
            (writer, "HEARTBEAT_SECONDS", setting.heartbeat),
            (task, "pipeline", parts),
            (task, "state", _ShouldStop()),
            (dispatching, "MAX_GROUP", group),
            (steering, "CANCEL_GROUP", group),
            (tenacity.wait, "random", rng),
            (uuid, "uuid4", lambda: uuid.UUID(int=rng.getrandbits(128))),
        ):
            stack.enter_context(mock.patch.object(where, name, what))
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
