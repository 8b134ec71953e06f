"""A list of brokers: one of them is enough, at the start and in mid-run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from tests.conftest import require
from tests.functional import checker
from tests.functional.terminal import CELERY, Terminal
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until

PATIENCE_SECONDS = 60.0
MESSAGES = 40
#: Half of the attempts fail, so that retries wait at the broker.
SIMULATION = {
    "num_messages": MESSAGES,
    "report_period": 0.5,
    "senders": [{"name": "fast", "count": 20, "mean_time": 0.02, "failure_rate": 0.5}],
    "retry": {"max_attempts": 3, "backoff": 1, "backoff_max": 1},
}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[RabbitMQNode]]:
    """Two brokers that know nothing of each other, not started."""
    require(RabbitMQNode.available())
    nodes = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        nodes.append(RabbitMQNode(tmp_path / name))
    yield nodes
    for node in nodes:
        node.stop()


def is_declared(url: str, queue: str) -> bool:
    """Whether the broker has a queue; others may be in the making."""
    with Connection(url) as connection:
        try:
            connection.default_channel.queue_declare(queue, passive=True)
        except connection.channel_errors:
            return False
    return True


def test_one_broker_of_a_list_is_enough(terminal: Terminal, nodes: list[RabbitMQNode]) -> None:
    # Given a list of three brokers: the first is nowhere, the second is not started
    missing = "amqp://guest:guest@127.0.0.1:1"
    one, other = nodes
    terminal.environment["CELERY_BROKER_URL"] = ";".join(
        url.rstrip("/") for url in (missing, one.url, other.url)
    )
    database = f"sqlite:///{terminal.folder / 'sms_pipeline.db'}"
    terminal.configure(**SIMULATION)
    other.start()

    # When a worker and a producer start, then they work with the third, retries included
    worker = terminal.start("worker", "--profile", "fast", "--loglevel", "INFO", program=CELERY)
    worker.says(" ready.")
    assert terminal.run("produce").code == 0
    wait_until(
        lambda: checker.finished(database, 1) == MESSAGES, PATIENCE_SECONDS, "the first run ends"
    )

    # And when that one is killed and the second starts, then the same worker goes on there
    one.start()
    other.kill()
    wait_until(
        lambda: is_declared(one.url, "celery_delayed_0"), PATIENCE_SECONDS, "the worker has moved"
    )
    assert terminal.run("produce").code == 0
    wait_until(
        lambda: checker.finished(database, 2) == MESSAGES, PATIENCE_SECONDS, "the second run ends"
    )
    assert worker.process.poll() is None
    assert terminal.run("audit", "2").code == 0
