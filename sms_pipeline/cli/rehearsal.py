"""The parts put together: all in one process, and a producer for workers elsewhere."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.celery import app
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.errors import NeedsBrokerError, PipelineError
from sms_pipeline.ledger.following import online_workers
from sms_pipeline.ledger.steering import Abort
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.background import Dispatch
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.producer import Producer
from sms_pipeline.producer.recovery import await_quiet, dispatch_again, take_dead_letters
from sms_pipeline.views.display import View
from sms_pipeline.views.format import count
from sms_pipeline.views.monitor import follow, require_thresholds
from sms_pipeline.views.output import say, write
from sms_pipeline.views.reader import Reader
from sms_pipeline.worker.background import STOP_SECONDS, Consumption
from sms_pipeline.worker.pipeline import Pipeline, install
from sms_pipeline.worker.process import SettledHook, Worker
from sms_pipeline.worker.startup import require_short_batches, threads_for, use_queues

_SEED_BITS = 63


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
        _rehearse(
            settings, ledger, publisher, run, dispatch_again(ledger, run, view.note), view, None
        )
        return
    if not force:
        await_quiet(ledger, publisher, run, say)
    taken = take_dead_letters(ledger, publisher, run)
    if taken:
        say(f"run {run.id}: {count(taken)} batches taken from the dead-letter queue")
    _dispatch(ledger, publisher, run, dispatch_again(ledger, run, say))


def _require_nobody_online(ledger: Ledger, run: Run) -> None:
    online = online_workers(ledger)
    if online:
        raise PipelineError(
            f"run {run.id} may still be going on: worker {online[0].row.id} is online in another "
            "process; resume it when that has ended, or use --force"
        )


def _prepare(settings: Settings, simulation: Simulation) -> Publisher:
    profiles = [profile.name for profile in simulation.senders]
    use_queues(app, profiles, settings.queue_type)
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
    loads = Loads(simulation, trusted=(worker.id,), max_batches=threads_for)
    producer = Producer(ledger, partial(publisher.publish, app), run, loads, view.note)
    reader = Reader(ledger, run, trusted=(worker.id,))
    with _working(worker, publisher, simulation, settings) as ended:
        progress = _follow(
            Dispatch(producer, work, ended),
            reader,
            view,
            simulation.report_period,
            ended,
            Abort(ledger, run),
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
    consumption = Consumption(app, threads, f"run@{worker.id}", ended)
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
    abort: Abort,
) -> Progress:
    dispatch.start()
    try:
        progress = follow(reader, view, every, ended.wait, abort)
    except KeyboardInterrupt:
        dispatch.producer.stop()
        last = reader.read().progress
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
    write(
        f"Run {run.id}: {count(run.total)} messages. Watch it with: sms-pipeline monitor {run.id}"
    )
    _dispatch(ledger, publisher, run, Producer.dispatch)


def _dispatch(
    ledger: Ledger, publisher: Publisher, run: Run, work: Callable[[Producer], None]
) -> None:
    """Let a producer work, with a line of progress every report period."""
    publish = partial(publisher.publish, app)
    producer = Producer(ledger, publish, run, Loads(run.simulation), say)
    dispatch = Dispatch(producer, work, threading.Event())
    dispatch.start()
    try:
        while dispatch.is_alive():
            dispatch.join(run.simulation.report_period)
            if dispatch.is_alive():
                write(f"dispatched {count(producer.dispatched)} of {count(run.total)}")
    except KeyboardInterrupt:
        producer.stop()
        dispatch.join(STOP_SECONDS)
        write(
            f"Run {run.id} interrupted: {count(producer.dispatched)} of {count(run.total)} "
            "messages were dispatched; workers go on with those. "
            f"Go on with: sms-pipeline resume {run.id}"
        )
        raise
    if dispatch.error:
        raise dispatch.error
    write(f"Run {run.id}: {count(producer.dispatched)} of {count(run.total)} messages dispatched.")
