"""A producer for workers in other processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sms_pipeline.cli.parts import Parts, parts_of, start_run
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.counts import how_many, of_messages
from sms_pipeline.core.errors import OutputError
from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.background import Dispatch
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.messages import Messages, messages_of
from sms_pipeline.producer.producer import Producer
from sms_pipeline.producer.recovery import await_quiet, dispatch_again, take_dead_letters
from sms_pipeline.views.format import count
from sms_pipeline.views.output import say, write
from sms_pipeline.views.sending import other_senders
from sms_pipeline.worker.background import STOP_SECONDS


def produce(settings: Settings, simulation: Simulation) -> None:
    """Dispatch a new run; ends when the broker has confirmed the last batch.

    Raises:
        PipelineError: the broker or the ledger can't be reached.
        KeyboardInterrupt: the user stopped it; they were told how far it came.
    """
    parts = start_run(settings, simulation)
    run = parts.run
    write(f"Run {run.id}: {of_messages(run.total)}. Watch it: sms-pipeline monitor {run.id}")
    _dispatch(parts, messages_of(parts.ledger, run), Producer.dispatch)


def resume_elsewhere(
    settings: Settings, ledger: Ledger, run: Run, force: bool, moved_to: Path | None = None
) -> None:
    """Dispatch again all that is not settled, then what was never dispatched.

    `moved_to`: see `messages_of`.

    Raises:
        PipelineError: the broker or the ledger can't be reached.
        KeyboardInterrupt: the user stopped it; they were told how far it came.
    """
    messages = messages_of(ledger, run, moved_to)
    parts = parts_of(settings, ledger, run)
    _mend_queues(parts)
    if not force:
        await_quiet(ledger, parts.publisher, run, say)
    taken = take_dead_letters(ledger, parts.publisher, run)
    if taken:
        batches = how_many(taken, "batch", "batches")
        say(f"run {run.id}: {batches} taken from the dead-letter queue")
    _dispatch(parts, messages, dispatch_again(ledger, run, say))


def _mend_queues(parts: Parts) -> None:
    """Restore all that the run needs at the broker; what was lost with it is dispatched again."""
    for queue in parts.publisher.mend([sender.name for sender in parts.run.simulation.senders]):
        say(f"queue {queue} existed in name only, since the broker was killed: it is made anew")


def _dispatch(parts: Parts, messages: Messages, work: Callable[[Producer], None]) -> None:
    """Run a producer, and print its progress."""
    run = parts.run
    loads = Loads(run.simulation)
    producer = Producer(parts.ledger, parts.publish, run, loads, say, messages=messages)
    dispatch = Dispatch(producer, work, threading.Event())
    dispatch.start()
    try:
        with _stopped_at_end(dispatch):
            _print_progress(dispatch, run, loads)
    except KeyboardInterrupt:
        write(_interrupted(producer, run))
        raise
    except (BrokenPipeError, OutputError):
        # Who reads stdout is gone; whoever started this may still read stderr.
        with suppress(BrokenPipeError, OutputError):
            say(_interrupted(producer, run))
        raise
    if dispatch.error:
        raise dispatch.error
    write(f"Run {run.id}: {_how_far(producer, run)} dispatched.")


@contextmanager
def _stopped_at_end(dispatch: Dispatch) -> Iterator[None]:
    """Whatever ends the block, the batches in hand are published, and no others."""
    try:
        yield
    finally:
        dispatch.producer.stop()
        dispatch.join(STOP_SECONDS)


def _interrupted(producer: Producer, run: Run) -> str:
    return (
        f"Run {run.id} interrupted: {_how_far(producer, run)} were dispatched, and "
        f"workers go on with those. Dispatch the rest: sms-pipeline resume {run.id}"
    )


def _print_progress(dispatch: Dispatch, run: Run, loads: Loads) -> None:
    """Return when the producer has ended."""
    is_told = False
    while True:
        dispatch.join(run.simulation.report_period)
        is_told = is_told or _tell_of_other_senders(run, loads)
        if not dispatch.is_alive():
            return
        write(f"dispatched {count(dispatch.producer.dispatched)} of {count(run.total)}")


def _tell_of_other_senders(run: Run, loads: Loads) -> bool:
    """Whether it was known who is online."""
    for note in other_senders(run.simulation, loads.online or ()):
        say(note)
    return loads.online is not None


def _how_far(producer: Producer, run: Run) -> str:
    return f"{count(producer.dispatched)} of {of_messages(run.total)}"
