"""A database that is missed is one error, whatever went wrong; what will not pass is another."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sms_pipeline.core.errors import DamagedLedgerError, LedgerUnavailableError
from sms_pipeline.ledger.database import Database, open_engine
from sms_pipeline.ledger.store import Ledger
from tests.unit.ledger.fakes import Server, file_of


class DriverError(Exception):
    """What a driver raises."""


def error_of(kind: type[DBAPIError], cause: str, **values: Any) -> DBAPIError:
    return kind("SELECT text FROM messages", {"text": "secret"}, DriverError(cause), **values)


#: Each with what is said of it.
OUTAGES: dict[str, tuple[Exception, str]] = {
    "no server": (
        error_of(OperationalError, "connection refused\nIs the server running?"),
        "connection refused",
    ),
    "driver gave up": (error_of(InterfaceError, "\n  no connection"), "no connection"),
    "connection lost": (
        error_of(DBAPIError, "server closed it", connection_invalidated=True),
        "server closed it",
    ),
    "without a word": (error_of(OperationalError, ""), "DriverError"),
    "no connection free": (PoolTimeoutError("limit of size 4"), "no answer on any connection"),
}
PLACES = {
    "sqlite": "sqlite:///{folder}/ledger.db",
    "postgresql": "postgresql://user:secret@host/db?password=secret",
}


@pytest.fixture(params=PLACES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """One of each kind; nothing connects before a test does."""
    url = PLACES[request.param].format(folder=tmp_path)
    engine: Any = Server() if request.param == "postgresql" else open_engine(url)
    return Database(engine)


def transactions(database: Database) -> list[AbstractContextManager[object]]:
    return [database.writing(), database.reading()]


@pytest.mark.parametrize("name", OUTAGES)
def test_every_outage_is_one_error_that_says_where_and_why(name: str, database: Database) -> None:
    error, why = OUTAGES[name]
    for transaction in transactions(database):
        with pytest.raises(LedgerUnavailableError) as caught, transaction:
            raise error
        message = str(caught.value)
        assert f" can't be reached: {why}" in message
        assert "/ledger.db " in message or "postgresql+psycopg://user:***@host/db " in message
        assert "\n" not in message
        assert "secret" not in message
        assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        error_of(IntegrityError, "a key is there twice"),
        error_of(ProgrammingError, "no such table"),
        error_of(DataError, "out of range"),
        ValueError("of the caller"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_that_will_not_pass_stays_what_it_is(error: Exception, database: Database) -> None:
    for transaction in transactions(database):
        with pytest.raises(type(error)) as caught, transaction:
            raise error
        assert caught.value is error


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("sqlite:////no/such/folder/ledger.db", "sqlite:////no/such/folder/ledger.db"),
        ("postgresql://user:secret@127.0.0.1:1/db", "postgresql+psycopg://user:***@127.0.0.1:1/db"),
        (
            "postgresql://user@127.0.0.1:1/db?password=secret",
            "postgresql+psycopg://user@127.0.0.1:1/db",
        ),
    ],
)
def test_unreachable_database(url: str, where: str) -> None:
    with pytest.raises(LedgerUnavailableError) as caught:
        Ledger.open(url)
    message = str(caught.value)
    assert message.startswith(f"the ledger {where} can't be reached: ")
    assert "\n" not in message
    assert "secret" not in message


def test_file_that_is_no_database(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("long enough to be taken for a database" * 100)
    for opening in (Ledger.open, Ledger.open_to_read):
        with pytest.raises(DamagedLedgerError) as caught:
            opening(f"sqlite:///{notes}")
        assert str(caught.value) == (
            f"the ledger sqlite:///{notes} is damaged: file is not a database"
        )


def test_file_that_another_process_has_locked(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sms_pipeline.ledger.database._SQLITE_BUSY_SECONDS", 0.0)
    ledger = Ledger.open(ledger_url)
    with closing(sqlite3.connect(file_of(ledger_url), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError, match="database is locked"):
            ledger.beat("w1", 1)
        other.execute("COMMIT")
    ledger.beat("w1", 1)


def test_full_disk(ledger: Ledger, ledger_url: str) -> None:
    database = Database(open_engine(ledger_url))
    with pytest.raises(LedgerUnavailableError, match="full"), database.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.exec_driver_sql("CREATE TABLE notes AS SELECT randomblob(1000000) AS note")


def test_threads_beyond_the_connections_of_a_process_wait_for_one(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a process that has no time to wait
    monkeypatch.setattr("sms_pipeline.ledger.database._POOL_TIMEOUT_SECONDS", 0.0)
    engine = open_engine(ledger_url)
    # When four transactions are open
    connections = [engine.connect() for _ in range(4)]
    # Then there is none for a fifth, until one ends
    with (
        pytest.raises(LedgerUnavailableError, match="no answer on any connection"),
        Database(engine).reading(),
    ):
        pass
    connections.pop().close()
    with Database(engine).reading():
        pass


def test_closed_ledger_holds_no_connection(ledger_url: str) -> None:
    engine = open_engine(ledger_url)
    ledger = Ledger(engine)
    assert connections_of(engine) == 1
    ledger.close()
    assert connections_of(engine) == 0


def connections_of(engine: Engine) -> int:
    return engine.pool.checkedin()  # type: ignore[attr-defined, no-any-return]
