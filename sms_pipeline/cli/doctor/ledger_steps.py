"""The checks of the ledger's database, in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from sms_pipeline.cli.doctor import ledger_probes as probes
from sms_pipeline.cli.doctor import ledger_verdicts as verdicts
from sms_pipeline.cli.doctor.check import Check
from sms_pipeline.cli.doctor.examination import Step
from sms_pipeline.config.databases import without_secrets
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.ledger.database import open_engine

#: A list of hosts is tried one after the other.
_CONNECT_SECONDS = 20.0


def ledger_steps(url: str, remote_broker: str | None, processes: int, clock: Clock) -> list[Step]:
    """What to look at.

    Args:
        url: of the database.
        remote_broker: the broker's host, if it is not this one.
        processes: that will use the ledger in a small set-up.
        clock: of this machine.
    """
    try:
        engine = _open(url)
    except ConfigError as error:
        words = str(error)
        return [Step(verdicts.LEDGER, lambda: [verdicts.bad_url(words)], vital=True)]
    if engine.dialect.name == "sqlite":
        return _File(engine, remote_broker, clock).steps()
    return _Server(engine, processes, clock).steps()


def _open(url: str) -> Engine:
    """The engine of a ledger.

    To a database without an encoding psycopg answers in bytes, and SQLAlchemy gives up on its
    first words; asked for UTF-8, it can be told what is wrong.
    """
    engine = open_engine(url)
    if engine.dialect.name == "sqlite":
        return engine
    readable = engine.url.update_query_dict({"client_encoding": "utf8"})
    return open_engine(readable.render_as_string(hide_password=False))


class _File:
    """A ledger on SQLite."""

    def __init__(self, engine: Engine, remote_broker: str | None, clock: Clock) -> None:
        self._where = without_secrets(engine.url)
        self._file = Path(engine.url.database or "")
        self._folder = self._file.absolute().parent
        self._remote_broker = remote_broker
        self._clock = clock

    def steps(self) -> list[Step]:
        return [
            Step(verdicts.LEDGER, self._contents, vital=True),
            Step(verdicts.RIGHTS, self._rights, vital=True),
            Step(verdicts.SPACE, lambda: [verdicts.space(probes.free_bytes(self._folder))]),
            Step(verdicts.COMMITS, self._commits),
            Step(verdicts.HOSTS, self._hosts),
        ]

    def _contents(self) -> Iterator[Check]:
        if not self._file.exists():
            exists = self._folder.is_dir()
            writable = exists and probes.is_writable(self._folder)
            yield verdicts.no_file_yet(self._where, exists, writable, str(self._folder))
            return
        try:
            yield verdicts.holds(self._where, probes.sqlite_contents(self._file))
        except sqlite3.Error as error:
            yield verdicts.not_a_database(self._where, str(error))

    def _rights(self) -> Iterator[Check]:
        if not self._file.exists():
            return
        try:
            probes.sqlite_lock(self._file)
        except sqlite3.Error as error:
            yield verdicts.can_not_be_written(str(self._file), str(error))
        else:
            yield verdicts.can_be_written(str(self._file))

    def _commits(self) -> Iterator[Check]:
        yield verdicts.commits(probes.sqlite_commit_seconds(self._folder, self._clock))

    def _hosts(self) -> Iterator[Check]:
        check = verdicts.sqlite_for_hosts(self._remote_broker)
        if check:
            yield check


class _Server:
    """A ledger on PostgreSQL."""

    def __init__(self, engine: Engine, processes: int, clock: Clock) -> None:
        self._engine = engine
        self._where = without_secrets(engine.url)
        self._processes = processes
        self._clock = clock

    def steps(self) -> list[Step]:
        asked: list[tuple[str, Callable[[], Check]]] = [
            (verdicts.RIGHTS, self._rights),
            (verdicts.COMMITS, self._commits),
            (verdicts.CONNECTIONS, self._connections),
            (verdicts.POOLING, self._pooling),
            (verdicts.CLOCKS, self._clocks),
        ]
        return [
            Step(verdicts.LEDGER, self._contents, _CONNECT_SECONDS, vital=True),
            Step(verdicts.DURABILITY, lambda: [self._durability()], vital=True),
            *(Step(name, _one(check)) for name, check in asked),
        ]

    def _contents(self) -> Iterator[Check]:
        try:
            with self._engine.connect() as connection:
                yield verdicts.holds(self._where, probes.contents(connection))
        except DBAPIError as error:
            lines = str(error.orig).strip().splitlines()
            yield verdicts.unreachable(lines[0] if lines else type(error.orig).__name__)

    def _durability(self) -> Check:
        with self._engine.connect() as connection:
            return verdicts.durability(probes.server_state(connection))

    def _rights(self) -> Check:
        with self._engine.connect() as connection:
            return verdicts.rights(probes.missing_rights(connection))

    def _commits(self) -> Check:
        with self._engine.connect() as connection:
            return verdicts.commits(probes.commit_seconds(connection, self._clock))

    def _connections(self) -> Check:
        with self._engine.connect() as connection:
            return verdicts.connections(probes.connections(connection), self._processes)

    def _pooling(self) -> Check:
        with self._engine.connect() as first, self._engine.connect() as second:
            return verdicts.pooling(probes.pooling(first, second))

    def _clocks(self) -> Check:
        with self._engine.connect() as connection:
            return verdicts.clocks(probes.clock_ahead(connection, self._clock))


def _one(check: Callable[[], Check]) -> Callable[[], list[Check]]:
    return lambda: [check()]
