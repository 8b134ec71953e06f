"""The seal of a run that has ended: one digest over the ends of all chains and the final tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, and_, exists, func, select
from sqlalchemy.exc import DBAPIError

from sms_pipeline.core.clock import Clock, clock_of
from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.records import Control
from sms_pipeline.core.seal import Value, seal_over
from sms_pipeline.ledger import chains, queries, schema
from sms_pipeline.ledger.run_list import finished, read_settled
from sms_pipeline.ledger.store import Ledger

#: Tables of sums, which nobody adds to any more once a run has ended.
_SUMS = (
    schema.dispatched,
    schema.counters,
    schema.delivery_times,
    schema.receipt_counters,
    schema.receipt_times,
)
#: A producer that has not noted by then what the broker confirmed is gone.
LATE_SECONDS = 10.0


def read_seal(connection: Connection, run_id: int) -> str | None:
    """The seal that is recorded; None if none is."""
    query = select(schema.seals.c.seal).where(schema.seals.c.run == run_id)
    recorded: str | None = connection.execute(query).scalar()
    return recorded


def record_seal(ledger: Ledger, run_id: int, clock: Clock) -> str | None:
    """Seal a run, unless it is sealed; return the seal that stands.

    None: it can't be sealed yet, or this ledger may only be read.
    """
    try:
        # Looking takes no lock and no right to write.
        with ledger.reading() as connection:
            recorded = read_seal(connection, run_id)
            if recorded is not None or not may_be_sealed(connection, run_id, clock):
                return recorded
        with ledger.writing() as connection:
            connection.execute(queries.lock_control(run_id))
            recorded = read_seal(connection, run_id)
            if recorded is None and may_be_sealed(connection, run_id, clock):
                recorded = seal_of(connection, run_id)
                row = {"run": run_id, "seal": recorded, "sealed_at": clock.wall()}
                connection.execute(schema.seals.insert(), row)
            return recorded
    except (LedgerUnavailableError, DBAPIError):
        return None


def may_be_sealed(connection: Connection, run_id: int, clock: Clock) -> bool:
    """Whether the run has ended, and nobody has anything more to note of it."""
    run, batch = schema.runs.c, schema.batches.c
    query = select(run.total, run.control, run.boot, run.offset).where(run.id == run_id)
    found = connection.execute(query).one()
    settled = read_settled(connection, [run_id]).get(run_id)
    if settled is None or finished(settled) < found.total:
        return False
    unconfirmed = select(exists().where(batch.run == run_id, batch.published_at.is_(None)))
    now = clock_of(found, clock).wall()
    if found.control == Control.CANCELLED or now - settled.last_at > LATE_SECONDS:
        return True
    return not connection.execute(unconfirmed).scalar()


def seal_of(connection: Connection, run_id: int) -> str:
    """What the seal of the run is, as its records are now."""
    return seal_over(_parts(connection, run_id))


def _parts(connection: Connection, run_id: int) -> Iterator[Iterable[Value]]:
    run, batch = schema.runs.c, schema.batches.c
    row = connection.execute(select(schema.runs).where(run.id == run_id)).one()._mapping
    ledger_id = connection.execute(select(schema.identity.c.id)).scalar_one()
    yield ledger_id, run_id, *chains.values(schema.runs, row)
    yield row["control"], row["next_index"], row["next_batch"]
    yield from _ends(connection, run_id)
    published = select(batch.number, batch.published_at).where(batch.run == run_id)
    yield from map(tuple, connection.execute(published.order_by(batch.number)))
    for table in _SUMS:
        yield from (chains.values(table, one) for one in _rows(connection, table, run_id))
    workers = [one._mapping for one in connection.execute(queries.settled_workers(run_id))]
    for worker in sorted(workers, key=lambda one: (one["id"], one["profile"])):
        yield chains.values(schema.workers, worker)


def _ends(connection: Connection, run_id: int) -> list[tuple[str, int, str]]:
    """The last link of each writer: (writer, place, digest)."""
    link = schema.links.c
    last = (
        select(link.writer, func.max(link.place).label("place"))
        .where(link.run == run_id)
        .group_by(link.writer)
        .subquery()
    )
    is_last = and_(link.writer == last.c.writer, link.place == last.c.place)
    query = select(link.writer, link.place, link.digest).join(last, is_last)
    return sorted(map(tuple, connection.execute(query.where(link.run == run_id))))


def _rows(connection: Connection, table: Table, run_id: int) -> list[Any]:
    """In an order that does not depend on the language of the database."""
    keys = [column.name for column in table.primary_key]
    found = connection.execute(select(table).where(table.c.run == run_id))
    return sorted(
        (row._mapping for row in found), key=lambda row: tuple(row[name] for name in keys)
    )
