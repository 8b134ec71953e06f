"""Follows runs: shows each one until it is done, and checks its thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import LedgerUnavailableError, ThresholdMissedError
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Run
from sms_pipeline.core.thresholds import State
from sms_pipeline.ledger.following import Waiting, readings
from sms_pipeline.ledger.steering import Abort
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.display import View, tell_outages
from sms_pipeline.views.outcome import final_outcome
from sms_pipeline.views.output import say
from sms_pipeline.views.reader import POLL_SECONDS, Reader, Reading

#: How often to look for a new run.
NEW_RUN_POLL_SECONDS = 0.5


def follow(
    reader: Reader,
    view: View,
    every: float,
    wait: Waiting,
    abort: Callable[[Progress], str | None] | None = None,
    clock: Clock = MACHINE_CLOCK,
) -> Progress | None:
    """Show a run until it is done.

    Args:
        reader: reads the run.
        view: shows the run, and tells the user when the ledger can't be reached.
        every: seconds between updates; the run is read more often, to notice its end.
        wait: see `readings`; a true result stops this function, too.
        abort: is called with every reading; the user is told what it returns.
        clock: decides when an update is due.

    Returns:
        The last reading; None if the ledger could never be read.
    """

    def read() -> tuple[Reading, str | None]:
        reading = reader.read()
        return reading, abort(reading.progress) if abort else None

    progress: Progress | None = None
    due_at = clock.monotonic()
    for reading, said in readings(read, min(POLL_SECONDS, every), wait, tell_outages(view.note)):
        progress = reading.progress
        if progress.done:
            break
        if said:
            view.note(said)
        # Before it is known who is online, an update would say that nobody is.
        if reading.decided and clock.monotonic() >= due_at:
            due_at = clock.monotonic() + every
            view.show(progress)
    return progress


def read_last(reader: Reader) -> Progress | None:
    """One more reading for the summary; None if the ledger can't be reached."""
    try:
        return reader.read().progress
    except LedgerUnavailableError:
        return None


def await_new_run(ledger: Ledger, seen: int | None, clock: Clock = MACHINE_CLOCK) -> Run:
    """Wait for a run newer than `seen` (None: for any run), and return it."""

    def read() -> Run | None:
        return None if ledger.latest_run_id() == seen else ledger.run()

    for run in readings(read, NEW_RUN_POLL_SECONDS, clock.sleep, tell_outages(say)):
        if run:
            return run
    raise AssertionError("readings of a clock never end")


def runs_to_watch(
    ledger: Ledger,
    run_id: int | None,
    new: bool,
    forever: bool,
    once: bool = False,
    clock: Clock = MACHINE_CLOCK,
) -> Iterator[Run]:
    """The run with this id, or the latest; with `new` the next one; with `forever` all that follow.

    The first run of a ledger is waited for, but not to be shown `once`.

    Raises:
        UnknownRunError: there is no such run, and it is not worth waiting for one.
    """
    seen = ledger.latest_run_id()
    is_first = seen is None and run_id is None and not once
    if new or is_first:
        say(f"Waiting for {'the first run' if is_first else 'the next run'} to start …")
        run = await_new_run(ledger, seen, clock)
    else:
        run = ledger.run(run_id)
    yield run
    while forever:
        run = await_new_run(ledger, run.id, clock)
        yield run


def watch(ledger: Ledger, run: Run, view: View, once: bool, clock: Clock = MACHINE_CLOCK) -> None:
    """The `monitor` command: show the run until it is done, or only `once`.

    Raises:
        ThresholdMissedError: the run missed a threshold.
        KeyboardInterrupt: the user stopped it; the view has shown the summary.
    """
    reader = Reader(ledger, run, clock=clock)
    if once:
        now = reader.read_decided().progress
        view.show(now)
        require_thresholds(now)
        return
    every = run.simulation.report_period
    try:
        progress = follow(reader, view, every, clock.sleep, Abort(ledger, run), clock)
    except KeyboardInterrupt:
        view.close(read_last(reader), "has not ended (the monitor was interrupted)")
        raise
    view.close(progress, "done", final_outcome(ledger, progress))
    require_thresholds(progress)


def require_thresholds(progress: Progress | None) -> None:
    """Require that a finished run holds every threshold, and that any other has missed none.

    Raises:
        ThresholdMissedError: it lists the thresholds that were missed.
    """
    if progress is None:
        return
    refused = {State.MISSED, State.UNKNOWN} if progress.done else {State.MISSED}
    bad = [one for one in progress.thresholds if one.state in refused]
    if bad:
        listed = "; ".join(f"{one.check.text} ({one.seen_text})" for one in bad)
        raise ThresholdMissedError(f"threshold missed: {listed}")
