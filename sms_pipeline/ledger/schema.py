"""The ledger's tables, and how a database is opened for them."""

from __future__ import annotations

import sqlite3
import time
import uuid
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from sms_pipeline.errors import ConfigError, LedgerUnavailableError

#: Raised with every change of the tables; a ledger of another version is refused.
SCHEMA_VERSION = 1
#: Seconds to wait for another process's transaction on SQLite before the attempt counts as failed.
_SQLITE_BUSY_SECONDS = 10.0
#: Between two attempts to switch a new file to WAL while another process writes to it.
_WAL_RETRY_SECONDS = 0.02
_POSTGRES_CONNECT_SECONDS = 5
#: Connections of one process; threads beyond them wait for one. Reads and commits take
#: milliseconds, so a few serve hundreds of threads.
_POOL_SIZE = 4
_POOL_TIMEOUT_SECONDS = 30
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

#: One campaign each. `created_at` and all other times are seconds since the epoch.
runs = _table(
    "runs",
    Column("id", Integer, primary_key=True, autoincrement=True),
    _value("created_at", Float(53)),
    _value("seed"),
    _value("total"),
    #: The frozen configuration, JSON.
    _value("simulation", Text),
    #: Whether its broker lives, and dies, with the process that started it.
    _value("embedded", Boolean),
    #: What the user wants: see `entries.Control`.
    _value("control", String(16)),
    #: Where dispatch stands. Only who moves both from the values it read may dispatch the batches
    #: between, so two producers of one run can't overlap.
    _value("next_index"),
    _value("next_batch", Integer),
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
    _value("settled_at", Float(53)),
    #: Bitmap over the whole batch of the messages this attempt took; NULL = all of them.
    _value("taken", LargeBinary, nullable=True),
    #: Bitmap over the whole batch of the messages left for the next attempt; NULL = none.
    _value("remainder", LargeBinary, nullable=True),
)
#: For who follows a run: it makes reading the last seconds of 200,000 settlements take 4 ms, not
#: 230, and recording a settlement 4 us longer, of 115.
_settled_in_order = Index("settlements_in_order", settlements.c.run, settlements.c.settled_at)

#: Sums of batch rows, so that nobody has to count them: one row for each profile.
dispatched = _table(
    "dispatched",
    _key("run"),
    _key("profile", String(64)),
    _value("batches"),
    _value("messages"),
    _value("first_at", Float(53)),
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

#: What happened twice and was counted once; `kind` as in `entries.Absorbed`.
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
)


def open_engine(url: str) -> Engine:
    """An engine for `url`: SQLite or PostgreSQL, set up for short concurrent transactions.

    Raises:
        ConfigError: the URL is not one of a database that can hold a ledger.
    """
    parsed = _parse(url)
    options: dict[str, Any] = {"pool_size": _POOL_SIZE, "max_overflow": 0}
    options["pool_timeout"] = _POOL_TIMEOUT_SECONDS
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": _SQLITE_BUSY_SECONDS}, **options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    connect_args = {"connect_timeout": _POSTGRES_CONNECT_SECONDS, **_KEEPALIVES}
    return create_engine(parsed, pool_pre_ping=True, connect_args=connect_args, **options)


def memory_engine() -> Engine:
    """An engine whose SQLite database lives as long as the engine, for tests.

    There is one connection, so its transactions come one after the other.
    """
    engine = create_engine(
        "sqlite://",
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_SECONDS,
        connect_args={"check_same_thread": False},
    )
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def without_secrets(url: URL) -> str:
    """What may be shown of it: a password can stand in the query, too."""
    return url.set(query={}).render_as_string(hide_password=True)


#: A PostgreSQL host that vanished is noticed after about 25 s.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def _parse(url: str) -> URL:
    allowed = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(f"SMS_DATABASE_URL: not a database URL; use {allowed}") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    shown = without_secrets(parsed)
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ConfigError(f"SMS_DATABASE_URL: got {shown!r}; use {allowed}")
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError("SMS_DATABASE_URL: the ledger needs a file; use sqlite:///FILE")
    try:
        parsed.get_dialect()
    except NoSuchModuleError:
        raise ConfigError(f"SMS_DATABASE_URL: no driver for {shown!r}; use {allowed}") from None
    return parsed


def _leave_transactions_to_us(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not open transactions by itself: `_begin_sqlite` does.
    connection.isolation_level = None


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    _leave_transactions_to_us(connection, record)
    _switch_to_wal(connection)
    # An ack follows every commit, so a commit must survive a power cut. Commits are grouped:
    # the cost is a few flushes a second.
    connection.execute("PRAGMA synchronous = FULL")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Once for each file. While another connection writes, SQLite refuses without waiting."""
    give_up_at = time.monotonic() + _SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(_WAL_RETRY_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that starts by reading and then writes fails at once when another wrote in
    # between; IMMEDIATE waits its turn instead.
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


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
