"""What the ledger holds, as lists: runs, senders, failures."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import Counts
from sms_pipeline.core.messages import make_columns
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.following import online_workers
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views import format
from sms_pipeline.views.lines import other_ends


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
