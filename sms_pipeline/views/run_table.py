"""Runs in a list: a table that fits the terminal, and JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from sms_pipeline.core.errors import printable
from sms_pipeline.core.run_list import RunTotals
from sms_pipeline.views.format import (
    count,
    duration,
    iso,
    moment,
    percent,
    rate,
    tag_list,
)
from sms_pipeline.views.objects import rounded
from sms_pipeline.views.outcome import Outcome

#: Between two columns.
_GAP = 2
#: A name is cut to this before a column is left out.
_LEAST_NAME = 8


class ListedRun(NamedTuple):
    """A run, what came of it, and when it is looked at."""

    totals: RunTotals
    outcome: Outcome
    wall: float


class _Column(NamedTuple):
    heading: str
    cell: Callable[[ListedRun], str]
    #: Those above 0 are left out on narrow terminals, the highest first.
    rank: int = 0
    is_number: bool = False


def run_table(listed: Sequence[ListedRun], width: int) -> Table:
    """The runs in order, each on one line."""
    columns = [one for one in _COLUMNS if one.rank < _IF_ANY or any(map(one.cell, listed))]
    while _width(listed, columns, _LEAST_NAME) > width and any(one.rank for one in columns):
        columns.remove(max(columns, key=lambda one: one.rank))
    name = max(width - _width(listed, columns, 0), _LEAST_NAME)
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=_width(listed, [column], 0) if column.heading == "run" else None,
            max_width=name if column.heading == "name" else None,
        )
    for one in listed:
        # A user's words are no markup.
        table.add_row(*(Text(printable(column.cell(one))) for column in columns))
    return table


def _width(listed: Sequence[ListedRun], columns: Sequence[_Column], name: int) -> int:
    """Of the table, with names that take at most `name`."""
    widths = []
    for column in columns:
        widest = max(cell_len(column.heading), *(cell_len(column.cell(one)) for one in listed), 0)
        widths.append(min(widest, name) if column.heading == "name" else widest)
    return sum(widths) + _GAP * (len(widths) - 1)


def _name(one: ListedRun) -> str:
    return one.totals.simulation.name or ""


def _tags(one: ListedRun) -> str:
    return tag_list(one.totals.simulation.tags)


def _expired(one: ListedRun) -> str:
    expired = one.totals.counts.expired
    return count(expired) if expired else ""


def _cancelled(one: ListedRun) -> str:
    cancelled = one.totals.counts.cancelled
    return count(cancelled) if cancelled else ""


def _state(one: ListedRun) -> str:
    totals, state = one.totals, one.outcome.state
    if totals.done:
        return state
    return f"{state} {percent(totals.counts.finished / totals.run.total)}"


#: Columns of this rank or a higher one are there only if a run has something in them.
_IF_ANY = 6
_COLUMNS = (
    _Column("run", lambda one: str(one.totals.run.id)),
    _Column("name", _name),
    _Column("state", _state),
    _Column("verdict", lambda one: one.outcome.word, 1),
    _Column("messages", lambda one: count(one.totals.run.total), is_number=True),
    _Column("delivered", lambda one: count(one.totals.counts.delivered), is_number=True),
    _Column("duration", lambda one: duration(one.totals.seconds(one.wall)), 2, is_number=True),
    _Column("rate", lambda one: rate(one.totals.average_rate(one.wall)), 3, is_number=True),
    _Column("failed", lambda one: count(one.totals.counts.failed), 4, is_number=True),
    _Column("started", lambda one: moment(one.totals.run.started_at), 5),
    _Column("expired", _expired, _IF_ANY, is_number=True),
    _Column("cancelled", _cancelled, _IF_ANY, is_number=True),
    _Column("tags", _tags, _IF_ANY),
    _Column("urgent", lambda one: "yes" if one.totals.simulation.urgent else "", _IF_ANY),
)


def listed_json(one: ListedRun) -> dict[str, Any]:
    """A run as an object."""
    totals, outcome = one.totals, one.outcome
    run, counts, simulation = totals.run, totals.counts, totals.simulation
    return {
        "run": run.id,
        "name": simulation.name,
        "tags": simulation.tags,
        "urgent": simulation.urgent,
        "started_at": iso(run.started_at),
        "seed": run.seed,
        "state": outcome.state.value,
        "done": totals.done,
        "outcome": outcome.line,
        "total": run.total,
        "delivered": counts.delivered,
        "failed": counts.failed,
        "expired": counts.expired,
        "cancelled": counts.cancelled,
        "seconds": rounded(totals.seconds(one.wall)),
        "average_rate": rounded(totals.average_rate(one.wall)),
    }
