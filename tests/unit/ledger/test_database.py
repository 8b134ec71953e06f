"""How the database of a ledger is opened, and what its transactions promise."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from sms_pipeline.core.errors import ConfigError, LedgerUnavailableError
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.database import Database, memory_engine, open_engine, switch_to_wal
from sms_pipeline.ledger.postgresql import PatientConnection, connect_args
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.testing.ledger import memory_ledger
from tests.unit import make
from tests.unit.ledger.fakes import Server, file_of

PATIENCE_SECONDS = 30


def in_thread(call: Callable[[], object]) -> None:
    """Make a call in another thread; an error is raised here."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(call).result(PATIENCE_SECONDS)


# URLs


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "not a database URL"),
        ("hello", "not a database URL"),
        ("postgresql://user:secret@host:port/db", "not a database URL"),
        ("mysql://host/db", "got 'mysql://host/db'"),
        ("mysql://host/db?password=secret", "got 'mysql://host/db'"),
        ("oracle://host/db", "got 'oracle://host/db'"),
        ("amqp://guest:secret@host", "got 'amqp://guest:***@host'"),
        ("https://user:secret@host/", "got 'https://user:***@host/'"),
        ("postgresql+psycopg2://user:secret@host/db", "got 'postgresql+psycopg2://user:***@host"),
        ("sqlite+aiosqlite:///x.db", "got 'sqlite+aiosqlite:///x.db'"),
        ("sqlite://", "needs a file"),
        ("sqlite:///", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_url_that_is_no_ledgers_is_refused_without_its_password(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ledger.open(url)
    message = str(caught.value)
    assert message.startswith("SMS_DATABASE_URL: ")
    assert complaint in message
    assert "use sqlite:///FILE" in message
    assert ("postgresql://USER:PASSWORD@HOST/DATABASE" in message) == ("file" not in complaint)
    assert "\n" not in message
    assert "secret" not in message


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgresql_has_three_names(scheme: str) -> None:
    engine = open_engine(f"{scheme}://user:secret@host:5433/db")
    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg")
    assert engine.url.render_as_string(hide_password=False).endswith("://user:secret@host:5433/db")


# Connections


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("busy_timeout", 10_000)]
)
def test_sqlite_survives_a_power_cut_and_waits_for_other_writers(
    ledger_url: str, pragma: str, value: object
) -> None:
    with Database(open_engine(ledger_url)).reading() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_the_driver_opens_no_transaction_by_itself(ledger_url: str, kind: str) -> None:
    engine = open_engine(ledger_url) if kind == "file" else memory_engine()
    raw = engine.raw_connection()
    raw.cursor().execute("CREATE TABLE notes (note TEXT)")
    raw.cursor().execute("INSERT INTO notes VALUES ('x')")
    assert not raw.driver_connection.in_transaction  # type: ignore[union-attr]
    raw.close()


def test_server_that_vanished_is_noticed_soon() -> None:
    # There is a limit to how long connecting takes, and to how long a dead server seems alive
    _, limits = connect_args(make_url("postgresql+psycopg://user:secret@host/db"))
    assert limits == {
        "connect_timeout": 5,
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 4,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
    pool: Any = open_engine("postgresql://user:secret@host/db").pool
    # And a connection that broke while nobody used it is replaced
    assert pool._pre_ping
    # And a process with many threads takes few connections, and does not wait long for one
    assert pool.size() == 4
    assert pool.timeout() == 10


def test_each_connection_is_made_with_these_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def connect(*_: object, **options: Any) -> PatientConnection:
        asked.append(options)
        raise psycopg.OperationalError("nobody is there")

    monkeypatch.setattr(PatientConnection, "connect", connect)
    with pytest.raises(OperationalError, match="nobody is there"):
        open_engine("postgresql://user:secret@host/db").connect()
    _, limits = connect_args(make_url("postgresql+psycopg://user:secret@host/db"))
    assert limits.items() <= asked[0].items()


def test_limits_of_the_url_go_before_ours() -> None:
    _, limits = connect_args(make_url("postgresql+psycopg://host/db?connect_timeout=60"))
    assert "connect_timeout" not in limits


@pytest.mark.parametrize(("given", "used"), [("none", None), ("off", None), ("0", 0), ("7", 7)])
def test_statements_are_prepared_as_the_url_says(given: str, used: int | None) -> None:
    url = make_url(f"postgresql+psycopg://host/db?prepare_threshold={given}&sslmode=require")
    plain, arguments = connect_args(url)
    assert arguments["prepare_threshold"] == used
    assert plain.query == {"sslmode": "require"}


@pytest.mark.parametrize("given", ["-1", "1.5", "many", "²"])
def test_prepare_threshold_that_is_no_number_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="SMS_DATABASE_URL: prepare_threshold must be a whole"):
        Ledger.open(f"postgresql://user:secret@host/db?prepare_threshold={given}")


