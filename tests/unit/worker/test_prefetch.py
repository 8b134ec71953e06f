"""How many batches of each queue a worker is given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection
from kombu.transport import memory

from sms_pipeline.broker import topology
from sms_pipeline.celery import app
from sms_pipeline.worker import pipeline
from sms_pipeline.worker.in_hand import Hands
from sms_pipeline.worker.pipeline import Pipeline
from sms_pipeline.worker.prefetch import QueueConsumer
from sms_pipeline.worker.takeover import TakenQueues


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the broker, in order: prefetch counts, and the queues that are consumed."""
    seen: list[Any] = []

    def set_prefetch(_: memory.Channel, size: int, count: int, apply_global: bool) -> None:
        # RabbitMQ knows no limit of bytes; and global is one for all queues of the channel.
        assert (size, apply_global) == (0, False)
        seen.append(count)

    monkeypatch.setattr(memory.Channel, "basic_qos", set_prefetch)
    monkeypatch.setattr(
        memory.Channel, "basic_consume", lambda _, queue, *__, **___: seen.append(queue)
    )
    return seen


def consume(prefetch: int | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A consumer of the queues of `fast` that has begun, in a worker with that prefetch."""
    parts = Pipeline(None, None, prefetch=prefetch)  # type: ignore[arg-type]
    monkeypatch.setattr(pipeline, "_installed", [parts])
    return consume_here()


def consume_here() -> Any:
    """The same, in whatever this process is."""
    queues = topology.profile_queues(["fast"], "quorum")
    consumer = app.amqp.TaskConsumer(Connection("memory://").channel(), queues=queues)
    consumer.consume()
    return consumer


def test_each_queue_has_a_prefetch_of_its_own(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    consume(70, monkeypatch)
    assert asked == [70, "sms.fast", 70, "sms.fast.urgent"]


def test_without_one_the_channel_keeps_what_celery_has_set(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    consume(None, monkeypatch)
    assert asked == ["sms.fast", "sms.fast.urgent"]


def test_a_process_that_is_no_worker_consumes_as_celery_does(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_installed", [])
    consume_here()
    assert asked == ["sms.fast", "sms.fast.urgent"]


def test_the_broker_is_told_how_to_deliver(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = consume(70, monkeypatch)
    consumer.cancel()
    told: list[bool] = []
    monkeypatch.setattr(
        memory.Channel, "basic_consume", lambda *_, no_ack, **__: told.append(no_ack)
    )
    consumer.consume(no_ack=True)
    assert told == [True, True]


def test_queues_that_are_taken_over_have_a_limit_of_their_own(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for prefetch, own in ((70, 70), (None, 0)):
        asked.clear()
        consumer = consume(prefetch, monkeypatch)
        cancelled: list[str] = []
        consumer.cancel_by_queue = cancelled.append
        celerys = SimpleNamespace(task_consumer=consumer)
        asked.clear()
        taken = TakenQueues(lambda profile: topology.profile_queues([profile], "quorum"))
        # What is urgent is taken over, too
        taken.follow(celerys, {"slow": 3})
        taken.follow(celerys, {"slow": 3})
        assert asked == [3, "sms.slow", 3, "sms.slow.urgent"]
        taken.follow(celerys, {})
        assert cancelled == ["sms.slow", "sms.slow.urgent"]
        # Its own queues have their own limit, or none but the channel's, if they begin anew
        consumer.cancel()
        asked.clear()
        consumer.consume()
        assert asked[:4] == [own, "sms.fast", own, "sms.fast.urgent"]


def test_workers_consume_with_it() -> None:
    assert app.amqp.Consumer is QueueConsumer


def test_a_hand_is_kept_free_for_each_urgent_batch() -> None:
    assert Hands.of(70, "quorum") == Hands(threads=140, prefetch=70)
    assert Hands.of(70, "classic") == Hands(threads=70, prefetch=None)
