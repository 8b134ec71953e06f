"""A rehearsal in one process: producer, worker and monitor."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sms_pipeline.celery import app
from sms_pipeline.cli.parts import Parts, parts_of, start_run
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.errors import NeedsBrokerError, PipelineError
from sms_pipeline.core.playable import require_playable
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.following import online_workers
from sms_pipeline.ledger.steering import Abort
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.background import Dispatch
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.messages import Messages, messages_of
from sms_pipeline.producer.producer import Producer
from sms_pipeline.producer.recovery import dispatch_again
from sms_pipeline.views.display import View
from sms_pipeline.views.monitor import follow, read_last, require_thresholds
from sms_pipeline.views.outcome import final_outcome
from sms_pipeline.views.reader import Reader
from sms_pipeline.worker.background import Consumption
from sms_pipeline.worker.echo import Echo
from sms_pipeline.worker.in_hand import Hands, threads_for, threads_of
from sms_pipeline.worker.pipeline import Pipeline, install
from sms_pipeline.worker.process import Worker

#: Above every level that is used.
_SILENT = logging.CRITICAL + 1


def run_here(
    settings: Settings, simulation: Simulation, view: View, echo: Echo | None = None
) -> None:
    """Rehearse a new run in this process, from start to end.

    Raises:
        PipelineError: the broker or the ledger can't be reached, a part of the pipeline failed,
            or the run missed a threshold.
        KeyboardInterrupt: the user stopped it; the view has shown the summary.
    """
    require_playable(simulation)
    parts = start_run(settings, simulation)
    _rehearse(parts, messages_of(parts.ledger, parts.run), Producer.dispatch, view, echo)


def resume_here(
    settings: Settings,
    ledger: Ledger,
    run: Run,
    force: bool,
    view: View,
    moved_to: Path | None = None,
) -> None:
    """Finish a run whose broker lived in a process.

    `moved_to`: see `messages_of`.

    Raises:
        PipelineError: the run can't be resumed here, the ledger can't be reached, a part of the
            pipeline failed, or the run missed a threshold.
        KeyboardInterrupt: the user stopped it; the view has shown the summary.
    """
    messages = messages_of(ledger, run, moved_to)
    if not run.embedded:
        raise NeedsBrokerError(
            f"run {run.id} went through a broker; set CELERY_BROKER_URL to the same one"
        )
    require_playable(run.simulation)
    if not force:
        _require_nobody_online(ledger, run)
    parts = parts_of(settings, ledger, run)
    _rehearse(parts, messages, dispatch_again(ledger, run, view.note), view)


def _require_nobody_online(ledger: Ledger, run: Run) -> None:
    online = online_workers(ledger)
    if online:
        raise PipelineError(
            f"run {run.id} may not have ended: worker {online[0].row.id} is online in another "
            "process; resume the run when that has ended, or use --force"
        )


def _rehearse(
    parts: Parts,
    messages: Messages,
    work: Callable[[Producer], None],
    view: View,
    echo: Echo | None = None,
) -> None:
    run, ledger = parts.run, parts.ledger
    worker = Worker(ledger, run.simulation.senders, echo=echo)
    # All profiles share one pool, so no profile may fill the part of the others.
    loads = Loads(run.simulation, trusted=(worker.id,), max_batches=threads_for)
    producer = Producer(ledger, parts.publish, run, loads, view.note, messages=messages)
    reader = Reader(ledger, run, trusted=(worker.id,))
    with working(worker, parts) as ended:
        if echo:
            # As with any other output: a run whose output can't be written ends.
            echo.on_error = ended.set
        dispatch = Dispatch(producer, work, ended)
        dispatch.start()
        progress = _follow(dispatch, reader, view, ended, ledger, echo)
    require_thresholds(progress)


@contextmanager
def working(worker: Worker, parts: Parts) -> Iterator[threading.Event]:
    """Run a worker during the block; the event is set if the worker ends by itself."""
    ended = threading.Event()
    worker.start()
    in_hand, embedded = sum(threads_of(parts.run.simulation).values()), parts.settings.embedded
    # The broker inside has no other runs.
    hands = Hands(in_hand) if embedded else Hands.of(in_hand, parts.settings.queue_type)
    install(Pipeline(worker, parts.publisher, prefetch=hands.prefetch))
    consumption = Consumption(app, hands.threads, worker.id, ended)
    consumption.start()
    try:
        yield ended
    finally:
        if embedded:
            # Consumer and broker end with the process; what they log about it is of no interest.
            logging.getLogger("celery").setLevel(_SILENT)
        worker.stop()
        if not embedded:
            consumption.stop()


def _follow(
    dispatch: Dispatch,
    reader: Reader,
    view: View,
    ended: threading.Event,
    ledger: Ledger,
    echo: Echo | None = None,
) -> Progress:
    run = reader.run
    abort = Abort(ledger, run)
    try:
        try:
            progress = follow(reader, view, run.simulation.report_period, ended.wait, abort)
        finally:
            # Whatever ended it, nothing more is dispatched, or said of that.
            dispatch.producer.stop()
    except KeyboardInterrupt:
        view.close(read_last(reader), f"interrupted (resume it with: sms-pipeline resume {run.id})")
        raise
    if progress and progress.done:
        view.close(progress, "done", final_outcome(ledger, progress))
        return progress
    view.close(progress, "stopped")
    if echo and echo.error:
        raise echo.error
    raise dispatch.error or PipelineError("the worker ended before the run was done")
