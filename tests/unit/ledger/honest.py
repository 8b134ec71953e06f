"""Runs that were really made, in this process: every ledger of these is proven."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.receipts import Receipts
from sms_pipeline.core.records import Control, Run
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.steps import drive
from sms_pipeline.ledger.steering import steer
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.producer import Producer
from sms_pipeline.testing.broker import InMemoryBroker
from sms_pipeline.worker.delivery import Effect, Publish
from sms_pipeline.worker.process import Worker
from tests.unit import make

SEED = 7


def rehearsed(**values: Any) -> Simulation:
    """A run of a tenth of a second, in which every fate but two comes up."""
    profiles = (
        make.profile("fast", count=20, mean_time=0.002, failure_rate=0.3),
        make.profile("slow", count=20, mean_time=0.004, failure_rate=0.5),
    )
    return Simulation(
        **{
            "num_messages": 400,
            "senders": profiles,
            "retry": RetryPolicy(max_attempts=3, backoff=0),
            "routing": "static",
            **values,
        }
    )


class Rehearsal:
    """A run on a ledger; workers are driven by hand."""

    def __init__(self, ledger: Ledger, **values: Any) -> None:
        self.ledger = ledger
        self.simulation = rehearsed(**values)
        self.run = ledger.start_run(self.simulation, SEED)
        self.broker = InMemoryBroker(MACHINE_CLOCK)
        self.workers: list[Worker] = []

    def dispatch(self, publish: Callable[[Batch], None] | None = None) -> None:
        """Record and publish what is left of the run."""
        run = self.ledger.run(self.run.id)
        Producer(self.ledger, publish or self.broker.publish, run, Loads(run.simulation)).dispatch()

    def join(self) -> Worker:
        """Start one more worker."""
        worker = Worker(self.ledger, self.simulation.senders)
        worker.start()
        self.workers.append(worker)
        return worker

    def work_off(self, most: int | None = None, twice: bool = False) -> None:
        """Let the workers take turns at what waits; `twice`: each batch is delivered twice."""
        taken = 0
        while (most is None or taken < most) and (batch := self.broker.receive()):
            worker = self.workers[taken % len(self.workers)]
            for _ in range(1 + twice):
                drive(worker.deliver(batch, queued=True), partial(self._perform, worker))
            taken += 1

    def _perform(self, worker: Worker, effect: Effect) -> Any:
        if isinstance(effect, Publish):
            return self.broker.publish(effect.batch, effect.delay)
        return worker.perform(effect)

    def stop(self) -> None:
        """Let all workers sign off."""
        while self.workers:
            self.workers.pop().stop()

    def steer(self, wanted: Control) -> None:
        """Pause, continue or cancel it."""
        steer(self.ledger, self.ledger.run(self.run.id), wanted)


def retried(ledger: Ledger, workers: int = 1, **values: Any) -> Run:
    """A run whose messages needed up to three attempts."""
    made = Rehearsal(ledger, **values)
    made.dispatch()
    for _ in range(workers):
        made.join()
    made.work_off()
    made.stop()
    return made.run


def with_receipts(ledger: Ledger) -> Run:
    """A run of two workers in which one profile has delivery receipts."""
    fast, slow = rehearsed().senders
    known = fast.model_copy(update={"receipts": Receipts(mean_time=4, missing=0.2)})
    return retried(ledger, workers=2, senders=(known, slow))


def expired(ledger: Ledger) -> Run:
    """A run that had too little time."""
    return retried(ledger, deadline=0.02)


def cancelled(ledger: Ledger) -> Run:
    """A run that was paused, continued, and cancelled half way."""
    made = Rehearsal(ledger)
    made.dispatch()
    made.join()
    made.work_off(most=4)
    for wanted in (Control.PAUSED, Control.RUNNING, Control.CANCELLED):
        made.steer(wanted)
    made.work_off()
    made.stop()
    return made.run


def cancelled_early(ledger: Ledger) -> Run:
    """A run that was cancelled before anything was dispatched."""
    made = Rehearsal(ledger)
    made.steer(Control.CANCELLED)
    return made.run


def resumed(ledger: Ledger) -> Run:
    """A run whose broker lost what it had, and that was resumed by another producer."""
    made = Rehearsal(ledger)

    def publish(batch: Batch) -> None:
        if batch.number % 2:
            made.broker.publish(batch)

    made.dispatch(publish)
    made.join()
    made.work_off(most=3)
    ledger.note_resume(made.run.id)
    producer = Producer(ledger, made.broker.publish, made.run, Loads(made.simulation))
    producer.dispatch_again(ledger.unsettled(made.run.id))
    made.work_off()
    made.stop()
    return made.run


def delivered_twice(ledger: Ledger) -> Run:
    """A run whose batches came twice to their worker."""
    made = Rehearsal(ledger)
    made.dispatch()
    made.join()
    made.work_off(twice=True)
    made.stop()
    return made.run


#: Every kind of run that ends as it should.
RUNS: dict[str, Callable[[Ledger], Run]] = {
    "retried": retried,
    "two workers": partial(retried, workers=2),
    "one attempt": partial(retried, retry=RetryPolicy(max_attempts=1)),
    "until delivered": partial(retried, retry=RetryPolicy(max_attempts=None, backoff=0)),
    "receipts": with_receipts,
    "expired": expired,
    "cancelled": cancelled,
    "cancelled early": cancelled_early,
    "resumed": resumed,
    "delivered twice": delivered_twice,
}
