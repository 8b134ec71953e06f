"""The database of a ledger: how it is opened, its transactions, and additions to its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, case, create_engine, event
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.databases import database_url, without_secrets
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import DamagedLedgerError, LedgerUnavailableError
from sms_pipeline.ledger import reading, schema

#: Seconds to wait for another process's transaction on SQLite before the attempt counts as failed.
_SQLITE_BUSY_SECONDS = 10.0
#: Between two attempts to switch a new file to WAL while another process writes to it.
_WAL_RETRY_SECONDS = 0.02
#: Connections of one process; threads beyond them wait for one. Reads and commits take
#: milliseconds, so a few serve hundreds of threads.
POOL_SIZE = 4
#: How long a thread waits for a connection. On SQLite others may wait for a writer meanwhile; on
#: PostgreSQL all connections are busy for so long only when the server does not answer.
_POOL_TIMEOUT_SECONDS = 30
_POSTGRES_POOL_TIMEOUT_SECONDS = 10


class Database:
    """Short transactions, each of which sees one state, and statements that are built once."""

    def __init__(self, engine: Engine) -> None:
        is_sqlite = engine.dialect.name == "sqlite"
        self._engine = engine
        self._where = _name(engine)
        self._writer = engine.execution_options(write=True)
        # The queries of one reading must see one state; SQLite's transactions always do.
        one_state = {} if is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = engine.execution_options(**one_state)
        self._leisurely = self._reader.execution_options(at_leisure=True)
        insert = sqlite_insert if is_sqlite else postgres_insert
        self._new_rows = {
            table.name: insert(table).on_conflict_do_nothing().returning(*table.primary_key)
            for table in (schema.settlements, schema.workers)
        }
        self._additions = {
            table.name: _addition(insert(table))
            for table in (
                schema.counters,
                schema.delivery_times,
                schema.dispatched,
                schema.absorbed,
                schema.handed_over,
                schema.receipt_counters,
                schema.receipt_times,
            )
        }

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write.

        Raises:
            LedgerUnavailableError: the database can't be reached just now.
        """
        with _reachable(self._where), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction in which all queries see one state.

        Raises:
            LedgerUnavailableError: the database can't be reached just now.
        """
        with _reachable(self._where), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def streaming(self) -> Iterator[Connection]:
        """As `reading`, for rows that are handed on one by one, to whoever takes their time.

        Raises:
            LedgerUnavailableError: the database can't be reached just now.
        """
        with _reachable(self._where), self._leisurely.begin() as connection:
            yield connection

    def insert_new(
        self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]
    ) -> list[Any]:
        """Insert those of `rows` whose key is not there; return the keys inserted."""
        if not rows:
            return []
        return list(connection.execute(self._new_rows[table.name], rows))

    def add(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Add the values of `rows` to those stored.

        The sum is made by the database, so that concurrent additions can't lose one another.
        """
        if rows:
            connection.execute(self._additions[table.name], rows)


#: Columns of which an addition keeps the greater value; it adds to all others.
_GREATEST = {"last_at", "last_settled_at", "longest_delivery", "longest"}
#: Of this table it overwrites all: a worker writes its sums, not what is new.
_SUMMED_BY_ITS_WRITER = "absorbed"


def _addition(statement: Any) -> Any:
    """An insert that adds to the values of a row that is there."""
    table = statement.table
    changes = {
        column.name: _added(column, statement.excluded[column.name])
        for column in table.columns
        if column.name not in table.primary_key.columns
    }
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changes)


def _added(column: Column[Any], new: Any) -> Any:
    if column.table.name == _SUMMED_BY_ITS_WRITER:
        return new
    if column.name in _GREATEST:
        return case((column > new, column), else_=new)
    return column + new


@contextmanager
def _reachable(where: str) -> Iterator[None]:
    """Turn what may pass by itself (no server, locked, full, timed out) into one error."""
    try:
        yield
    except DatabaseError as error:
        if damage := damage_of(error):
            raise DamagedLedgerError(f"the ledger {where} is damaged: {damage}") from error
        if isinstance(error, OperationalError) or error.connection_invalidated:
            raise LedgerUnavailableError(reason(where, error)) from error
        raise
    except (InterfaceError, PoolTimeoutError) as error:
        raise LedgerUnavailableError(reason(where, error)) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise LedgerUnavailableError(reason(where, error)) from error
        raise


