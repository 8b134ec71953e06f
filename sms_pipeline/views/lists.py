"""What the ledger holds, as lists: runs, senders, failures, and the trace of a run."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import Counts
from sms_pipeline.core.messages import make_columns
from sms_pipeline.core.records import BatchRow, Run, Settlement, WorkerRow
from sms_pipeline.ledger.following import online_workers
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views import format
from sms_pipeline.views.lines import other_ends

#: How often the ledger is read again by what follows it.
POLL_SECONDS = 0.25
#: A transaction may become visible this much later than the times written in it.
COMMIT_LAG_SECONDS = 10.0


def list_runs(ledger: Ledger) -> None:
    """Print all runs, oldest first."""
    rows = []
    for run in ledger.runs():
        snapshot = ledger.snapshot(run)
        counts = snapshot.counts
        rows.append(
            (
                run.id,
                format.moment(snapshot.started_at or run.created_at),
                format.count(run.total),
                format.count(counts.delivered),
                format.count(counts.failed),
                _state(run, counts),
                run.seed,
            )
        )
    _print(("run", "started", "messages", "delivered", "failed", "state", "seed"), rows)


def _state(run: Run, counts: Counts) -> str:
    finished = counts.finished
    state = "done" if finished >= run.total else format.percent(finished / run.total)
    others = "".join(f", {format.count(some)} {name}" for name, some in other_ends(counts).items())
    return state + others


def list_senders(ledger: Ledger, clock: Clock = MACHINE_CLOCK) -> None:
    """Print who is online."""
    rows = [
        (
            row.id,
            row.profile,
            format.count(row.senders),
            format.exact_seconds(row.mean_time),
            format.exact_percent(row.failure_rate),
            f"{format.duration(seen_seconds_ago)} ago",
        )
        for row, seen_seconds_ago in online_workers(ledger, clock)
    ]
    if not rows:
        click.echo("No sender is online.")
        return
    _print(("worker", "profile", "senders", "mean time", "failure rate", "last seen"), rows)


def list_failures(ledger: Ledger, run: Run, as_csv: bool) -> None:
    """Print who was not reached."""
    heading = ("message", "to", "profile", "reason", "attempts", "failed_at")
    simulation = run.simulation
    writer = csv.writer(sys.stdout)
    if as_csv:
        writer.writerow(heading)
    listed = 0
    for failure in ledger.failures(run.id):
        message = make_columns(
            run.seed, failure.message_index, 1, simulation.max_text_length, simulation.phone_format
        )
        at = format.iso(failure.failed_at)
        listed += 1
        if as_csv:
            writer.writerow(
                (
                    failure.message_index,
                    message.to,
                    failure.profile,
                    failure.reason,
                    failure.attempts,
                    at,
                )
            )
        else:
            click.echo(
                f"message {failure.message_index}  {message.to}  {failure.profile}  "
                f"{failure.reason} after {failure.attempts} attempts  {at}"
            )
    if not as_csv:
        cancelled = ledger.snapshot(run).counts.cancelled
        also = f" {format.count(cancelled)} more were cancelled." if cancelled else ""
        click.echo(f"Run {run.id}: {format.count(listed)} messages were not reached.{also}")


class Event(NamedTuple):
    """A line of the trace."""

    at: float
    text: str


def trace(ledger: Ledger, run: Run, follow: bool) -> None:
    """Print the run's events in order; with `follow`, go on until the run is done."""
    printed: set[Event] = set()
    newest = 0.0
    while True:
        snapshot = ledger.snapshot(run)
        fresh = [
            event
            for event in _events(ledger, run, newest - COMMIT_LAG_SECONDS)
            if event not in printed
        ]
        for event in fresh:
            click.echo(f"{format.clock(event.at)}  {event.text}")
        newest = max([newest, *(event.at for event in fresh)])
        printed = {
            event for event in printed | set(fresh) if event.at > newest - COMMIT_LAG_SECONDS
        }
        if not follow or snapshot.done:
            return
        time.sleep(POLL_SECONDS)


def _events(ledger: Ledger, run: Run, after: float) -> list[Event]:
    dispatched = [
        event for row in ledger.dispatches_since(run.id, after) for event in _dispatch_events(row)
    ]
    settled = [
        event for row in ledger.settlements_since(run.id, after) for event in _settled_events(row)
    ]
    moved = [event for event in _worker_events(ledger.all_workers(), run) if event.at > after]
    return sorted([*dispatched, *settled, *moved], key=lambda event: event.at)


def _dispatch_events(row: BatchRow) -> Iterator[Event]:
    last = row.first_index + row.size - 1
    yield Event(
        row.published_at or row.queued_at,
        f"dispatched  batch {row.number}: messages {row.first_index}-{last} to {row.profile}",
    )


def _settled_events(settlement: Settlement) -> Iterator[Event]:
    _, batch, attempt = settlement.key
    yield Event(
        settlement.settled_at,
        f"settled     batch {batch}, attempt {attempt + 1}: {settlement.delivered} delivered, "
        f"{settlement.failed} failed  ({settlement.profile}, {settlement.worker})",
    )
    if settlement.retried:
        yield Event(
            settlement.settled_at,
            f"retry       batch {batch}: {settlement.retried} messages to attempt {attempt + 2}",
        )


def _worker_events(workers: Iterable[WorkerRow], run: Run) -> Iterator[Event]:
    """Who joined or left while the run was on, and who was there when it began."""
    for worker in workers:
        what = f"{worker.senders} senders of {worker.profile}  ({worker.id})"
        if worker.left_at is not None and worker.left_at < run.created_at:
            continue
        yield Event(worker.joined_at, f"joined      {what}")
        if worker.left_at is not None:
            yield Event(worker.left_at, f"left        {what}")


def _print(heading: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """A table on a terminal; the same columns, never cut, in a pipe."""
    table = Table(box=None, pad_edge=False)
    for title in heading:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
