"""Follows a run, and shows it: in a terminal, as plain lines or as JSON lines."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import click

from sms_pipeline.core.checks import parse
from sms_pipeline.core.progress import Findings, Progress, Tracker
from sms_pipeline.core.records import Run, Snapshot
from sms_pipeline.core.thresholds import State
from sms_pipeline.errors import LedgerUnavailableError, ThresholdMissedError
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.steering import Abort
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.lines import profile_line, summary_lines, threshold_line, update_line
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.terminal import LiveView

#: How often the counters are read to notice the end; the reports come every N seconds.
POLL_SECONDS = 0.1
#: How often a run that is about to start is looked for.
NEW_RUN_POLL_SECONDS = 0.5
#: How often old batches are looked for: that query reads rows, not counters.
STUCK_PERIOD_SECONDS = 10.0


class View(Protocol):
    """A way to show a run."""

    def show(self, progress: Progress) -> None:
        """A report."""

    def note(self, message: str) -> None:
        """Something the user should know now."""

    def close(self, progress: Progress | None, ended: str) -> None:
        """The last report and the summary; `ended` says how it ended."""


class Reader:
    """Reads one run's counters."""

    def __init__(self, ledger: Ledger, run: Run, trusted: tuple[str, ...] = ()) -> None:
        self._ledger = ledger
        self._run = run
        self._tracker = Tracker(trusted)
        self._checks = [parse(threshold.check) for threshold in run.simulation.thresholds]
        self._findings = Findings()
        self._stuck_read_at = 0.0
        self._read_to_the_end = False
        #: The counters that the last progress was made from.
        self.snapshot: Snapshot | None = None

    def read_decided(self) -> Progress:
        """The run's progress, once it is known who is online; that takes up to 2.5 s.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        progress = self.read()
        while not (progress.done or self._tracker.decided):
            time.sleep(POLL_SECONDS)
            progress = self.read()
        return progress

    def read(self) -> Progress:
        """The run's progress now.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        now = time.monotonic()
        snapshot = self.snapshot = self._ledger.snapshot(self._run)
        if now - self._stuck_read_at >= STUCK_PERIOD_SECONDS:
            self._stuck_read_at = now
            self._look_for_stuck()
        self._look_for_reached(snapshot)
        if snapshot.done and not self._read_to_the_end:
            self._look_at_the_end()
            self._read_to_the_end = True
        return self._tracker.update(snapshot, now, time.time(), self._findings)

    def _look_for_stuck(self) -> None:
        before = time.time() - self._run.simulation.stuck_after
        self._find(stuck=self._ledger.stuck(self._run.id, before))

    def _look_for_reached(self, snapshot: Snapshot) -> None:
        """Once for each number of messages: the query reads rows, not counters."""
        delivered = snapshot.counts.delivered
        found = self._findings.reached_at
        due = {check.messages(snapshot.total) for check in self._checks if check.share}
        for messages in due - found.keys():
            at = (
                self._ledger.delivered_at(self._run.id, messages) if delivered >= messages else None
            )
            if at is not None:
                self._find(reached_at={**self._findings.reached_at, messages: at})

    def _look_at_the_end(self) -> None:
        """The audit reads every record, so it is made once, and only if a threshold asks."""
        if not any(check.audited for check in self._checks):
            return
        report = audit_ledger(self._ledger, self._run)
        if report.lost or report.doubled or not report.problems:
            self._find(lost=report.lost, doubled=report.doubled)

    def _find(self, **found: object) -> None:
        self._findings = dataclasses.replace(self._findings, **found)  # type: ignore[arg-type]


