"""A worker that starts while something is away waits for it; one that can't start says why."""

from __future__ import annotations

import pytest

from sms_pipeline.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TERMINATED
from sms_pipeline.worker.awaiting import REPEAT_SECONDS
from tests.functional import checker
from tests.functional.terminal import CELERY, Started, Terminal
from tests.services.postgres import PostgresNode
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until

PATIENCE_SECONDS = 60.0
#: Somewhere in the URLs, and never in what is said.
CREDENTIALS = "guest:guest"


def start_worker(terminal: Terminal, **changes: str | None) -> Started:
    return terminal.start(
        "worker", "--profile", "fast", "--loglevel", "INFO", program=CELERY, **changes
    )


def test_a_worker_waits_for_its_broker_and_says_so_once(
    terminal: Terminal, own_node: RabbitMQNode
) -> None:
    # Given a worker whose broker is not there yet
    terminal.environment["CELERY_BROKER_URL"] = own_node.url
    worker = start_worker(terminal)
    worker.says("Waiting: the broker at ")

    # When the broker comes
    assert REPEAT_SECONDS > PATIENCE_SECONDS / 2
    own_node.start()

    # Then it works; what it waited for was one line
    worker.says(" ready.")
    assert worker.err.count("Waiting: ") == 1
    assert CREDENTIALS not in worker.err
    assert terminal.run("produce", "-n", "10").code == 0
    database = f"sqlite:///{terminal.folder / 'sms_pipeline.db'}"
    wait_until(lambda: checker.finished(database, 1) > 0, PATIENCE_SECONDS, "it settles")


def test_a_worker_waits_for_its_database(
    terminal: Terminal, broker_url: str, postgres: PostgresNode, postgres_url: str
) -> None:
    terminal.environment |= {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": postgres_url}
    postgres.kill()
    worker = start_worker(terminal)
    worker.says("Waiting: the ledger ")
    postgres.restart()
    worker.says(" ready.")
    assert worker.err.count("Waiting: ") == 1


@pytest.mark.parametrize(
    ("end", "code"), [("interrupt", EXIT_INTERRUPTED), ("terminate", EXIT_TERMINATED)]
)
def test_a_worker_that_waits_can_be_ended(terminal: Terminal, end: str, code: int) -> None:
    terminal.environment["CELERY_BROKER_URL"] = "amqp://guest:guest@127.0.0.1:1"
    worker = start_worker(terminal)
    worker.says("Waiting: ")
    getattr(worker, end)()
    result = worker.wait()
    assert (result.code, result.err.count("\n")) == (code, 1), result.err


def test_wrong_credentials_are_not_waited_for(terminal: Terminal, broker_url: str) -> None:
    wrong = broker_url.replace(CREDENTIALS, "guest:hunter2")
    result = start_worker(terminal, CELERY_BROKER_URL=wrong).wait()
    assert result.code == EXIT_FAILURE
    assert result.err.startswith("Error: the broker at ") and "ACCESS_REFUSED" in result.err
    assert result.err.count("\n") == 1 and "hunter2" not in result.err


@pytest.mark.parametrize("mistake", ["option", "encoding"])
def test_a_worker_that_is_not_set_up_ends_and_takes_no_batch(
    terminal: Terminal,
    rabbitmq: RabbitMQNode,
    broker_url: str,
    postgres: PostgresNode,
    postgres_url: str,
    mistake: str,
) -> None:
    # Given batches in a queue, and a database that can't be used for a reason nobody foresaw
    terminal.environment["CELERY_BROKER_URL"] = broker_url
    assert terminal.run("produce", "-n", "10").code == 0
    url = f"{postgres_url}?options=-csearch_path%3Dnowhere"
    if mistake == "encoding":
        name = postgres_url.rpartition("/")[2] + "_ascii"
        postgres.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0")
        url = postgres.url_of(name)

    # When a worker starts on it
    result = start_worker(terminal, SMS_DATABASE_URL=url).wait()

    # Then it ends with one line, and the batches are where they were
    assert (result.code, result.err.count("\n")) == (EXIT_FAILURE, 1), result.err
    assert result.err.startswith("Error: "), result.err
    depths = rabbitmq.queue_depths(broker_url)
    assert sum(depths.values()) > 0 and not depths["sms.dead"]
