"""Follows runs: shows each until it is done, and holds it to its thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Run
from sms_pipeline.core.thresholds import State
from sms_pipeline.errors import LedgerUnavailableError, ThresholdMissedError
from sms_pipeline.ledger.following import Waiting, readings
from sms_pipeline.ledger.steering import Abort
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.display import View, tell_outages
from sms_pipeline.views.output import say
from sms_pipeline.views.reader import POLL_SECONDS, Reader

#: How often a run that is about to start is looked for.
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
        reader: reads it.
        view: is shown it, and told of an outage of the ledger.
        every: seconds between two updates; it is read more often, so that its end is noticed.
        wait: see `readings`; a true answer ends this, too.
        abort: sees each reading; what it says is told.
        clock: tells when an update is due.

    Returns:
        What was read last; None if nothing was.
    """

    def read() -> tuple[Progress, str | None]:
        progress = reader.read().progress
        return progress, abort(progress) if abort else None

    progress: Progress | None = None
    due_at = clock.monotonic()
    for progress, said in readings(read, min(POLL_SECONDS, every), wait, tell_outages(view.note)):
        if progress.done:
            break
        if said:
            view.note(said)
        if clock.monotonic() >= due_at:
            due_at = clock.monotonic() + every
            view.show(progress)
    return progress


def read_last(reader: Reader) -> Progress | None:
    """The run as it is now, to be shown at the end; None if the ledger can't be reached."""
    try:
        return reader.read().progress
    except LedgerUnavailableError:
        return None


def await_new_run(ledger: Ledger, seen: int | None, clock: Clock = MACHINE_CLOCK) -> Run:
    """Wait until a run newer than `seen` is started (None: any run), and return it."""

    def read() -> Run | None:
        return None if ledger.latest_run_id() == seen else ledger.run()

    for run in readings(read, NEW_RUN_POLL_SECONDS, clock.sleep, tell_outages(say)):
        if run:
            return run
    raise AssertionError("readings of a clock never end")


def runs_to_watch(
    ledger: Ledger, run_id: int | None, new: bool, forever: bool, clock: Clock = MACHINE_CLOCK
) -> Iterator[Run]:
    """The run with this id, or the latest; or the next one; or one after the other, for ever.

    Raises:
        UnknownRunError: there is none, and none is to be waited for.
    """
    seen = ledger.latest_run_id()
    wait = new or (forever and seen is None)
    run = await_new_run(ledger, seen, clock) if wait else ledger.run(run_id)
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
        view.close(read_last(reader), "still going on (the monitor was interrupted)")
        raise
    view.close(progress, "done")
    require_thresholds(progress)


def require_thresholds(progress: Progress | None) -> None:
    """At the end every threshold must be known to hold; before it, none may be missed for good.

    Raises:
        ThresholdMissedError: that is not so.
    """
    if progress is None:
        return
    refused = {State.MISSED, State.UNKNOWN} if progress.done else {State.MISSED}
    bad = [one for one in progress.thresholds if one.state in refused]
    if bad:
        listed = "; ".join(f"{one.check.text} ({one.seen_text})" for one in bad)
        raise ThresholdMissedError(f"threshold missed: {listed}")
