"""Tries things out at the ledger's database; nothing of it stays."""

from __future__ import annotations

import os
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select, text

from sms_pipeline.core.clock import Clock
from sms_pipeline.ledger import schema

#: How many commits are timed; the median counts.
_COMMITS = 11
#: For how long to wait while another process writes.
_LOCK_SECONDS = 3.0
_TABLES = tuple(sorted(table.name for table in schema.identity.metadata.tables.values()))
_NEEDED = ("SELECT", "INSERT", "UPDATE")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds."""

    #: Tables of a ledger that are there.
    ledger_tables: int
    #: Version of the tables; None where there is no ledger.
    version: int | None


@dataclass(frozen=True, slots=True)
class Connections:
    """To a PostgreSQL server."""

    allowed: int
    used: int


@dataclass(frozen=True, slots=True)
class ServerState:
    """What a PostgreSQL server says of itself."""

    version: str
    encoding: str
    is_read_only: bool
    #: False while a crash may lose what was committed.
    is_durable: bool


@dataclass(frozen=True, slots=True)
class Pooling:
    """What stands between us and PostgreSQL."""

    is_pooled: bool
    #: Whether a connection of ours may be served by another one at each transaction.
    by_transaction: bool


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Of another clock: by how many seconds it is ahead, and how exact that is."""

    ahead: float
    exactness: float


# SQLite


def sqlite_contents(file: Path) -> Contents:
    """What the file holds. It must be there.

    Raises:
        sqlite3.Error: it can't be read, or is no database.
    """
    with _opened(file) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        version = None
        if schema.identity.name in names:
            query = f"SELECT schema_version FROM {schema.identity.name}"  # noqa: S608 - our own
            row = connection.execute(query).fetchone()
            version = row[0] if row else None
        return Contents(len(names.intersection(_TABLES)), version)


def sqlite_lock(file: Path) -> None:
    """Get the right to write, and give it back.

    Raises:
        sqlite3.Error: another process keeps it for too long, or the file can't be written.
    """
    with _opened(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def is_writable(folder: Path) -> bool:
    """Whether files can be made there."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def free_bytes(folder: Path) -> int:
    """Space left on its disk for this user."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def sqlite_commit_seconds(folder: Path, clock: Clock) -> float:
    """The median time of a commit to a database of its own in that folder."""
    with (
        tempfile.TemporaryDirectory(prefix=".sms-doctor-", dir=folder) as own,
        closing(sqlite3.connect(Path(own) / "commits.db", isolation_level=None)) as connection,
    ):
        # As a ledger is opened.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE commits (number INTEGER)")
        return _median_seconds(lambda: connection.execute("INSERT INTO commits VALUES (1)"), clock)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """The file as it is; it is not made if it is missing."""
    with ExitStack() as stack:
        if file.with_name(f"{file.name}-wal").exists():
            # The last connection that may write tidies up what a killed process has left. While
            # another one reads, ours is not the last.
            reader = stack.enter_context(closing(_connected(file, "ro")))
            reader.execute("SELECT count(*) FROM sqlite_master")
        yield stack.enter_context(closing(_connected(file, "rw")))


def _connected(file: Path, mode: str) -> sqlite3.Connection:
    address = f"{file.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)


# PostgreSQL


def contents(connection: Connection) -> Contents:
    """What the database holds."""
    found = {
        name
        for name in _TABLES
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar()
    }
    version = None
    if schema.identity.name in found:
        # Of another version, the other columns may be others.
        version = connection.execute(select(schema.identity.c.schema_version)).scalar()
    return Contents(len(found), version)


def missing_rights(connection: Connection) -> list[str]:
    """What the user may not do, of what a run does: "INSERT on runs", "CREATE on schema public"."""
    missing = []
    if contents(connection).ledger_tables < len(_TABLES):
        schema_name, may_create = connection.execute(_CREATE_RIGHT).one()
        if not may_create:
            missing.append(f"CREATE on schema {schema_name or 'public'}")
    for table in _TABLES:
        for right in _NEEDED:
            values = {"name": table, "right": right}
            if connection.execute(_TABLE_RIGHT, values).scalar() is False:
                missing.append(f"{right} on {table}")
        if connection.execute(_SEQUENCE_RIGHT, {"name": table}).scalar() is False:
            missing.append(f"USAGE on the sequence of {table}")
    return missing


#: Each answers nothing about what is not there.
_CREATE_RIGHT = text(
    "SELECT current_schema(), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
)
_TABLE_RIGHT = text("SELECT has_table_privilege(to_regclass(:name), :right)")
_SEQUENCE_RIGHT = text(
    "SELECT has_sequence_privilege(pg_get_serial_sequence(:name, column_name), 'USAGE') "
    "FROM information_schema.columns "
    "WHERE table_schema = current_schema() AND table_name = :name AND column_default NOTNULL"
)


def server_state(connection: Connection) -> ServerState:
    """What the server says of itself."""
    query = text(
        "SELECT current_setting('server_version'), current_setting('server_encoding'), "
        "pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool, "
        "current_setting('fsync')::bool AND current_setting('synchronous_commit') <> 'off'"
    )
    return ServerState(*connection.execute(query).one())


def commit_seconds(connection: Connection, clock: Clock) -> float:
    """The median time of a commit. What is committed goes to the log only: no table is touched."""
    write = text("SELECT pg_logical_emit_message(true, 'sms-pipeline doctor', '')")

    def commit() -> None:
        connection.execute(write)
        connection.commit()

    return _median_seconds(commit, clock)


def connections(connection: Connection) -> Connections:
    """How many are allowed and used, by the limit that is the nearest: server, database or user."""
    query = text(
        "SELECT current_setting('max_connections')::int "
        "- current_setting('superuser_reserved_connections')::int, "
        "(SELECT sum(numbackends)::int FROM pg_stat_database) "
        "UNION ALL SELECT datconnlimit, numbackends FROM pg_database JOIN pg_stat_database "
        "USING (datname) WHERE datname = current_database() AND datconnlimit >= 0 "
        "UNION ALL SELECT rolconnlimit, (SELECT count(*)::int FROM pg_stat_activity "
        "WHERE usename = current_user) FROM pg_roles "
        "WHERE rolname = current_user AND rolconnlimit >= 0"
    )
    limits = [Connections(*row) for row in connection.execute(query)]
    return min(limits, key=lambda limit: limit.allowed - limit.used)


def pooling(first: Connection, second: Connection) -> Pooling:
    """Whether something between us and the server shares connections out.

    A pooler answers with a process number of its own. One that shares them by transaction gives
    the second connection the process that has just served the first.
    """
    query = text("SELECT pg_backend_pid()")
    served = first.execute(query).scalar_one()
    first.commit()
    told = first.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
    other = second.execute(query).scalar_one()
    second.commit()
    return Pooling(is_pooled=served != told, by_transaction=served == other)


def clock_ahead(connection: Connection, clock: Clock) -> ClockReading:
    """By how much the server's clock is ahead of ours, by the quickest of a few readings."""
    query = text("SELECT extract(epoch FROM clock_timestamp())::float8")
    readings = []
    for _ in range(_COMMITS):
        before = clock.wall()
        there = connection.execute(query).scalar_one()
        after = clock.wall()
        half = abs(after - before) / 2
        readings.append(ClockReading(there - (before + after) / 2, half))
    connection.commit()
    return min(readings, key=lambda reading: reading.exactness)


def _median_seconds(commit: Callable[[], object], clock: Clock) -> float:
    taken = []
    for _ in range(_COMMITS):
        before = clock.monotonic()
        commit()
        taken.append(clock.monotonic() - before)
    return statistics.median(taken)
