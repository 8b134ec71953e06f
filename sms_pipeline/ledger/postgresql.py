"""Connections to PostgreSQL that notice soon when nobody is at the other end.

A link that was cut, a host that has vanished and a server that hangs say nothing. Both ends
therefore have limits to how long they wait, for each other and for whoever holds a row.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import ExceptionContext

from sms_pipeline.core.errors import ConfigError

CONNECT_SECONDS = 5
#: What was sent must be acknowledged by then. Without this limit the kernel sends it again at
#: doubling intervals, and a link that was cut for a minute is used again a minute after it is back.
UNACKNOWLEDGED_SECONDS = 10
#: Where nothing is on its way, an end that has vanished is noticed after about 10 s.
KEEPALIVE = {"idle": 4, "interval": 2, "count": 3}
#: A server that is reached and does not answer counts as away after this time. Reading a large run
#: keeps one busy for seconds.
SILENCE_SECONDS = 30.0
#: A client that vanished within a transaction holds its rows, and with them everyone who waits for
#: one. Transactions that write take milliseconds.
IDLE_IN_TRANSACTION_SECONDS = 10

_IDLE_LIMIT = "idle_in_transaction_session_timeout"
#: The limits of the server, for each session.
_SESSION = {
    _IDLE_LIMIT: f"{IDLE_IN_TRANSACTION_SECONDS}s",
    "tcp_user_timeout": f"{UNACKNOWLEDGED_SECONDS}s",
    **{f"tcp_keepalives_{name}": str(value) for name, value in KEEPALIVE.items()},
}
#: The limits of this end.
_CLIENT = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": UNACKNOWLEDGED_SECONDS * 1_000,
    **{f"keepalives_{name}": value for name, value in KEEPALIVE.items()},
}
#: How poolers refuse the limits of a session: PgBouncer, RDS Proxy.
_REFUSALS = ("unsupported startup parameter", "command-line options")
#: SQLSTATE of a server that only allows reading: a standby, or a primary that has become one.
_READ_ONLY = "25006"
_NO_PREPARING = ("none", "off")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that does not wait for ever for an answer."""

    #: Whether a pooler is in between, which may give each transaction another session.
    pooled = False

    def wait(
        self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = SILENCE_SECONDS
    ) -> RV:
        """See `psycopg.Connection.wait`.

        Raises:
            psycopg.OperationalError: the server did not answer; the connection is closed.
        """
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.close()
            raise psycopg.OperationalError(f"no answer for {timeout:g} s") from None


def connect_args(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL without what psycopg would not understand, and the arguments of each connection.

    What the URL says goes before our own.

    Raises:
        ConfigError: its `prepare_threshold` is not a number.
    """
    arguments: dict[str, Any] = {
        name: value for name, value in _CLIENT.items() if name not in url.query
    }
    given = url.query.get("prepare_threshold")
    if given is not None:
        arguments["prepare_threshold"] = _threshold(given)
    return url.difference_update_query(["prepare_threshold"]), arguments


def _threshold(given: object) -> int | None:
    if given in _NO_PREPARING:
        return None
    if isinstance(given, str) and given.isdecimal():
        return int(given)
    raise ConfigError(
        f"SMS_DATABASE_URL: prepare_threshold must be a whole number, or 'none' to prepare no "
        f"statements, got {given!r}"
    )


def watch(engine: Engine) -> None:
    """Let the engine make such connections, and give up those on which nothing can be written."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "begin", _limit_idling)
    event.listen(engine, "handle_error", _give_up_read_only)


def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> PatientConnection:
    limits = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    limited = {**options, "options": f"{options.get('options', '')} {limits}".strip()}
    try:
        connection = PatientConnection.connect(*arguments, **limited)
    except psycopg.OperationalError as error:
        if not any(refusal in str(error) for refusal in _REFUSALS):
            raise
        connection = PatientConnection.connect(*arguments, **options)
    if not _is_direct(connection):
        # Each transaction may get another session, which does not know the statements that were
        # prepared in the last one, nor the limits.
        connection.pooled = True
        connection.prepare_threshold = None
    return connection


def _is_direct(connection: PatientConnection) -> bool:
    """Whether no pooler is in between: it refuses the limits, ignores them, or shares a session."""
    connection.autocommit = True
    query = "SELECT pg_backend_pid(), current_setting(%s)"
    found = connection.execute(query, [_IDLE_LIMIT]).fetchone()
    connection.autocommit = False
    return found == (connection.info.backend_pid, _SESSION[_IDLE_LIMIT])


def _limit_idling(connection: Connection) -> None:
    """Set the limit that a pooler kept back, and lift it for whoever reads at their leisure."""
    options = connection.get_execution_options()
    driver: Any = connection.connection.driver_connection
    if options.get("write") and driver.pooled:
        connection.exec_driver_sql(f"SET LOCAL {_IDLE_LIMIT} = '{_SESSION[_IDLE_LIMIT]}'")
    elif options.get("at_leisure") and not driver.pooled:
        connection.exec_driver_sql(f"SET LOCAL {_IDLE_LIMIT} = 0")


def _give_up_read_only(context: ExceptionContext) -> None:
    """The next connection may find the server that took over."""
    error = context.original_exception
    if getattr(error, "sqlstate", None) == _READ_ONLY:
        error.add_note("its server only allows reading; is it a standby?")
        context.is_disconnect = True
