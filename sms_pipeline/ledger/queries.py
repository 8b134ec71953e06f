"""Queries of the ledger that are more than a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, exists, func, or_, select
from sqlalchemy.exc import DatabaseError

from sms_pipeline.core.counts import Counts, ProfileCounts
from sms_pipeline.core.errors import DamagedLedgerError
from sms_pipeline.core.receipts import NO_RECEIPTS
from sms_pipeline.core.records import SUMMED, BatchRow, Control, Run, Snapshot, Step, WorkerRow
from sms_pipeline.core.run_list import RunPage, RunTotals, Unreadable
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.database import damage_of
from sms_pipeline.ledger.handed import read_moved
from sms_pipeline.ledger.histograms import read_histograms
from sms_pipeline.ledger.mapping import known, plain_numbers, to_batch, to_run, to_step, to_worker
from sms_pipeline.ledger.receipts import read_on_phone


def stuck(run_id: int, queued_before: float) -> Select[Any]:
    """(profile, messages) of batches queued before then whose first attempt is not settled."""
    batch, settled = schema.batches.c, schema.settlements.c
    is_settled = exists().where(
        and_(settled.run == batch.run, settled.batch == batch.number, settled.attempt == 0)
    )
    return (
        select(batch.profile, func.sum(batch.size))
        .where(batch.run == run_id, batch.queued_at < queued_before, ~is_settled)
        .group_by(batch.profile)
    )


def unsettled(run_id: int) -> Select[Any]:
    """Recorded batches without a settlement, or whose last one left a remainder."""
    batch, settled = schema.batches.c, schema.settlements.c
    last = (
        select(settled.batch, func.max(settled.attempt).label("attempt"))
        .where(settled.run == run_id)
        .group_by(settled.batch)
        .subquery()
    )
    on_last = and_(settled.batch == last.c.batch, settled.attempt == last.c.attempt)
    ends = (
        select(settled.batch, settled.attempt, settled.remainder)
        .where(settled.run == run_id)
        .join(last, on_last)
        .subquery()
    )
    return (
        select(schema.batches, ends.c.attempt, ends.c.remainder)
        .outerjoin(ends, ends.c.batch == batch.number)
        .where(
            batch.run == run_id,
            or_(ends.c.attempt.is_(None), ends.c.remainder.is_not(None)),
        )
        .order_by(batch.number)
    )


def retrying(run_id: int, settled_after: float) -> Select[Any]:
    """Settlements since then that left a remainder whose next attempt is not settled."""
    one, later, batch = schema.settlements.c, schema.settlements.alias().c, schema.batches.c
    is_settled = exists().where(
        and_(later.run == one.run, later.batch == one.batch, later.attempt == one.attempt + 1)
    )
    return (
        select(one.batch, batch.profile, one.attempt, one.retried, one.settled_at)
        .join(schema.batches)
        .where(one.run == run_id, one.settled_at >= settled_after, one.retried > 0, ~is_settled)
    )


def batch_of(run_id: int, index: int) -> Select[Any]:
    """The batch that a message of the run is in."""
    batch = schema.batches.c
    return select(schema.batches).where(
        batch.run == run_id, batch.first_index <= index, batch.first_index + batch.size > index
    )


def chain(run_id: int, batch_number: int) -> Select[Any]:
    """The settlements of a batch, by attempt."""
    settled = schema.settlements.c
    query = select(schema.settlements).order_by(settled.attempt)
    return query.where(settled.run == run_id, settled.batch == batch_number)


def reason(run_id: int, index: int) -> Select[Any]:
    """Why a message was not reached, if it is listed so."""
    failure = schema.failures.c
    return select(failure.reason).where(failure.run == run_id, failure.message_index == index)


def delivered_at(run_id: int, messages: int) -> Select[Any]:
    """When that many messages of the run were delivered."""
    settled = schema.settlements.c
    order = (settled.settled_at, settled.batch, settled.attempt)
    sums = (
        select(settled.settled_at, func.sum(settled.delivered).over(order_by=order).label("n"))
        .where(settled.run == run_id)
        .subquery()
    )
    return select(func.min(sums.c.settled_at)).where(sums.c.n >= messages)


def standing() -> Select[Any]:
    """The control of a run, a batch of it, and its settled attempts from one on, in order."""
    run, settled, batch = schema.runs.c, schema.settlements.c, schema.batches.c
    on_batch = and_(batch.run == run.id, batch.number == bindparam("batch_number"))
    on_attempts = and_(
        settled.run == run.id,
        settled.batch == bindparam("batch_number"),
        settled.attempt >= bindparam("from_attempt"),
    )
    return (
        select(
            run.control,
            batch.profile,
            batch.first_index,
            batch.size,
            settled.attempt,
            settled.remainder,
        )
        .select_from(
            schema.runs.outerjoin(schema.batches, on_batch).outerjoin(
                schema.settlements, on_attempts
            )
        )
        .where(run.id == bindparam("run_id"))
        .order_by(settled.attempt)
    )


def lock_control(run_id: int) -> Select[Any]:
    """The control of a run, which nobody else changes or seals until this transaction ends.

    Rows that refer to the run can be added meanwhile: settling does not wait for it.
    """
    run = schema.runs.c
    return select(run.control).where(run.id == run_id).with_for_update(key_share=True)


def is_sealed(connection: Connection, run_id: int) -> bool:
    """Whether the run has ended for good. Who writes to it has locked it before."""
    sealed = select(schema.seals.c.run).where(schema.seals.c.run == run_id)
    return connection.execute(sealed).scalar() is not None


def read_present_workers(connection: Connection) -> tuple[WorkerRow, ...]:
    """Those that have not signed off, in the order in which they joined."""
    table = schema.workers
    query = select(table).where(table.c.left_at.is_(None)).order_by(table.c.joined_at)
    return tuple(to_worker(row) for row in connection.execute(query))


def read_workers_of(connection: Connection, run: Run, done: bool) -> tuple[WorkerRow, ...]:
    """Those that were there while the run was on; if it is done, those that settled some of it.

    Those of a forecast never were there.
    """
    worker = schema.workers
    if run.simulation.is_forecast:
        return _foretold_workers(connection, run)
    if done:
        query = settled_workers(run.id)
    else:
        present = or_(worker.c.left_at.is_(None), worker.c.left_at >= run.started_at)
        query = select(worker).where(present)
    ordered = query.order_by(worker.c.joined_at, worker.c.id)
    return tuple(to_worker(row) for row in connection.execute(ordered))


def _foretold_workers(connection: Connection, run: Run) -> tuple[WorkerRow, ...]:
    counter = schema.counters.c
    query = select(counter.profile, counter.worker).where(counter.run == run.id)
    ended_at = read_last_settled(connection, run.id) or run.started_at
    profiles = {profile.name: profile for profile in run.simulation.senders}
    return tuple(
        WorkerRow.playing(profiles[name], worker, joined_at=run.started_at, seen_at=ended_at)
        for name, worker in connection.execute(query.order_by(counter.worker))
        if name in profiles
    )


def is_forecast() -> ColumnElement[bool]:
    """Whether a run was forecast."""
    return _messages_from("forecast")


def is_rehearsal() -> ColumnElement[bool]:
    """Whether a run may be meant by "the latest": neither a forecast nor a part of `measure`."""
    return ~is_forecast() & ~_messages_from("measure")


def _messages_from(source: str) -> ColumnElement[bool]:
    """Whether its configuration says so, as JSON without spaces."""
    return schema.runs.c.simulation.contains(f'"messages_from":"{source}"', autoescape=True)


def forecasts(count: int) -> Select[Any]:
    """The latest saved forecasts, newest first."""
    run = schema.runs.c
    return select(schema.runs).where(is_forecast()).order_by(run.id.desc()).limit(count)


def settled_workers(run_id: int) -> Select[Any]:
    """The rows of workers that settled some of a run."""
    worker, counter = schema.workers, schema.counters.c
    settled = exists().where(
        counter.run == run_id,
        counter.worker == worker.c.id,
        counter.profile == worker.c.profile,
    )
    return select(worker).where(settled)


def read_steps(connection: Connection, run_id: int) -> tuple[Step, ...]:
    """How the run was steered, in order."""
    step = schema.steps.c
    query = select(step.what, step.at, step.idle_seconds).where(step.run == run_id)
    rows = connection.execute(query.order_by(step.id))
    return tuple(to_step(row) for row in rows)


def read_last_activity(connection: Connection, run_id: int) -> float | None:
    """When something of the run was last dispatched or settled; None if nothing ever was."""
    dispatch, counter = schema.dispatched.c, schema.counters.c
    moments = [
        connection.execute(select(func.max(column)).where(table == run_id)).scalar()
        for column, table in (
            (dispatch.last_at, dispatch.run),
            (counter.last_settled_at, counter.run),
        )
    ]
    return max((moment for moment in moments if moment is not None), default=None)


def read_last_settled(connection: Connection, run_id: int) -> float | None:
    """When an attempt was last settled; None before that."""
    counter = schema.counters.c
    query = select(func.max(counter.last_settled_at)).where(counter.run == run_id)
    last: float | None = connection.execute(query).scalar()
    return last


def read_batch(connection: Connection, row: BatchRow) -> BatchRow | None:
    """The record that is stored under the number of `row`, as if it were not published yet."""
    batch = schema.batches.c
    query = select(schema.batches).where(batch.run == row.run, batch.number == row.number)
    stored = connection.execute(query).one_or_none()
    return None if stored is None else replace(to_batch(stored), published_at=None)


def read_snapshot(connection: Connection, run: Run) -> Snapshot:
    """The run's counters."""
    control = connection.execute(
        select(schema.runs.c.control).where(schema.runs.c.id == run.id)
    ).scalar_one()
    profiles = read_profile_counts(connection, run)
    done = sum(counts.finished for counts in profiles) >= run.total
    return Snapshot(
        run=run.id,
        total=run.total,
        seed=run.seed,
        simulation=run.simulation,
        control=Control(control),
        profiles=profiles,
        workers=read_workers_of(connection, run, done),
        started_at=run.started_at,
        settled_at=read_last_settled(connection, run.id),
        embedded=run.embedded,
        active_at=read_last_activity(connection, run.id),
        steps=read_steps(connection, run.id),
    )