#: What SQLite ends with when a file is not one of its own, or not any more.
_SQLITE_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
#: What it has no code for; sums of counts are the only ones that can become too big.
_SQLITE_DAMAGE_WORDS = ("no such table", "no such column", "integer overflow")
#: The lowest byte of an error's code says what kind it is.
_SQLITE_KIND = 0xFF
#: Of PostgreSQL: damaged data or index; a table or a column that is not there.
_POSTGRES_DAMAGE = {"XX001", "XX002", "42P01", "42703"}


def damage_of(error: DatabaseError) -> str | None:
    """What is wrong with the ledger itself, if that is it; waiting does not mend it."""
    cause = error.orig
    said = str(cause).strip().partition("\n")[0]
    if isinstance(cause, sqlite3.Error):
        if "decode to UTF-8" in said:
            # The rest of the message is the text.
            return "a text in it is not UTF-8"
        is_damaged = sqlite_kind(cause) in _SQLITE_DAMAGE or said.startswith(_SQLITE_DAMAGE_WORDS)
        return said if is_damaged else None
    return said if getattr(cause, "sqlstate", None) in _POSTGRES_DAMAGE else None


def sqlite_kind(error: sqlite3.Error) -> int:
    """What kind of error SQLite says it is, as `sqlite3.SQLITE_BUSY`; 0 if it does not say."""
    return getattr(error, "sqlite_errorcode", 0) & _SQLITE_KIND


def reason(where: str, error: Exception) -> str:
    """In one line, why the ledger can't be used just now."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    if isinstance(cause, PoolTimeoutError):
        return f"the ledger {where} can't be reached: no answer on any connection"
    if notes := getattr(cause, "__notes__", None):
        return f"the ledger {where} can't be used now: {notes[0]}"
    lines = str(cause).strip().splitlines()
    return f"the ledger {where} can't be reached: {lines[0] if lines else type(cause).__name__}"


def open_engine(url: str, only_read: bool = False) -> Engine:
    """An engine for `url`: SQLite or PostgreSQL, set up for short concurrent transactions.

    Raises:
        ConfigError: the URL is not one of a database that can hold a ledger.
        NoLedgerError: it is only to be read, and there is no such file.
    """
    parsed = database_url(url)
    options: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": 0}
    options["pool_timeout"] = _POOL_TIMEOUT_SECONDS
    if parsed.get_backend_name() == "sqlite" and only_read:
        file = str(parsed.database)
        reading.require_file(file)
        opened = partial(reading.connect, file, _SQLITE_BUSY_SECONDS)
        engine = create_engine(parsed, creator=opened, **options)
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": _SQLITE_BUSY_SECONDS}, **options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return _postgresql_engine(parsed, {**options, "pool_timeout": _POSTGRES_POOL_TIMEOUT_SECONDS})


def _postgresql_engine(url: URL, options: dict[str, Any]) -> Engine:
    # Loads the driver, which SQLite does not need.
    from sms_pipeline.ledger import postgresql

    plain, arguments = postgresql.connect_args(url)
    engine = create_engine(plain, pool_pre_ping=True, connect_args=arguments, **options)
    postgresql.watch(engine)
    return engine


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


def _leave_transactions_to_us(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not open transactions by itself: `_begin_sqlite` does.
    connection.isolation_level = None
    # SQLite looks at them only where it is asked to.
    connection.execute("PRAGMA foreign_keys = ON")


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    _leave_transactions_to_us(connection, record)
    switch_to_wal(connection)
    # An ack follows every commit, so a commit must survive a power cut. Commits are grouped:
    # the cost is a few flushes a second.
    connection.execute("PRAGMA synchronous = FULL")


def switch_to_wal(connection: sqlite3.Connection, clock: Clock = MACHINE_CLOCK) -> None:
    """Once for each file. While another connection writes, SQLite refuses without waiting."""
    give_up_at = clock.monotonic() + _SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if sqlite_kind(error) != sqlite3.SQLITE_BUSY or clock.monotonic() > give_up_at:
                raise
            clock.sleep(_WAL_RETRY_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that starts by reading and then writes fails at once when another wrote in
    # between; IMMEDIATE waits its turn instead.
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _name(engine: Engine) -> str:
    return without_secrets(engine.url)
