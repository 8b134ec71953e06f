"""Which ledgers that can't be opened are worth waiting for."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from psycopg import OperationalError as PostgresError
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError, TimeoutError

from sms_pipeline.core.errors import DamagedLedgerError, LedgerUnavailableError
from sms_pipeline.ledger.opening import is_away, may_pass
from sms_pipeline.ledger.store import Ledger

#: As psycopg says it.
_AT = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


def unavailable(cause: Exception | None) -> LedgerUnavailableError:
    error = LedgerUnavailableError("the ledger can't be reached")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("message", "passes"),
    [
        ("Connection refused\n\tIs the server running on that host?", True),
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  sorry, too many clients already", True),
        ("timeout expired", True),
        ('FATAL:  password authentication failed for user "sms"', False),
        ('FATAL:  database "sms" does not exist', False),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', False),
        ("fe_sendauth: no password supplied", False),
    ],
)
def test_a_server_that_is_away_may_come_and_a_mistake_stays(message: str, passes: bool) -> None:
    cause = PostgresError(_AT + message)
    assert may_pass(unavailable(OperationalError("", None, cause))) is passes
    assert may_pass(unavailable(InterfaceError("", None, cause))) is passes


def test_a_pool_that_is_busy_may_be_free_later() -> None:
    assert may_pass(unavailable(TimeoutError()))


@pytest.mark.parametrize("cause", [None, ProgrammingError("", None, Exception("denied"))])
def test_a_ledger_that_is_there_stays_as_it_is(cause: Exception | None) -> None:
    assert not may_pass(unavailable(cause))


def test_an_sqlite_ledger_that_is_locked_is_free_later(tmp_path: Path) -> None:
    first, second = (
        sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0) for _ in range(2)
    )
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked") as locked:
        second.execute("BEGIN IMMEDIATE")
    assert may_pass(unavailable(OperationalError("", None, locked.value)))
    first.close()
    second.close()


def test_a_folder_that_is_not_there_stays_away(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailableError) as refusal:
        Ledger.open(f"sqlite:///{tmp_path / 'no/such/folder.db'}")
    assert not may_pass(refusal.value)


def test_a_ledger_is_away_while_its_database_does_not_answer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_away(ledger)

    def refuse() -> None:
        raise unavailable(None)

    monkeypatch.setattr(ledger, "workers", refuse)
    assert is_away(ledger)


@pytest.mark.parametrize(
    ("error", "away"),
    [(LedgerUnavailableError("gone"), True), (DamagedLedgerError("row 5"), False), (None, False)],
)
def test_a_ledger_that_can_not_be_read_is_not_away(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, error: Exception | None, away: bool
) -> None:
    def workers(_: Ledger) -> tuple[()]:
        if error:
            raise error
        return ()

    monkeypatch.setattr(Ledger, "workers", workers)
    assert is_away(ledger) is away
