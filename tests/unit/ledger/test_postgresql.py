"""What connections to PostgreSQL do where a pooler, or nobody, is at the other end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection

from sms_pipeline.ledger import postgresql
from sms_pipeline.ledger.postgresql import PatientConnection

PID = 4711


class Session:
    """A connection as far as it is asked who it is."""

    def __init__(self, pid: int, limit: str | None) -> None:
        self.autocommit = False
        self.info = SimpleNamespace(backend_pid=PID)
        self._answer = (pid, limit)
        self.asked: list[tuple[str, list[str], bool]] = []

    def execute(self, query: str, values: list[str]) -> Any:
        self.asked.append((query, values, self.autocommit))
        return SimpleNamespace(fetchone=lambda: self._answer)


def is_direct(session: Session) -> bool:
    return postgresql._is_direct(cast(PatientConnection, session))


def test_a_session_that_is_ours_and_knows_our_limit_is_direct() -> None:
    session = Session(PID, "10s")
    assert is_direct(session)
    # Outside of a transaction: what comes next decides on its own
    assert session.asked == [
        (
            "SELECT pg_backend_pid(), current_setting(%s)",
            ["idle_in_transaction_session_timeout"],
            True,
        )
    ]
    assert session.autocommit is False


@pytest.mark.parametrize("session", [Session(1, "10s"), Session(PID, "0"), Session(PID, None)])
def test_a_pooler_shares_a_session_or_keeps_the_limit_back(session: Session) -> None:
    assert not is_direct(session)


class Begun:
    """A transaction that has begun."""

    def __init__(self, pooled: bool, **options: bool) -> None:
        self._options = options
        self.connection = SimpleNamespace(driver_connection=SimpleNamespace(pooled=pooled))
        self.said: list[str] = []

    def get_execution_options(self) -> dict[str, bool]:
        return self._options

    def exec_driver_sql(self, statement: str) -> None:
        self.said.append(statement)


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        (
            Begun(pooled=True, write=True),
            ["SET LOCAL idle_in_transaction_session_timeout = '10s'"],
        ),
        (Begun(pooled=False, write=True), []),
        (
            Begun(pooled=False, at_leisure=True),
            ["SET LOCAL idle_in_transaction_session_timeout = 0"],
        ),
        (Begun(pooled=True, at_leisure=True), []),
        (Begun(pooled=True), []),
        (Begun(pooled=False), []),
    ],
)
def test_the_limit_is_set_where_a_pooler_kept_it_back(begun: Begun, said: list[str]) -> None:
    postgresql._limit_idling(cast(Connection, begun))
    assert begun.said == said


class Silent(PatientConnection):
    """A connection in some state on which nothing is ever answered."""

    def __init__(self, status: TransactionStatus) -> None:
        self.status = status
        self.was_closed = False

    @property
    def pgconn(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(transaction_status=self.status)

    def close(self) -> None:
        self.was_closed = True

    def __del__(self) -> None:
        """Nothing was opened."""


def waited(connection: Silent, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[Any]]:
    """What it comes to, and for what psycopg was asked."""
    asked: list[Any] = []

    def wait(_self: object, *arguments: object) -> None:
        asked.extend(arguments)
        raise psycopg.OperationalError("from psycopg")

    monkeypatch.setattr(psycopg.Connection, "wait", wait)
    with pytest.raises(psycopg.OperationalError) as caught:
        connection.wait(cast(Any, "the steps"))
    return str(caught.value), asked


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Silent(TransactionStatus.ACTIVE)
    assert waited(connection, monkeypatch) == ("no answer for 30 s", ["the steps", 0.1, 30.0])
    assert connection.was_closed


def test_any_other_error_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Silent(TransactionStatus.IDLE)
    assert waited(connection, monkeypatch)[0] == "from psycopg"
    assert not connection.was_closed
