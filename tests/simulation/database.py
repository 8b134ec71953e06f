"""The ledger of a run: the real code, on an SQLite database in memory that any call may break."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from sms_pipeline.core.clock import Clock
from sms_pipeline.ledger import chains
from sms_pipeline.ledger.control import Controls
from sms_pipeline.ledger.database import memory_engine
from sms_pipeline.ledger.settling import Settling
from sms_pipeline.ledger.store import Ledger

#: What a transaction meets at its commit, or before its n-th statement.
Trap = Callable[[], None]


class Database:
    """One database for all runs of this process; each begins with empty tables."""

    def __init__(self) -> None:
        self._engine = memory_engine()
        self._ledger = Ledger(self._engine)
        event.listen(self._engine, "commit", self._on_commit)
        self._empty = self._raw().serialize()
        # Only while it is needed: it makes every statement slower.
        self._counting = "before_cursor_execute", self._on_statement
        self._statements_left: int | None = None
        self.disarm()

    @property
    def engine(self) -> Any:
        """For whoever reads it without the ledger's code."""
        return self._engine

    def clear(self) -> None:
        """Begin a run."""
        self.disarm()
        self._raw().deserialize(self._empty)

    def open(self, clock: Clock) -> Ledger:
        """The ledger as a process of its own has it: the same tables, its own chains.

        `Ledger.open` does the same and looks for the tables first, which takes longer than most
        runs.
        """
        base, ledger = self._ledger, copy.copy(self._ledger)
        ledger._clock = clock
        ledger._dispatch = chains.Writer("dispatch", base.id)
        ledger._settling = Settling(base._database, base.id, base._standing)
        ledger._controls = Controls(base._database, base.id, clock)
        return ledger

    # Faults

    def disarm(self) -> None:
        """Let everything work."""
        self._before_commit: Trap | None = None
        self._after_commit: Trap | None = None
        if self._statements_left is not None:
            event.remove(self._engine, *self._counting)
        self._statements_left = None

    def fail_at_commit(self, trap: Trap) -> None:
        """The next transaction is rolled back by what `trap` raises."""
        self._before_commit = trap

    def fail_after_commit(self, trap: Trap) -> None:
        """The next transaction is committed, and then `trap` raises."""
        self._after_commit = trap

    def fail_at_statement(self, number: int) -> None:
        """So many statements work, and the next one does not."""
        self._statements_left = number
        event.listen(self._engine, *self._counting)

    def _on_statement(self, _connection: Connection, _cursor: object, sql: str, *_: object) -> None:
        assert self._statements_left is not None
        self._statements_left -= 1
        if self._statements_left < 0:
            raise unavailable()

    def _on_commit(self, connection: Connection) -> None:
        if self._before_commit:
            trap, self._before_commit = self._before_commit, None
            trap()
        elif self._after_commit:
            trap, self._after_commit = self._after_commit, None
            connection.connection.dbapi_connection.execute("COMMIT")  # type: ignore[union-attr]
            trap()

    def _raw(self) -> sqlite3.Connection:
        with self._engine.connect() as connection:
            raw = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        return raw


def unavailable() -> OperationalError:
    """What a driver raises when the database does not answer."""
    return OperationalError("", {}, sqlite3.OperationalError("the database is away"))


@cache
def database() -> Database:
    """That of this process."""
    return Database()
