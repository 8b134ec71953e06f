"""Processes that dispatch and steer: the real ones, but for their threads and their connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import BrokerUnavailableError, LedgerUnavailableError, PipelineError
from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger.steering import steer
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.producer import Producer
from sms_pipeline.producer.recovery import await_quiet, dispatch_again
from tests.simulation import hub as hubs
from tests.simulation.broker import Broker, Message
from tests.simulation.chance import Chance
from tests.simulation.effects import ProcessLedger
from tests.simulation.hub import Flag, Future, Hub, Process

#: A producer that waits looks again after so many times its pause, at most: it is one of many
#: processes on a busy machine.
_STRETCH = 40.0


class VirtualPublishers:
    """As the producer's `ThreadPoolExecutor`."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def map(self, call: Callable[..., Any], *columns: Iterable[Any]) -> Iterable[Any]:
        futures = []
        for arguments in zip(*columns, strict=True):
            future = Future()
            self._process.start(partial(_answer, future, call, arguments))
            futures.append(future)
        return [future.result() for future in futures]


def _answer(future: Future, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        future.set_result(call(*arguments))
    except Exception as error:
        future.set_exception(error)


class VirtualProducer(Producer):
    """The real one, on virtual time."""

    def __init__(
        self, ledger: ProcessLedger, run: Run, process: Process, broker: Broker, chance: Chance
    ) -> None:
        rng = chance.stream(f"{process.name}'s patience")

        def publish(batch: Batch) -> None:
            effect = "publish first" if not batch.attempt else "publish a remainder"
            broker.publish(process, effect, Message.of(batch))

        loads = Loads(run.simulation)
        super().__init__(ledger, publish, run, loads, clock=process.clock)  # type: ignore[arg-type]
        stretched = Flag(lambda seconds: seconds * (1 + _STRETCH * rng.random()))
        self._stopping = stretched  # type: ignore[assignment]
        self._publishers = VirtualPublishers(process)  # type: ignore[assignment]


class Command(Process):
    """A command of the user that changes a run."""

    def __init__(
        self,
        hub: Hub,
        name: str,
        wall_offset: float,
        broker: Broker,
        chance: Chance,
        host: str,
    ) -> None:
        super().__init__(hub, name, host, wall_offset)
        self._broker = broker
        self._chance = chance
        #: Whether it did what it was asked for; not if it was killed, or gave up with an error.
        self.done = False
        #: Whether it changes what is wanted of the run; it ends soon.
        self.steers = False

    def produce(self, ledger: ProcessLedger, run: Run) -> None:
        """`produce`, once the run is registered."""
        self._begin(lambda: self._producer(ledger, run).dispatch())

    def resume(self, ledger: ProcessLedger, run_id: int, force: bool) -> None:
        """`resume`; see `cli.dispatch.resume_elsewhere`."""

        def work() -> None:
            run = ledger.run(run_id)
            if not force:
                clock = SlowClock(self)
                await_quiet(ledger, self._broker, run, _unsaid, clock)  # type: ignore[arg-type]
            self._broker.remove_dead_letters()
            again = dispatch_again(ledger, run, _unsaid, self.clock)  # type: ignore[arg-type]
            again(self._producer(ledger, run))

        self._begin(work)

    def steer(self, ledger: ProcessLedger, run_id: int, wanted: Control) -> None:
        """`pause`, `continue`, `cancel`."""
        self.steers = True

        def work() -> None:
            try:
                steer(ledger, ledger.run(run_id), wanted, self.clock)  # type: ignore[arg-type]
            except (LedgerUnavailableError, BrokerUnavailableError):
                raise
            except PipelineError:
                # It has ended, or is cancelled: nothing to do.
                pass

        self._begin(work)

    def _producer(self, ledger: ProcessLedger, run: Run) -> VirtualProducer:
        return VirtualProducer(ledger, run, self, self._broker, self._chance)

    def _begin(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except (LedgerUnavailableError, BrokerUnavailableError):
                # The user is told.
                return
            self.done = True

        self.start(guarded)


class SlowClock:
    """That of a process that gets its turn seldom."""

    _STRETCH = 8.0

    def __init__(self, process: Process) -> None:
        self.monotonic = process.clock.monotonic
        self.wall = process.clock.wall
        self.timeline = process.clock.timeline

    def sleep(self, seconds: float) -> None:
        hubs.sleep(seconds * self._STRETCH)


def _unsaid(_text: str) -> None:
    """Nobody reads it."""
