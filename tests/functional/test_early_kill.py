"""A broker that is killed just after its queues were made: nothing waits for ever."""

from __future__ import annotations

from tests.functional.terminal import CELERY, Terminal
from tests.services.rabbitmq import RabbitMQNode

MESSAGES = 40
#: Two publishes that are not confirmed, and a look at the queue that is not answered.
PATIENCE_SECONDS = 90.0
SIMULATION = {
    "num_messages": MESSAGES,
    "report_period": 0.5,
    "senders": [{"name": "fast", "count": 20, "mean_time": 0.02, "failure_rate": 0.3}],
    "retry": {"max_attempts": 3, "backoff": 1, "backoff_max": 1},
}


def test_queues_in_name_only_are_noticed_and_made_anew(
    terminal: Terminal, node_of_names: RabbitMQNode
) -> None:
    # Given a worker and a producer on a queue that takes nothing and gives nothing
    terminal.environment["CELERY_BROKER_URL"] = node_of_names.url
    terminal.configure(**SIMULATION)
    worker = terminal.start("worker", "--profile", "fast", "--loglevel", "INFO", program=CELERY)
    producer = terminal.start("produce")

    # Then the producer says what is the matter
    producer.says("queue sms.fast exists in name only")
    producer.interrupt()
    producer.wait()

    # And `resume` mends it, and ends; the worker that was there all the time plays everything
    resumed = terminal.run("resume", timeout=PATIENCE_SECONDS)
    assert resumed.code == 0, resumed.err
    assert "queue sms.fast existed in name only" in resumed.err
    assert terminal.run("monitor", "--every", "1", timeout=PATIENCE_SECONDS).code == 0
    assert terminal.run("audit").code == 0
    assert worker.process.poll() is None