def follow(
    reader: Reader,
    view: View,
    every: float,
    stopped: threading.Event,
    abort: Callable[[Progress], str | None] | None = None,
) -> Progress | None:
    """Report every `every` seconds until the run is done or `stopped` is set; return the last.

    `abort` sees each reading; what it says is shown.
    """
    progress: Progress | None = None
    shown_at = -every
    while not stopped.is_set():
        try:
            progress = reader.read()
            said = abort(progress) if abort else None
        except LedgerUnavailableError as error:
            view.note(f"{error}; waiting for it")
            stopped.wait(max(every, 1.0))
            continue
        if progress.done:
            break
        if said:
            view.note(said)
        if time.monotonic() - shown_at >= every:
            shown_at = time.monotonic()
            view.show(progress)
        stopped.wait(min(POLL_SECONDS, every))
    return progress


def await_new_run(ledger: Ledger, seen: int | None) -> Run:
    """Wait until a run newer than `seen` is started (None: any run), and return it."""
    told = False
    while True:
        try:
            if ledger.latest_run_id() != seen:
                return ledger.run()
        except LedgerUnavailableError as error:
            if not told:
                click.echo(f"{error}; waiting for it", err=True)
            told = True
        time.sleep(NEW_RUN_POLL_SECONDS)


def runs_to_watch(ledger: Ledger, run_id: int | None, new: bool, forever: bool) -> Iterator[Run]:
    """The run with this id, or the latest; or the next one; or one after the other, for ever.

    Raises:
        UnknownRunError: there is none, and none is to be waited for.
    """
    seen = ledger.latest_run_id()
    wait = new or (forever and seen is None)
    run = await_new_run(ledger, seen) if wait else ledger.run(run_id)
    yield run
    while forever:
        run = await_new_run(ledger, run.id)
        yield run


def watch(ledger: Ledger, run: Run, view: View, once: bool) -> None:
    """The `monitor` command: report until the run is done, or only `once`.

    Raises:
        ThresholdMissedError: the run did not keep to its thresholds.
        KeyboardInterrupt: the user stopped it; the view has shown the summary.
    """
    reader = Reader(ledger, run)
    if once:
        now = reader.read_decided()
        view.show(now)
        require_thresholds(now)
        return
    try:
        every = run.simulation.report_period
        progress = follow(reader, view, every, threading.Event(), Abort(ledger, run))
    except KeyboardInterrupt:
        view.close(reader.read(), "still going on (the monitor was interrupted)")
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


class JsonView:
    """One JSON object a report, one line each."""

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        click.echo(json.dumps(progress_json(progress)))

    def note(self, message: str) -> None:
        """See `View.note`."""
        click.echo(message, err=True)

    def close(self, progress: Progress | None, ended: str) -> None:
        """See `View.close`."""
        if progress:
            self.show(progress)


class SummaryJsonView(JsonView):
    """Only the last object, for `run --json`: what comes before is on stderr."""

    def __init__(self) -> None:
        self._lines = PlainView(err=True)

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self._lines.show(progress)

    def close(self, progress: Progress | None, ended: str) -> None:
        """See `View.close`."""
        if progress:
            click.echo(json.dumps(progress_json(progress)))


class PlainView:
    """Lines for pipes and logs."""

    def __init__(self, err: bool = False) -> None:
        self._err = err

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self._line(update_line(progress))
        for profile in progress.profiles:
            self._line(f"    {profile_line(profile)}")
        for warning in progress.warnings:
            self._line(f"    ! {warning}")
        for judgement in progress.thresholds:
            self._line(f"    {threshold_line(judgement)}")

    def note(self, message: str) -> None:
        """See `View.note`."""
        click.echo(message, err=True)

    def close(self, progress: Progress | None, ended: str) -> None:
        """See `View.close`."""
        if progress is None:
            self._line(ended)
            return
        self._line(update_line(progress))
        for line in summary_lines(progress, ended):
            self._line(line)

    def _line(self, text: str) -> None:
        click.echo(text, err=self._err)


def make_view(as_json: bool, terminal: bool) -> View:
    """The view for where the output goes."""
    if as_json:
        return JsonView()
    return LiveView() if terminal else PlainView()
