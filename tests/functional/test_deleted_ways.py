"""Exchanges and bindings that someone deletes in mid-run: nothing that was confirmed is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kombu import Connection

from sms_pipeline.broker import topology
from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

PATIENCE_SECONDS = 60.0
MESSAGES = 2_000
#: Half of the attempts fail, so that there are always retries on their way.
SIMULATION = {
    "num_messages": MESSAGES,
    "batch_size": 20,
    "report_period": 0.5,
    "senders": [{"name": "fast", "count": 20, "mean_time": 0.02, "failure_rate": 0.5}],
    "retry": {"max_attempts": 4, "backoff": 1, "backoff_max": 2},
}

DELAYS = (
    "celery_delayed_delivery",
    topology.delay_exchange(1).name,
    topology.delay_exchange(2).name,
)


@pytest.mark.parametrize(
    "deleted", [("sms",), DELAYS, ("sms", *DELAYS)], ids=["sms", "delays", "all"]
)
def test_a_run_survives_the_deletion_of_exchanges(
    shared_terminal: Terminal,
    rabbitmq: RabbitMQNode,
    start_worker: Callable[..., WorkerProcess],
    deleted: tuple[str, ...],
) -> None:
    # Given a run in the middle
    terminal = shared_terminal
    terminal.configure(**SIMULATION)
    url, database = (terminal.environment[n] for n in ("CELERY_BROKER_URL", "SMS_DATABASE_URL"))
    worker = start_worker("fast", terminal.environment)
    producer = terminal.start("produce")
    wait_until(
        lambda: checker.finished(database, 1) > MESSAGES / 10, PATIENCE_SECONDS, "it is under way"
    )

    # When exchanges are deleted, and with them the bindings that begin or end there
    with Connection(url) as connection:
        for exchange in deleted:
            connection.default_channel.exchange_delete(exchange)

    # Then the producer comes to its end, and `resume` finds what could not find its way back
    assert producer.wait().code == 0
    assert terminal.run("resume").code == 0
    wait_until(
        lambda: checker.finished(database, 1) == MESSAGES, PATIENCE_SECONDS, "every message ends"
    )
    assert terminal.run("audit").code == 0
    assert worker.running