class Busy:
    """A connection that can't switch to WAL for so many tries."""

    def __init__(self, tries: int, code: int = sqlite3.SQLITE_BUSY) -> None:
        self.tries = tries
        self._code = code

    def execute(self, statement: str) -> None:
        assert statement == "PRAGMA journal_mode = WAL"
        if self.tries:
            self.tries -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self._code
            raise error


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY])
def test_switch_to_wal_waits_while_another_process_writes_or_recovers(code: int) -> None:
    clock = ManualClock()
    connection: Any = Busy(tries=3, code=code)
    switch_to_wal(connection, clock)
    assert len(clock.slept) == 3
    assert all(0 < seconds < 1 for seconds in clock.slept)


def test_switch_to_wal_gives_up_after_a_while() -> None:
    clock = ManualClock()
    connection: Any = Busy(tries=2_000)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        switch_to_wal(connection, clock)
    assert 10 < clock.monotonic() < 11


def test_switch_to_wal_does_not_wait_for_what_will_not_pass() -> None:
    clock = ManualClock()
    connection: Any = Busy(tries=1, code=sqlite3.SQLITE_READONLY)
    with pytest.raises(sqlite3.OperationalError):
        switch_to_wal(connection, clock)
    assert clock.slept == []


# Transactions


@pytest.mark.parametrize(("kind", "may_write"), [("writing", False), ("reading", True)])
def test_one_writer_at_a_time_but_readers_keep_nobody_waiting(
    ledger: Ledger, ledger_url: str, kind: str, may_write: bool
) -> None:
    database = Database(open_engine(ledger_url))
    # Given a transaction that has only begun
    with getattr(database, kind)(), closing(sqlite3.connect(file_of(ledger_url), 0)) as other:
        # When another process wants to write
        try:
            other.execute("BEGIN IMMEDIATE")
            could_write = True
        except sqlite3.OperationalError:
            could_write = False
    # Then it waits for a writer: two that read before they write would fail
    assert could_write is may_write


def test_all_queries_of_one_reading_see_one_state(ledger: Ledger) -> None:
    query = text("SELECT count(*) FROM workers")
    with ledger.reading() as connection:
        before = connection.execute(query).scalar()
        in_thread(lambda: ledger.join("w1", [make.profile()]))
        assert connection.execute(query).scalar() == before
    assert len(ledger.workers()) == 1


def test_transaction_that_fails_leaves_nothing(ledger: Ledger, ledger_url: str) -> None:
    database = Database(open_engine(ledger_url))
    with pytest.raises(ValueError, match="halfway"), database.writing() as connection:
        connection.execute(text("DELETE FROM ledger_identity"))
        raise ValueError("halfway")
    with database.reading() as connection:
        assert connection.execute(text("SELECT id FROM ledger_identity")).scalar() == ledger.id


def test_queries_of_one_reading_see_one_state_of_postgresql_as_well() -> None:
    server: Any = Server()
    with Database(server).reading() as connection:
        seen: Any = connection
        assert seen.options == {"isolation_level": "REPEATABLE READ"}


def test_sums_are_made_by_the_database_so_that_no_addition_is_lost() -> None:
    server: Any = Server()
    database = Database(server)
    for table in (schema.dispatched, schema.absorbed):
        database.add(server, table, [{"run": 1}])
    database.insert_new(server, schema.workers, [{"id": "w1"}])
    dispatched, absorbed, workers = server.said
    assert dispatched.endswith(
        "ON CONFLICT (run, profile) DO UPDATE SET "
        "batches = (dispatched.batches + excluded.batches), "
        "messages = (dispatched.messages + excluded.messages), "
        "last_at = CASE WHEN (dispatched.last_at > excluded.last_at) "
        "THEN dispatched.last_at ELSE excluded.last_at END"
    )
    assert absorbed.endswith(
        "ON CONFLICT (run, kind, worker) DO UPDATE SET "
        "batches = excluded.batches, messages = excluded.messages, digest = excluded.digest"
    )
    assert workers.endswith("ON CONFLICT DO NOTHING RETURNING workers.id, workers.profile")


def test_no_rows_need_no_statement() -> None:
    server: Any = Server()
    database = Database(server)
    database.add(server, schema.dispatched, [])
    assert database.insert_new(server, schema.workers, []) == []
    assert server.said == []


# In memory


def test_ledger_in_memory_is_shared_by_the_threads_of_a_process() -> None:
    ledger = memory_ledger()
    in_thread(lambda: ledger.join("w1", [make.profile()]))
    assert [one.id for one in ledger.workers()] == ["w1"]
    assert memory_ledger().id != ledger.id


def test_transactions_in_memory_come_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sms_pipeline.ledger.database._POOL_TIMEOUT_SECONDS", 0.0)
    ledger = memory_ledger()
    with (
        ledger.reading(),
        pytest.raises(
            LedgerUnavailableError, match="can't be reached: no answer on any connection"
        ),
    ):
        ledger.latest_run_id()
    assert ledger.latest_run_id() is None
