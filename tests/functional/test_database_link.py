"""A database behind a dead link, behind a pooler, or with rows held by a client that is gone."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from kombu import Connection
from sqlalchemy import Engine, make_url, text

from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.ledger import postgresql
from sms_pipeline.ledger.database import Database, open_engine
from sms_pipeline.ledger.postgresql import PatientConnection
from sms_pipeline.ledger.store import Ledger
from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.pgbouncer import PgBouncer
from tests.services.postgres import PostgresNode, at_port
from tests.services.proxy import Link
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess
from tests.unit import make

#: Only a failure waits so long.
PATIENCE_SECONDS = 60.0
#: What was promised: settling goes on so soon after a link is healed.
RECOVERY_SECONDS = 20.0
QUEUE = "sms.fast"
SENDERS: dict[str, object] = {"name": "fast", "count": 20, "mean_time": 0.05, "failure_rate": 0}
ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def waiting(broker_url: str) -> int:
    """Batches in the queue that no worker has in hand."""
    with Connection(broker_url) as connection:
        return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)


@pytest.fixture
def link(postgres: PostgresNode) -> Iterator[Link]:
    """Between workers and the database."""
    with Link(postgres.port) as link:
        yield link


def by_way_of(link: Link, database_url: str) -> str:
    """The same database, through the link."""
    return at_port(database_url, link.port)


def test_server_that_hangs_does_not_keep_a_client_waiting_for_ever(
    link: Link, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a connection to a server that is reached and then says nothing
    monkeypatch.setattr(PatientConnection.wait, "__defaults__", (0.1, 0.5))
    ledger = Ledger.open(by_way_of(link, postgres_url))
    # Then a query comes to an end, and says what is the matter
    with (
        pytest.raises(LedgerUnavailableError, match=r"no answer for 0\.5 s"),
        ledger.reading() as connection,
    ):
        link.cut()
        connection.execute(text("SELECT 1"))
    # And once it answers, the next one finds a connection that works
    link.heal()
    assert ledger.latest_run_id() is None
    ledger.close()


@ON_POSTGRESQL
def test_worker_behind_a_dead_link_takes_nothing_and_settles_once_it_is_healed(
    shared_terminal: Terminal,
    broker_url: str,
    database_url: str,
    link: Link,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given a worker that has batches in hand
    shared_terminal.configure(
        num_messages=400,
        batch_size=20,
        routing="static",
        senders=[SENDERS],
    )
    worker = start_worker(
        "fast", shared_terminal.environment | {"SMS_DATABASE_URL": by_way_of(link, database_url)}
    )
    assert shared_terminal.run("produce").code == 0
    wait_until(lambda: checker.finished(database_url, 1), PATIENCE_SECONDS, "some are settled")

    # When its link to the database goes dead
    link.cut()

    # Then it soon takes no more, says so, and leaves to others what comes now
    paused = "no more batches are taken"
    wait_until(lambda: paused in worker.logs(), PATIENCE_SECONDS, "it takes nothing any more")
    before = waiting(broker_url)
    assert shared_terminal.run("produce").code == 0
    assert waiting(broker_url) == before + 20

    # And when the link is healed, it goes on by itself
    link.heal()
    wait_until(
        lambda: checker.finished(database_url, 2) == 400, RECOVERY_SECONDS, "all are settled"
    )
    for run in (1, 2):
        checker.assert_counted_once(database_url, run, 400)
    assert "batches are taken again" in worker.logs()
    assert "Traceback" not in worker.logs()


# Sessions


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """Of an empty PostgreSQL database."""
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


def shown(connection: Any, name: str) -> object:
    """A setting of the session."""
    return connection.execute(text(f"SHOW {name}")).scalar()


def test_both_ends_notice_that_the_other_has_vanished(engine: Engine) -> None:
    with Database(engine).writing() as connection:
        # The server's end
        assert shown(connection, "tcp_user_timeout") == "10000"
        assert shown(connection, "tcp_keepalives_idle") == "4"
        assert shown(connection, "idle_in_transaction_session_timeout") == "10s"
        # This end
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as here:
            assert here.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
            assert here.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 4


def test_whoever_reads_row_by_row_may_take_their_time(engine: Engine) -> None:
    database = Database(engine)
    with database.streaming() as connection:
        assert shown(connection, "idle_in_transaction_session_timeout") == "0"
    with database.reading() as connection:
        assert shown(connection, "idle_in_transaction_session_timeout") == "10s"


def test_options_of_the_url_are_kept(postgres_url: str) -> None:
    engine = open_engine(
        f"{postgres_url}?options=-c%20application_name%3Dours&tcp_user_timeout=7000"
    )
    with Database(engine).reading() as connection:
        assert shown(connection, "application_name") == "ours"
        assert shown(connection, "idle_in_transaction_session_timeout") == "10s"
        driver: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as here:
            assert here.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7_000
    engine.dispose()


def test_client_that_vanished_with_rows_in_hand_holds_up_nobody_for_long(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgresql._SESSION, "idle_in_transaction_session_timeout", "1s")
    ledger = Ledger.open(postgres_url)
    run = ledger.start_run(make.simulation(num_messages=100), seed=7)
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(2)])
    ledger.settle([make.settlement(run.id, 0)])

    # Given a client that stops within a transaction, with its connection open
    with (
        pytest.raises(LedgerUnavailableError, match="idle-in-transaction"),
        Database(open_engine(postgres_url)).writing() as vanished,
    ):
        vanished.execute(text("UPDATE counters SET attempts = attempts + 1"))

        # When another one settles what is counted in that row, then it is done soon
        settling = threading.Thread(target=ledger.settle, args=([make.settlement(run.id, 1)],))
        settling.start()
        settling.join(PATIENCE_SECONDS)
        assert not settling.is_alive()
    assert [row["settlements"] for row in checker.rows(postgres_url, "counters", run.id)] == [2]


# A server that only allows reading


def test_read_only_server_is_an_outage_until_another_session_can_write(
    postgres: PostgresNode, postgres_url: str
) -> None:
    ledger, name = Ledger.open(postgres_url), str(make_url(postgres_url).database)
    ledger.join("w1", [make.profile()])

    # When the server only allows reading, then that is said
    postgres.set_read_only(name, True)
    with pytest.raises(LedgerUnavailableError, match="only allows reading; is it a standby"):
        beat_twice(ledger)

    # And when it can be written again, the sessions of that time are given up
    postgres.set_read_only(name, False)
    beat_twice(ledger)
    ledger.close()


def beat_twice(ledger: Ledger) -> None:
    """The first try may find a connection that the server has closed, the second does not."""
    with suppress(LedgerUnavailableError):
        ledger.beat("w1", 1)
    ledger.beat("w1", 2)


@ON_POSTGRESQL
def test_worker_waits_for_a_server_that_only_allows_reading(
    shared_terminal: Terminal,
    database_url: str,
    postgres: PostgresNode,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given a worker in the middle of a run
    shared_terminal.configure(num_messages=400, routing="static", senders=[SENDERS])
    worker = start_worker("fast", shared_terminal.environment)
    assert shared_terminal.run("produce").code == 0
    wait_until(lambda: checker.finished(database_url, 1), PATIENCE_SECONDS, "some are settled")

    # When its server only allows reading, then it says so
    postgres.set_read_only(name := str(make_url(database_url).database), True)
    wait_until(
        lambda: "only allows reading" in worker.logs(), PATIENCE_SECONDS, "the worker says why"
    )

    # And when it can be written again, the worker goes on
    postgres.set_read_only(name, False)
    wait_until(
        lambda: checker.finished(database_url, 1) == 400, RECOVERY_SECONDS, "all are settled"
    )
    checker.assert_counted_once(database_url, 1, 400)
    assert "Traceback" not in worker.logs()


# Poolers


def refused_or_ignored() -> pytest.MarkDecorator:
    """What a pooler does with the limits of a session."""
    settings = ["", "ignore_startup_parameters = options"]
    return pytest.mark.parametrize("pgbouncer", settings, ids=["refused", "ignored"], indirect=True)


def pooled(pgbouncer: PgBouncer, database_url: str) -> str:
    """The same database, through the pooler."""
    return at_port(database_url, pgbouncer.port)


@refused_or_ignored()
def test_transactions_behind_a_pooler_keep_their_limit_and_prepare_nothing(
    pgbouncer: PgBouncer, postgres_url: str
) -> None:
    engine = open_engine(pooled(pgbouncer, postgres_url))
    database = Database(engine)
    with database.writing() as connection:
        assert shown(connection, "idle_in_transaction_session_timeout") == "10s"
        driver: Any = connection.connection.driver_connection
        assert driver.prepare_threshold is None
    # And nothing of it stays with the session, which others may use
    with database.reading() as connection:
        assert shown(connection, "idle_in_transaction_session_timeout") == "0"
    engine.dispose()


@ON_POSTGRESQL
def test_run_whose_ledger_is_behind_a_pooler(
    shared_terminal: Terminal,
    database_url: str,
    pgbouncer: PgBouncer,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given workers and a producer that share two sessions
    shared_terminal.environment["SMS_DATABASE_URL"] = pooled(pgbouncer, database_url)
    shared_terminal.configure(
        num_messages=2_000,
        batch_size=20,
        retry={"backoff": 1, "backoff_max": 1, "max_attempts": 2},
        senders=[{**SENDERS, "mean_time": 0.01, "failure_rate": 0.2}],
    )
    workers = [start_worker("fast", shared_terminal.environment, wait=False) for _ in range(2)]
    for worker in workers:
        worker.ready()

    # When a run is dispatched, then all is counted once, and the audit proves it
    assert shared_terminal.run("produce").code == 0
    wait_until(
        lambda: checker.finished(database_url, 1) == 2_000, PATIENCE_SECONDS, "all are settled"
    )
    checker.assert_counted_once(database_url, 1, 2_000)
    audited = shared_terminal.run("audit")
    assert (audited.code, audited.err) == (0, "")
    assert not any("Traceback" in worker.logs() for worker in workers)
