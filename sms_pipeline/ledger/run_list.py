"""The list of runs, and what is settled of each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, ScalarSelect, func, literal, select
from sqlalchemy.exc import DatabaseError

from sms_pipeline.core.counts import Counts
from sms_pipeline.core.errors import DamagedLedgerError
from sms_pipeline.core.records import Run
from sms_pipeline.core.run_list import RunPage, RunTotals, Unreadable
from sms_pipeline.ledger import queries, schema
from sms_pipeline.ledger.database import damage_of
from sms_pipeline.ledger.mapping import to_run

_TERMINAL = ("delivered", "failed", "expired", "cancelled")


def read_page(connection: Connection, count: int, before: int | None) -> RunPage:
    """The latest `count` runs, or the latest of those older than `before`, newest first.

    One that can't be read hides no other.
    """
    run = schema.runs.c
    query = select(run.id).order_by(run.id.desc()).limit(count)
    if before is not None:
        query = query.where(run.id < before)
    return _read_each(connection, list(connection.execute(query).scalars()))


def read_forecasts(connection: Connection, count: int) -> list[Run]:
    """The latest saved forecasts that can be read, newest first."""
    run_ids = connection.execute(queries.forecasts(count)).scalars()
    return [one.run for one in _read_each(connection, list(run_ids)).runs]


def _read_each(connection: Connection, run_ids: list[int]) -> RunPage:
    found, unreadable = list[RunTotals](), list[Unreadable]()
    oldest = min(run_ids, default=None)
    try:
        return RunPage(_read_totals(connection, run_ids), unreadable, oldest)
    except (DamagedLedgerError, DatabaseError) as error:
        _require_damage(error)
    for run_id in run_ids:
        try:
            found += _read_totals(connection, [run_id])
        except (DamagedLedgerError, DatabaseError) as error:
            unreadable.append(Unreadable(run_id, _require_damage(error)))
    return RunPage(found, unreadable, oldest)


def _require_damage(error: DamagedLedgerError | DatabaseError) -> str:
    """What is damaged; any other error of the database is raised again."""
    if isinstance(error, DamagedLedgerError):
        return str(error)
    damage = damage_of(error)
    if damage is None:
        raise error
    return f"the ledger has a row that can't be read: {damage}"


def _read_totals(connection: Connection, run_ids: list[int]) -> list[RunTotals]:
    run = schema.runs.c
    query = select(schema.runs).where(run.id.in_(run_ids)).order_by(run.id.desc())
    rows = connection.execute(query).all()
    settled = read_settled(connection, run_ids)
    dispatch, step = schema.dispatched.c, schema.steps.c
    acts = _read_latest(connection, run_ids, dispatch.run, dispatch.last_at)
    for run_id, at in _read_latest(connection, run_ids, step.run, step.at).items():
        acts[run_id] = max(at, acts.get(run_id, at))
    return [_totals(to_run(row), settled.get(row.id), acts.get(row.id)) for row in rows]


def _totals(run: Run, settled: Any, acted_at: float | None) -> RunTotals:
    if settled is None:
        return RunTotals(run, Counts(), acted_at)
    counts = Counts(
        delivered=settled.delivered or 0,
        failed=settled.failed or 0,
        expired=settled.expired or 0,
        cancelled=settled.cancelled or 0,
    )
    active_at = max(settled.last_at or 0.0, acted_at or 0.0)
    return RunTotals(run, counts, active_at, settled.settlements or 0, settled.last_at)


def finished(settled: Any) -> int:
    """Messages in a terminal state, of what `read_settled` returned."""
    return sum(getattr(settled, name) or 0 for name in _TERMINAL)


def finished_of_each() -> ScalarSelect[int]:
    """Messages in a terminal state, of each run of a query of runs."""
    counter = schema.counters.c
    sums = sum((func.sum(counter[name]) for name in _TERMINAL), literal(0))
    query = select(func.coalesce(sums, 0)).where(counter.run == schema.runs.c.id)
    return query.scalar_subquery()


def read_settled(connection: Connection, run_ids: list[int]) -> dict[int, Any]:
    """What is settled of each run: sums, and when the last was."""
    counter = schema.counters.c
    sums = [func.sum(counter[name]).label(name) for name in (*_TERMINAL, "settlements")]
    last = func.max(counter.last_settled_at).label("last_at")
    query = select(counter.run, last, *sums).where(counter.run.in_(run_ids)).group_by(counter.run)
    return {row.run: row for row in connection.execute(query)}


def _read_latest(
    connection: Connection, run_ids: list[int], run: Any, moment: Any
) -> dict[int, float]:
    """The latest moment in that column, by run."""
    query = select(run, func.max(moment)).where(run.in_(run_ids)).group_by(run)
    return {row[0]: row[1] for row in connection.execute(query)}
