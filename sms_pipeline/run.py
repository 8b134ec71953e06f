"""All in one: worker, producer and monitor in this process, over any broker."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from celery.worker import state

from sms_pipeline.celery import (
    Pipeline,
    app,
    install,
    require_short_batches,
    threads_for,
    use_queues,
)
from sms_pipeline.config import Settings, Simulation
from sms_pipeline.errors import PipelineError
from sms_pipeline.gateway import Outcomes
from sms_pipeline.ledger import Ledger, Run
from sms_pipeline.messages import SEPARATOR, Batch
from sms_pipeline.monitor import Reader, View, follow
from sms_pipeline.producer import Interrupted, Producer
from sms_pipeline.progress import Progress
from sms_pipeline.publishing import Publisher
from sms_pipeline.worker import SettledHook, Worker

log = logging.getLogger(__name__)

#: How long the consumer may take to hand back what it holds.
STOP_SECONDS = 10.0
_SEED_BITS = 63


class Dispatch(threading.Thread):
    """The producer in a thread; keeps what went wrong for the main thread to tell."""

    def __init__(self, producer: Producer, ended: threading.Event) -> None:
        super().__init__(name="producer", daemon=True)
        self.producer = producer
        self.error: BaseException | None = None
        self._ended = ended

    def run(self) -> None:
        """Dispatch the run."""
        try:
            self.producer.dispatch()
        except Interrupted:
            pass
        except BaseException as error:
            self.error = error
            self._ended.set()


class Consumption(threading.Thread):
    """A Celery worker in a thread."""

    def __init__(self, concurrency: int, name: str, ended: threading.Event) -> None:
        super().__init__(name="consumer", daemon=True)
        self._ended = ended
        state.should_stop = None
        # Tasks in pool threads find their app by default.
        app.set_default()
        self._controller = app.WorkController(
            hostname=name,
            pool_cls="threads",
            concurrency=concurrency,
            without_mingle=True,
            without_gossip=True,
        )
        self.failed = False

    def run(self) -> None:
        """Consume until `stop`."""
        self._controller.start()
        self.failed = not state.should_stop and state.should_stop != 0
        self._ended.set()

    def stop(self) -> None:
        """Give back to the broker what is not settled."""
        state.should_stop = 0
        self.join(STOP_SECONDS)


def start_run(ledger: Ledger, simulation: Simulation) -> Run:
    """Register a run; its seed is the configured one, or drawn now."""
    seed = secrets.randbits(_SEED_BITS) if simulation.seed is None else simulation.seed
    return ledger.start_run(simulation, seed)


def run_all(
    settings: Settings, simulation: Simulation, view: View, on_settled: SettledHook | None
) -> Progress | None:
    """Rehearse in this process, start to end; return the last progress.

    Raises:
        PipelineError: broker or database not reachable, or a part of the pipeline failed.
        KeyboardInterrupt: the user stopped it; the view has shown the summary.
    """
    profiles = simulation.senders
    for profile in profiles:
        require_short_batches(profile, simulation.batch_size_for(profile))
    use_queues([profile.name for profile in profiles], settings.queue_type)
    publisher = Publisher(settings.broker_url)
    if not settings.embedded:
        publisher.reach()
    publisher.declare([profile.name for profile in profiles], settings.queue_type)
    ledger = Ledger.open(settings.database_url)
    worker = Worker(ledger, profiles, on_settled=on_settled)
    run = start_run(ledger, simulation)
    producer = Producer(
        ledger,
        publisher,
        run,
        trusted=(worker.id,),
        # All profiles share one pool here, so none may fill the others' part of it.
        max_batches=threads_for,
        on_status=lambda status: view.note(status) if status else None,
    )
    with _working(worker, publisher, simulation, settings) as ended:
        return _follow(
            Dispatch(producer, ended),
            Reader(ledger, run, (worker.id,)),
            view,
            simulation.report_period,
            ended,
        )


@contextmanager
def _working(
    worker: Worker, publisher: Publisher, simulation: Simulation, settings: Settings
) -> Iterator[threading.Event]:
    """A worker that consumes while the block runs; the event is set if it ends by itself."""
    ended = threading.Event()
    worker.start()
    install(Pipeline(worker, publisher))
    threads = sum(threads_for(p, simulation.batch_size_for(p)) for p in simulation.senders)
    consumption = Consumption(threads, f"run@{worker.id}", ended)
    consumption.start()
    try:
        yield ended
    finally:
        worker.stop()
        if not settings.embedded:
            consumption.stop()


def _follow(
    dispatch: Dispatch, reader: Reader, view: View, every: float, ended: threading.Event
) -> Progress | None:
    dispatch.start()
    try:
        progress = follow(reader, view, every, ended)
    except KeyboardInterrupt:
        dispatch.producer.stop()
        view.close(reader.read(), "interrupted")
        raise
    if progress and progress.done:
        view.close(progress, "done")
        return progress
    view.close(progress, "stopped")
    if dispatch.error:
        raise dispatch.error
    raise PipelineError("the worker ended before the run was done")


def produce(settings: Settings, simulation: Simulation) -> None:
    """Dispatch a run to workers elsewhere; ends when the broker has confirmed the last batch.

    Raises:
        PipelineError: broker or database not reachable.
        KeyboardInterrupt: the user stopped it; a summary was printed.
    """
    profiles = [profile.name for profile in simulation.senders]
    use_queues(profiles, settings.queue_type)
    publisher = Publisher(settings.broker_url)
    publisher.reach()
    publisher.declare(profiles, settings.queue_type)
    ledger = Ledger.open(settings.database_url)
    run = start_run(ledger, simulation)
    click.echo(
        f"Run {run.id}: {run.total:,} messages. Watch it with: sms-pipeline monitor {run.id}"
    )
    ended = threading.Event()
    producer = Producer(ledger, publisher, run, on_status=_say_status)
    dispatch = Dispatch(producer, ended)
    dispatch.start()
    _await_dispatch(dispatch, run, simulation.report_period)


def _await_dispatch(dispatch: Dispatch, run: Run, every: float) -> None:
    producer = dispatch.producer
    try:
        while dispatch.is_alive():
            dispatch.join(every)
            if dispatch.is_alive():
                click.echo(f"dispatched {producer.dispatched:,} of {run.total:,}")
    except KeyboardInterrupt:
        producer.stop()
        dispatch.join(STOP_SECONDS)
        click.echo(
            f"Run {run.id} interrupted: {producer.dispatched:,} of {run.total:,} messages were "
            "dispatched; workers go on with those."
        )
        raise
    if dispatch.error:
        raise dispatch.error
    click.echo(f"Run {run.id}: all {run.total:,} messages dispatched.")


def _say_status(status: str | None) -> None:
    if status:
        click.echo(status, err=True)


class Echo:
    """Prints each SMS with what became of it, as its batch is settled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, batch: Batch, outcomes: Outcomes) -> None:
        """See `SettledHook`."""
        lost = "failed, to be retried" if batch.retry.allows_after(batch.attempt) else "failed"
        recipients, texts = batch.to.split(SEPARATOR), batch.text.split(SEPARATOR)
        rows: Sequence[tuple[Any, ...]] = list(
            zip(recipients, texts, outcomes.delivered.tolist(), strict=True)
        )
        with self._lock:
            for to, text, delivered in rows:
                click.echo(f"{'sent' if delivered else lost}: {to}  {text}")
