"""Views of a run's progress: a table that redraws in place, plain lines, or JSON lines."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sms_pipeline.audit import audit_ledger
from sms_pipeline.entries import Run, Snapshot
from sms_pipeline.errors import LedgerUnavailableError, ThresholdMissedError
from sms_pipeline.ledger import Ledger
from sms_pipeline.progress import Findings, ProfileProgress, Progress, Tracker
from sms_pipeline.recovery import Abort
from sms_pipeline.thresholds import Judgement, State, parse

#: How often the counters are read to notice the end; the reports come every N seconds.
POLL_SECONDS = 0.1
#: How often a run that is about to start is looked for.
NEW_RUN_POLL_SECONDS = 0.5
#: How often old batches are looked for: that query reads rows, not counters.
STUCK_PERIOD_SECONDS = 10.0
#: Below this width a table row keeps only what fits.
_NARROW_COLUMNS = 72


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
        if snapshot.finished >= snapshot.total and not self._read_to_the_end:
            self._look_at_the_end()
            self._read_to_the_end = True
        return self._tracker.update(snapshot, now, time.time(), self._findings)

    def _look_for_stuck(self) -> None:
        before = time.time() - self._run.simulation.stuck_after
        self._find(stuck=self._ledger.stuck(self._run.id, before))

    def _look_for_reached(self, snapshot: Snapshot) -> None:
        """Once for each number of messages: the query reads rows, not counters."""
        sent = sum(profile.delivered for profile in snapshot.profiles)
        found = self._findings.reached_at
        due = {check.messages(snapshot.total) for check in self._checks if check.share}
        for messages in due - found.keys():
            at = self._ledger.delivered_at(self._run.id, messages) if sent >= messages else None
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


def watch(ledger: Ledger, run: Run, view: View, every: float, once: bool) -> None:
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
        click.echo(json.dumps(progress.to_json()))

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
            click.echo(json.dumps(progress.to_json()))


class PlainView:
    """Lines for pipes and logs."""

    def __init__(self, err: bool = False) -> None:
        self._err = err

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self._line(report_line(progress))
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
        self.show(progress)
        for line in summary_lines(progress, ended):
            self._line(line)

    def _line(self, text: str) -> None:
        click.echo(text, err=self._err)


class LiveView:
    """A table that redraws in place."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self._live.update(self._render(progress), refresh=True)

    def note(self, message: str) -> None:
        """See `View.note`."""
        self._live.console.print(Text(message, style="yellow"))

    def close(self, progress: Progress | None, ended: str) -> None:
        """See `View.close`."""
        self._live.stop()
        if progress is None:
            self._console.print(ended)
            return
        self._console.print(_profile_table(progress, self._narrow))
        for line in summary_lines(progress, ended):
            self._console.print(Text(line))

    @property
    def _narrow(self) -> bool:
        return self._console.width < _NARROW_COLUMNS

    def _render(self, progress: Progress) -> RenderableType:
        # A bar alone does not end its line.
        bar = Padding(ProgressBar(total=progress.total, completed=progress.finished), 0)
        lines = [Text(line) for line in status_lines(progress)]
        warnings = [Text(f"! {warning}", style="bold yellow") for warning in progress.warnings]
        table = _profile_table(progress, self._narrow)
        return Group(Text(f"Run {progress.run}", style="bold"), bar, *lines, table, *warnings)


def make_view(as_json: bool, terminal: bool) -> View:
    """The view for where the output goes."""
    if as_json:
        return JsonView()
    return LiveView() if terminal else PlainView()


def status_lines(progress: Progress) -> list[str]:
    """The figures of a run, in short lines."""
    times = progress.times
    return [
        f"{progress.share:.1%} of {progress.total:,}  ·  sent {progress.sent:,}  ·  "
        f"failed {progress.failed:,}",
        f"failed attempts {progress.failed_attempts:,}  ·  waiting {progress.backlog:,}  ·  "
        f"retrying {progress.retrying:,}",
        f"rate {progress.rate:,.0f}/s (average {progress.average_rate:,.0f}/s)  ·  "
        f"ETA {_duration(progress.eta_seconds)}",
        f"average time per message {_time(times.mean_delivery)} (send {_time(times.mean_send)})",
        f"delivered within {_time(times.p50_delivery)} (p50), {_time(times.p95_delivery)} (p95), "
        f"{_time(times.p99_delivery)} (p99)",
    ]


def report_line(progress: Progress) -> str:
    """One report as one line."""
    times = progress.times
    return (
        f"[{progress.seconds:7.1f} s] {progress.share:6.1%}  sent {progress.sent:,}  "
        f"failed {progress.failed:,}  average time per message {_time(times.mean_delivery)} "
        f"(send {_time(times.mean_send)})  failed attempts {progress.failed_attempts:,}  "
        f"rate {progress.rate:,.0f}/s  p50 {_time(times.p50_delivery)}  "
        f"p95 {_time(times.p95_delivery)}  p99 {_time(times.p99_delivery)}  "
        f"ETA {_duration(progress.eta_seconds)}"
    )


def profile_line(profile: ProfileProgress) -> str:
    """One profile as one line."""
    return (
        f"{profile.name}: senders online {profile.online_senders:,}  backlog {profile.backlog:,}  "
        f"retrying {profile.retrying:,}  sent {profile.sent:,}  failed {profile.failed:,}  "
        f"average time per message {_time(profile.times.mean_delivery)} "
        f"(send {_time(profile.times.mean_send)})"
    )


def threshold_line(judgement: Judgement) -> str:
    """One threshold as one line."""
    return f"threshold {judgement.state}: {judgement.check.text} ({judgement.seen_text})"


def summary_lines(progress: Progress, ended: str) -> list[str]:
    """What is worth reading a week later."""
    times = progress.times
    return [
        f"Run {progress.run} {ended}: {progress.finished:,} of {progress.total:,} messages in "
        f"{progress.seconds:,.1f} s, {progress.average_rate:,.0f} a second.",
        f"Sent {progress.sent:,}, failed {progress.failed:,} (out of attempts)"
        f"{_other_ends(progress)}; failed attempts {progress.failed_attempts:,}.",
        f"Average time per message {_time(times.mean_delivery)} from dispatch to the end "
        f"(p50 {_time(times.p50_delivery)}, p95 {_time(times.p95_delivery)}, "
        f"p99 {_time(times.p99_delivery)}); {_time(times.mean_send)} at the sender.",
    ]


def _other_ends(progress: Progress) -> str:
    ends = {"expired": progress.expired, "cancelled": progress.cancelled}
    return "".join(f", {name} {count:,}" for name, count in ends.items() if count)


_HEADINGS = ("profile", "online", "waiting", "retrying", "sent", "failed", "time", "send")
_NARROW_HEADINGS = 6


def _profile_table(progress: Progress, narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    headings = _HEADINGS[:_NARROW_HEADINGS] if narrow else _HEADINGS
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "profile" else "right")
    for profile in progress.profiles:
        cells = (
            profile.name,
            f"{profile.online_senders:,}",
            f"{profile.backlog:,}",
            f"{profile.retrying:,}",
            f"{profile.sent:,}",
            f"{profile.failed:,}",
            _time(profile.times.mean_delivery),
            _time(profile.times.mean_send),
        )
        table.add_row(*cells[: len(headings)])
    return table


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f} s"


_MINUTE, _HOUR = 60, 3_600


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
