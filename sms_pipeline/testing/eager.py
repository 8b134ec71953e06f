"""A run in this process without a broker: `send_sms` runs where it is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.celery import app
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.settings import EMBEDDED_BROKER_URL
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.records import BatchRow, Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import AuditResult
from sms_pipeline.producer.dispatching import first_attempt
from sms_pipeline.testing.ledger import memory_ledger
from sms_pipeline.worker import pipeline
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.startup import use_queues

#: Any number makes the same messages again and again.
SEED = 1
#: Without a broker the kind of queue makes no difference.
_QUEUE_TYPE = "classic"


@dataclass(frozen=True, slots=True)
class EagerRun:
    """A run whose batches are played when they are sent, and the ledger that counts them."""

    ledger: Ledger
    run: Run

    def batches(self) -> Iterator[Batch]:
        """Every batch of the run, recorded as a producer records it; send each with `send_sms`.

        The profiles take turns.
        """
        simulation = self.run.simulation
        index = number = 0
        origin = MACHINE_CLOCK.wall()
        while index < self.run.total:
            profile = simulation.senders[number % len(simulation.senders)]
            size = min(simulation.batch_size_for(profile), self.run.total - index)
            queued_at = MACHINE_CLOCK.wall()
            row = BatchRow(self.run.id, number, profile.name, index, size, queued_at)
            self.ledger.record_batches(self.run.id, [row])
            self.ledger.mark_published(self.run.id, [(number, queued_at)])
            yield first_attempt(self.ledger.id, self.run, row, origin=origin)
            index, number = index + size, number + 1

    def audit(self) -> AuditResult:
        """The proof of what became of every message."""
        return audit_ledger(self.ledger, self.run)


@contextmanager
def eager_run(simulation: Simulation, seed: int = SEED) -> Iterator[EagerRun]:
    """A run on a ledger in memory; inside the block `send_sms` runs where it is called.

    Retries are made at once, one inside the other, so set few attempts; send times are real.
    """
    ledger = memory_ledger()
    run = ledger.start_run(simulation, seed, embedded=True)
    worker = Worker(ledger, simulation.senders)
    worker.start()
    before, was_eager = pipeline.installed(), app.conf.task_always_eager
    names = [sender.name for sender in simulation.senders]
    use_queues(app, names, _QUEUE_TYPE)
    app.conf.task_always_eager = True
    pipeline.install(pipeline.Pipeline(worker, Publisher(EMBEDDED_BROKER_URL, _QUEUE_TYPE)))
    try:
        yield EagerRun(ledger, run)
    finally:
        app.conf.task_always_eager = was_eager
        pipeline.restore(before)
        worker.stop()
        ledger.close()
