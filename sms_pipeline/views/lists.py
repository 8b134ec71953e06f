"""What the ledger holds, as lists: runs, senders, failures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.messages import make_columns
from sms_pipeline.core.records import Failure, Run, RunTotals
from sms_pipeline.ledger.following import OnlineWorker, online_workers
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.format import (
    count,
    duration,
    exact_percent,
    exact_seconds,
    iso,
    moment,
    percent,
)
from sms_pipeline.views.lines import other_ends
from sms_pipeline.views.output import new_table, write, write_all

#: How many runs to read from the ledger at a time.
PAGE_RUNS = 500


def list_runs(ledger: Ledger) -> None:
    """Print all runs, oldest first.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    table = new_table("run", "started", "messages", "delivered", "failed", "state", "seed")
    for totals in reversed(list(_all_totals(ledger))):
        table.add_row(*_run_cells(totals))
    write_all(table)


def _all_totals(ledger: Ledger) -> Iterator[RunTotals]:
    """All runs, newest first, read page by page."""
    before: int | None = None
    while page := ledger.totals(PAGE_RUNS, before):
        yield from page
        before = page[-1].run.id


def _run_cells(totals: RunTotals) -> list[str]:
    run, counts = totals.run, totals.counts
    return [
        str(run.id),
        moment(run.started_at),
        count(run.total),
        count(counts.delivered),
        count(counts.failed),
        _state(totals),
        str(run.seed),
    ]


def _state(totals: RunTotals) -> str:
    counts = totals.counts
    state = "done" if totals.done else percent(counts.finished / totals.run.total)
    return state + "".join(f", {count(some)} {name}" for name, some in other_ends(counts).items())


def list_senders(ledger: Ledger, clock: Clock = MACHINE_CLOCK) -> None:
    """Print the workers that are online.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    online = online_workers(ledger, clock)
    if not online:
        write("No sender is online.")
        return
    table = new_table("worker", "profile", "senders", "mean time", "failure rate", "last seen")
    for worker in online:
        table.add_row(*_worker_cells(worker))
    write_all(table)


def _worker_cells(worker: OnlineWorker) -> list[str]:
    row = worker.row
    return [
        row.id,
        row.profile,
        count(row.senders),
        exact_seconds(row.mean_time),
        exact_percent(row.failure_rate),
        f"{duration(worker.seen_seconds_ago)} ago",
    ]


def list_failures(ledger: Ledger, run: Run, as_csv: bool) -> None:
    """Print one line for each message that was not reached.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    if as_csv:
        write(_csv_line(_HEADINGS), newline=False)
    listed = 0
    for failure in ledger.failures(run.id):
        listed += 1
        if as_csv:
            write(_csv_line(_cells(run, failure)), newline=False)
        else:
            write(_line(run, failure))
    if not as_csv:
        write(_sum(ledger, run, listed))


_HEADINGS = ("message", "to", "profile", "reason", "attempts", "failed_at")


def _cells(run: Run, failure: Failure) -> tuple[object, ...]:
    return (
        failure.message_index,
        _recipient(run, failure.message_index),
        failure.profile,
        failure.reason,
        failure.attempts,
        iso(failure.failed_at),
    )


def _line(run: Run, failure: Failure) -> str:
    index, to, profile, reason, attempts, at = _cells(run, failure)
    return f"message {index}  {to}  {profile}  {reason} after {attempts} attempts  {at}"


def _sum(ledger: Ledger, run: Run, listed: int) -> str:
    cancelled = ledger.snapshot(run).counts.cancelled
    also = f" {count(cancelled)} more were cancelled." if cancelled else ""
    return f"Run {run.id}: {count(listed)} messages were not reached.{also}"


def _recipient(run: Run, index: int) -> str:
    simulation = run.simulation
    columns = make_columns(run.seed, index, 1, simulation.max_text_length, simulation.phone_format)
    return columns.to


def _csv_line(cells: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
