"""All in one: worker, producer and monitor in this process, over any broker."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from celery.worker import state

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.celery import (
    Pipeline,
    app,
    install,
    require_short_batches,
    threads_for,
    use_queues,
)
from sms_pipeline.config.simulation import Settings, Simulation
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.messages import SEPARATOR, Batch, is_batch_of
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Control, Run
from sms_pipeline.errors import NeedsBrokerError, PipelineError
from sms_pipeline.ledger import recovery
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.producer import Interrupted, LoadReader, Producer
from sms_pipeline.views.monitor import Reader, View, follow, require_thresholds
from sms_pipeline.worker.process import SettledHook, Worker

log = logging.getLogger(__name__)

#: How long the consumer may take to hand back what it holds.
STOP_SECONDS = 10.0
_SEED_BITS = 63


class Dispatch(threading.Thread):
    """A producer at work in a thread; keeps what went wrong for the main thread to tell."""

    def __init__(
        self, producer: Producer, work: Callable[[Producer], None], ended: threading.Event
    ) -> None:
        super().__init__(name="producer", daemon=True)
        self.producer = producer
        self.error: BaseException | None = None
        self._work = work
        self._ended = ended

    def run(self) -> None:
        """Thread body; sets `ended` when the work ends in an error."""
        try:
            self._work(self.producer)
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

    def run(self) -> None:
        """Consume until `stop`; set `ended` then, and also when it ends by itself."""
        self._controller.start()
        self._ended.set()

    def stop(self) -> None:
        """Give back to the broker what is not settled."""
        state.should_stop = 0
        self.join(STOP_SECONDS)


def start_run(ledger: Ledger, simulation: Simulation, settings: Settings) -> Run:
    """Register a run; its seed is the configured one, or drawn now."""
    seed = secrets.randbits(_SEED_BITS) if simulation.seed is None else simulation.seed
    return ledger.start_run(simulation, seed, settings.embedded)


def run_all(
    settings: Settings, simulation: Simulation, view: View, on_settled: SettledHook | None
) -> None:
    """Rehearse a new run in this process, start to end.

    Raises:
        PipelineError: broker or database not reachable, a part of the pipeline failed, or the
            run did not keep to its thresholds.
        KeyboardInterrupt: the user stopped it; the view has shown the summary.
    """
    publisher = _prepare(settings, simulation)
    ledger = Ledger.open(settings.database_url)
    run = start_run(ledger, simulation, settings)
    _rehearse(settings, ledger, publisher, run, Producer.dispatch, view, on_settled)


def resume(settings: Settings, ledger: Ledger, run: Run, force: bool, view: View) -> None:
    """Dispatch again what the ledger does not show as settled, then what never was dispatched.

    A run whose broker lives in this process is finished here, too.

    Raises:
        PipelineError: broker or database not reachable, the run can't be resumed here, or it
            did not keep to its thresholds.
        KeyboardInterrupt: the user stopped it; a summary was printed.
    """
    if settings.embedded and not run.embedded:
        raise NeedsBrokerError(
            f"run {run.id} went through a broker; set CELERY_BROKER_URL to the same one"
        )
    publisher = _prepare(settings, run.simulation)
    if settings.embedded:
        if not force:
            _require_nobody_online(ledger, run)
        _rehearse(settings, ledger, publisher, run, _again(ledger, run, view.note), view, None)
        return
    if not force:
        recovery.await_quiet(ledger, publisher, run, _say_status)
    _forget_dead_letters(ledger, publisher, run)
    _dispatch(ledger, publisher, run, _again(ledger, run, _say_status))


def _require_nobody_online(ledger: Ledger, run: Run) -> None:
    online = recovery.online_workers(ledger)
    if online:
        raise PipelineError(
            f"run {run.id} may still be going on: worker {online[0].row.id} is online in another "
            "process; resume it when that has ended, or use --force"
        )


def _again(ledger: Ledger, run: Run, say: Callable[[str], None]) -> Callable[[Producer], None]:
    def work(producer: Producer) -> None:
        if run.control is Control.CANCELLED:
            # Should `cancel` have been interrupted, what it claimed is settled first.
            recovery.cancel_unpublished(ledger, run)
        unsettled = ledger.unsettled(run.id)
        batches = producer.dispatch_again(unsettled)
        say(f"run {run.id}: {batches:,} batches dispatched again")
        producer.dispatch()

    return work


def _forget_dead_letters(ledger: Ledger, publisher: Publisher, run: Run) -> None:
    """Dead letters of this run are dispatched again from the ledger, or settled by now."""
    taken = publisher.remove_dead_letters(lambda body: is_batch_of(body, ledger.id, run.id))
    if taken:
        _say_status(f"run {run.id}: {taken:,} batches taken from the dead-letter queue")


def _prepare(settings: Settings, simulation: Simulation) -> Publisher:
    profiles = [profile.name for profile in simulation.senders]
    use_queues(profiles, settings.queue_type)
    return Publisher.open(settings, profiles)


def _rehearse(
    settings: Settings,
    ledger: Ledger,
    publisher: Publisher,
    run: Run,
    work: Callable[[Producer], None],
    view: View,
    on_settled: SettledHook | None,
) -> None:
    simulation = run.simulation
    for profile in simulation.senders:
        require_short_batches(profile, simulation.batch_size_for(profile))
    worker = Worker(ledger, simulation.senders, on_settled=on_settled)
    # All profiles share one pool here, so none may fill the others' part of it.
    loads = LoadReader(ledger, run, trusted=(worker.id,), max_batches=threads_for)
    producer = Producer(ledger, publisher, run, loads, view.note)
    reader = Reader(ledger, run, trusted=(worker.id,))
    with _working(worker, publisher, simulation, settings) as ended:
        progress = _follow(
            Dispatch(producer, work, ended),
            reader,
            view,
            simulation.report_period,
            ended,
            recovery.Abort(ledger, run),
        )
    require_thresholds(progress)


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
        if settings.embedded:
            # Consumer and broker end with the process; what they say of that is no news.
            logging.getLogger("celery").setLevel(logging.CRITICAL + 1)
        worker.stop()
        if not settings.embedded:
            consumption.stop()


def _follow(
    dispatch: Dispatch,
    reader: Reader,
    view: View,
    every: float,
    ended: threading.Event,
    abort: recovery.Abort,
) -> Progress:
    dispatch.start()
    try:
        progress = follow(reader, view, every, ended, abort)
    except KeyboardInterrupt:
        dispatch.producer.stop()
        last = reader.read()
        view.close(last, f"interrupted (go on with: sms-pipeline resume {last.run})")
        raise
    if progress and progress.done:
        view.close(progress, "done")
        return progress
    view.close(progress, "stopped")
    raise dispatch.error or PipelineError("the worker ended before the run was done")


def produce(settings: Settings, simulation: Simulation) -> None:
    """Dispatch a run to workers elsewhere; ends when the broker has confirmed the last batch.

    Raises:
        PipelineError: broker or database not reachable.
        KeyboardInterrupt: the user stopped it; a summary was printed.
    """
    publisher = _prepare(settings, simulation)
    ledger = Ledger.open(settings.database_url)
    run = start_run(ledger, simulation, settings)
    click.echo(
        f"Run {run.id}: {run.total:,} messages. Watch it with: sms-pipeline monitor {run.id}"
    )
    _dispatch(ledger, publisher, run, Producer.dispatch)


def _dispatch(
    ledger: Ledger, publisher: Publisher, run: Run, work: Callable[[Producer], None]
) -> None:
    """Let a producer work, with a line of progress every report period."""
    producer = Producer(ledger, publisher, run, LoadReader(ledger, run), _say_status)
    dispatch = Dispatch(producer, work, threading.Event())
    dispatch.start()
    try:
        while dispatch.is_alive():
            dispatch.join(run.simulation.report_period)
            if dispatch.is_alive():
                click.echo(f"dispatched {producer.dispatched:,} of {run.total:,}")
    except KeyboardInterrupt:
        producer.stop()
        dispatch.join(STOP_SECONDS)
        click.echo(
            f"Run {run.id} interrupted: {producer.dispatched:,} of {run.total:,} messages were "
            f"dispatched; workers go on with those. Go on with: sms-pipeline resume {run.id}"
        )
        raise
    if dispatch.error:
        raise dispatch.error
    click.echo(f"Run {run.id}: {producer.dispatched:,} of {run.total:,} messages dispatched.")


def _say_status(status: str) -> None:
    click.echo(status, err=True)


class Echo:
    """Prints each SMS with what became of it, as its batch is settled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader_left = False

    def __call__(self, batch: Batch, outcomes: Outcomes) -> None:
        """See `SettledHook`."""
        lost = "failed, to be retried" if batch.retry.allows_after(batch.attempt) else "failed"
        recipients, texts = batch.to.split(SEPARATOR), batch.text.split(SEPARATOR)
        rows: Sequence[tuple[Any, ...]] = list(
            zip(recipients, texts, outcomes.delivered.tolist(), strict=True)
        )
        with self._lock:
            if self._reader_left:
                return
            try:
                for to, text, delivered in rows:
                    click.echo(f"{'sent' if delivered else lost}: {to}  {text}")
            except BrokenPipeError:
                self._reader_left = True
