"""Queries of the ledger that are more than a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, exists, func, or_, select

from sms_pipeline.core.records import BatchRow, Step, WorkerRow
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.mapping import to_batch, to_step, to_worker


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
    """The numbers of the latest saved forecasts, newest first."""
    run = schema.runs.c
    return select(run.id).where(is_forecast()).order_by(run.id.desc()).limit(count)


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