_COUNTED = ("first_attempts", "attempts", *SUMMED)


def read_profile_counts(connection: Connection, run: Run) -> tuple[ProfileCounts, ...]:
    """The sums of each profile, those that are configured first."""
    counter, dispatch = schema.counters.c, schema.dispatched.c
    summed = [func.sum(counter[name]).label(name) for name in _COUNTED]
    summed.append(func.max(counter.longest_delivery).label("longest_delivery"))
    counts = {
        known(row.profile, "profile"): row._mapping
        for row in connection.execute(
            select(counter.profile, *summed).where(counter.run == run.id).group_by(counter.profile)
        )
    }
    dispatched = {
        known(row.profile, "profile"): known(row.messages, "messages")
        for row in connection.execute(
            select(dispatch.profile, dispatch.messages).where(dispatch.run == run.id)
        )
    }
    delivery_times = read_histograms(connection, schema.delivery_times, run.id)
    on_phone = read_on_phone(connection, run.id)
    configured = [profile.name for profile in run.simulation.senders]
    own = [
        ProfileCounts(
            profile=name,
            dispatched=int(dispatched.get(name, 0)),
            delivery_times=delivery_times[name],
            on_phone=on_phone.get(name, NO_RECEIPTS),
            **plain_numbers(counts.get(name)),
        )
        for name in dict.fromkeys([*configured, *dispatched, *counts])
    ]
    return read_moved(connection, run.id).added_to(own)


_TERMINAL = ("delivered", "failed", "expired", "cancelled")


def read_page(connection: Connection, count: int, before: int | None) -> RunPage:
    """The latest `count` runs, or the latest of those older than `before`, newest first.

    One that can't be read hides no other.
    """
    run = schema.runs.c
    query = select(run.id).order_by(run.id.desc()).limit(count)
    if before is not None:
        query = query.where(run.id < before)
    run_ids = list(connection.execute(query).scalars())
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
