"""What connections to PostgreSQL do where a pooler, or nobody, is at the other end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import ExceptionContext

from sms_pipeline.ledger import postgresql
from sms_pipeline.ledger.postgresql import PatientConnection

PID = 4711


class Session:
    """A connection as far as it is asked who it is."""

    def __init__(self, pid: int, limit: str | None) -> None:
        self.autocommit = self.pooled = False
        self.prepare_threshold: int | None = 5
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


LIMITS = (
    "-c idle_in_transaction_session_timeout=10s -c tcp_user_timeout=10s "
    "-c tcp_keepalives_idle=4 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
)


class Server:
    """What psycopg connects to: a server, or a pooler that refuses the limits of a session."""

    def __init__(self, session: Session, refusal: str | None = None) -> None:
        self.asked: list[tuple[tuple[str, ...], dict[str, str]]] = []
        self._session = session
        self._refusal = refusal

    def connect(self, *arguments: str, **options: str) -> Session:
        """See `psycopg.Connection.connect`."""
        self.asked.append((arguments, options))
        if self._refusal and "-c" in options.get("options", ""):
            raise psycopg.OperationalError(self._refusal)
        return self._session


def connected(
    server: Server, monkeypatch: pytest.MonkeyPatch, **options: str
) -> tuple[bool, int | None]:
    """Whether the connection counts as pooled, and after how many runs it prepares a statement."""
    monkeypatch.setattr(PatientConnection, "connect", server.connect)
    found = postgresql._connect(None, None, ["host=db"], options)
    return found.pooled, found.prepare_threshold


@pytest.mark.parametrize(
    ("given", "told"), [({}, LIMITS), ({"options": "-c jit=off"}, f"-c jit=off {LIMITS}")]
)
def test_a_server_is_told_the_limits_beside_what_the_url_says(
    given: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(Session(PID, "10s"))
    assert connected(server, monkeypatch, user="sms", **given) == (False, 5)
    assert server.asked == [(("host=db",), {"user": "sms", "options": told})]


@pytest.mark.parametrize(
    "refusal",
    [
        "unsupported startup parameter in options: tcp_user_timeout",
        "RDS Proxy currently doesn't support command-line options",
    ],
)
def test_a_pooler_that_refuses_the_limits_is_asked_without_them(
    refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pooler = Server(Session(PID, "0"), refusal)
    assert connected(pooler, monkeypatch, user="sms") == (True, None)
    assert pooler.asked[1:] == [(("host=db",), {"user": "sms"})]


def test_a_pooler_that_ignores_the_limits_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    pooler = Server(Session(PID, "0"))
    assert connected(pooler, monkeypatch) == (True, None)
    assert len(pooler.asked) == 1


def test_any_other_refusal_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(Session(PID, "10s"), "password authentication failed")
    with pytest.raises(psycopg.OperationalError, match="password"):
        connected(server, monkeypatch)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("kind", "notes"),
    [
        (
            psycopg.errors.ReadOnlySqlTransaction,
            ["its server only allows reading; is it a standby?"],
        ),
        (psycopg.errors.UniqueViolation, None),
        (ValueError, None),
    ],
)
def test_a_server_that_only_allows_reading_is_left(
    kind: type[Exception], notes: list[str] | None
) -> None:
    error = kind()
    context = SimpleNamespace(original_exception=error, is_disconnect=False)
    postgresql._give_up_read_only(cast(ExceptionContext, context))
    assert getattr(error, "__notes__", None) == notes
    assert context.is_disconnect is (notes is not None)


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
    ("pooled", "options", "said"),
    [
        (True, {"write": True}, ["SET LOCAL idle_in_transaction_session_timeout = '10s'"]),
        (False, {"write": True}, []),
        (False, {"at_leisure": True}, ["SET LOCAL idle_in_transaction_session_timeout = 0"]),
        (True, {"at_leisure": True}, []),
        (True, {}, []),
        (False, {}, []),
    ],
)
def test_the_limit_is_set_where_a_pooler_kept_it_back(
    pooled: bool, options: dict[str, bool], said: list[str]
) -> None:
    begun = Begun(pooled, **options)
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
