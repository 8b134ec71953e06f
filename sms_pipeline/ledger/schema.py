"""The ledger's tables."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    select,
    text,
)

from sms_pipeline.errors import LedgerUnavailableError

#: Raised with every change of the tables; a ledger of another version is refused.
SCHEMA_VERSION = 2
#: Any fixed number: whoever holds it may create the tables.
_CREATE_LOCK = 7_436_219

_metadata = MetaData()


def _table(name: str, *columns: Column[Any]) -> Table:
    return Table(name, _metadata, *columns)


def _key(name: str, kind: Any = Integer) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _value(name: str, kind: Any = BigInteger, nullable: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=nullable)


#: One row: which ledger this is.
identity = _table(
    "ledger_identity", _key("row"), _value("id", String(64)), _value("schema_version", Integer)
)

#: One run each. All times are seconds since the epoch.
runs = _table(
    "runs",
    Column("id", Integer, primary_key=True, autoincrement=True),
    #: When the alert was asked for.
    _value("started_at", Float(53)),
    _value("seed"),
    _value("total"),
    #: The frozen configuration, JSON.
    _value("simulation", Text),
    #: Whether its broker lives, and dies, with the process that started it.
    _value("embedded", Boolean),
    #: What the user wants: see `records.Control`.
    _value("control", String(16)),
    #: Where dispatch stands. Only the producer that moves both on from the values it read may
    #: dispatch the batches between, so two producers of one run can't overlap.
    _value("next_index"),
    _value("next_batch", Integer),
)

#: What was done to a run from outside, `what` as in `records.Steering`.
steps = _table(
    "steps",
    Column("id", Integer, primary_key=True, autoincrement=True),
    _value("run", Integer),
    _value("what", String(16)),
    _value("at", Float(53)),
    _value("idle_seconds", Float(53)),
)

#: Written before a batch is published; `published_at` once the broker has confirmed it.
batches = _table(
    "batches",
    _key("run"),
    _key("number"),
    _value("profile", String(64)),
    _value("first_index"),
    _value("size"),
    _value("queued_at", Float(53)),
    _value("published_at", Float(53), nullable=True),
)

#: One row for each attempt of each batch: the record that counts.
settlements = _table(
    "settlements",
    _key("run"),
    _key("batch"),
    _key("attempt"),
    _value("profile", String(64)),
    _value("worker", String(128)),
    _value("messages"),
    _value("delivered"),
    _value("failed"),
    _value("expired"),
    _value("cancelled"),
    _value("retried"),
    _value("send_seconds", Float(53)),
    _value("delivery_seconds", Float(53)),
    _value("transit_seconds", Float(53)),
    _value("settled_at", Float(53)),
    #: Bitmap over the whole batch of the messages this attempt took; NULL = all of them.
    _value("taken", LargeBinary, nullable=True),
    #: Bitmap over the whole batch of the messages left for the next attempt; NULL = none.
    _value("remainder", LargeBinary, nullable=True),
)
#: For those who follow a run: reading the last seconds of 200,000 settlements takes 4 ms with it,
#: 230 without. It adds 4 us to the 115 that recording a settlement takes.
_settled_in_order = Index("settlements_in_order", settlements.c.run, settlements.c.settled_at)

#: Sums of batch rows, so that nobody has to count them: one row for each profile.
dispatched = _table(
    "dispatched",
    _key("run"),
    _key("profile", String(64)),
    _value("batches"),
    _value("messages"),
    _value("last_at", Float(53)),
)

#: The counter table: sums of settlements, one row for each profile and worker process.
counters = _table(
    "counters",
    _key("run"),
    _key("profile", String(64)),
    _key("worker", String(128)),
    _value("settlements"),
    _value("first_attempts"),
    _value("attempts"),
    _value("delivered"),
    _value("failed"),
    _value("expired"),
    _value("cancelled"),
    _value("retried"),
    _value("send_seconds", Float(53)),
    _value("delivery_seconds", Float(53)),
    _value("transit_seconds", Float(53)),
    _value("longest_delivery", Float(53)),
    _value("last_settled_at", Float(53)),
)

#: The counter table's histogram of delivery times; buckets as in `histogram`.
delivery_times = _table(
    "delivery_times",
    _key("run"),
    _key("profile", String(64)),
    _key("worker", String(128)),
    _key("bucket"),
    _value("messages"),
)

#: What came twice and was counted once; `kind` as in `records.Absorbed`.
absorbed = _table(
    "absorbed",
    _key("run"),
    _key("kind", String(16)),
    _key("worker", String(128)),
    _value("batches"),
    _value("messages"),
)

#: Messages that were not delivered: out of attempts, or too late. Numbers and texts are not kept:
#: they follow from the seed.
failures = _table(
    "failures",
    _key("run"),
    _key("message_index", BigInteger),
    _value("batch", Integer),
    _value("profile", String(64)),
    _value("reason", String(16)),
    _value("attempts", Integer),
    _value("failed_at", Float(53)),
)

#: One row for each worker process and profile that ever joined.
workers = _table(
    "workers",
    _key("id", String(128)),
    _key("profile", String(64)),
    _value("senders", Integer),
    _value("mean_time", Float(53)),
    _value("failure_rate", Float(53)),
    #: Grows while the worker's driver thread is alive.
    _value("heartbeat"),
    _value("joined_at", Float(53)),
    _value("left_at", Float(53), nullable=True),
    _value("shape", Float(53)),
    _value("max_time", Float(53), nullable=True),
    #: When its heartbeat was written last, on its own clock.
    _value("seen_at", Float(53)),
)


def create_tables(connection: Connection) -> str:
    """Create what is missing; return the ledger's id. The caller holds a write transaction.

    Raises:
        LedgerUnavailableError: the tables are of another version.
    """
    from sqlalchemy.dialects.postgresql import insert as postgres_insert
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATE_LOCK})
    _metadata.create_all(connection)
    # `create_all` adds no index to a table that is there: a ledger may be older than this one.
    _settled_in_order.create(connection, checkfirst=True)
    insert = sqlite_insert if is_sqlite else postgres_insert
    fresh = {"row": 1, "id": uuid.uuid4().hex, "schema_version": SCHEMA_VERSION}
    connection.execute(insert(identity).on_conflict_do_nothing(), fresh)
    row = connection.execute(select(identity)).one()
    if row.schema_version != SCHEMA_VERSION:
        raise LedgerUnavailableError(
            f"the ledger was made by another version of sms-pipeline (tables {row.schema_version},"
            f" expected {SCHEMA_VERSION}); name another one with SMS_DATABASE_URL"
        )
    return str(row.id)
