"""How many batches of each queue a worker is given."""

from __future__ import annotations

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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the broker, in order: prefetch counts, and the queues that are consumed."""
    seen: list[Any] = []
    monkeypatch.setattr(
        memory.Channel, "basic_qos", lambda _, __, count, apply_global: seen.append(count)
    )
    monkeypatch.setattr(
        memory.Channel, "basic_consume", lambda _, queue, *__, **___: seen.append(queue)
    )
    return seen


def consume(prefetch: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Pipeline(None, None, prefetch=prefetch)  # type: ignore[arg-type]
    monkeypatch.setattr(pipeline, "_installed", [parts])
    with Connection("memory://") as connection:
        queues = topology.profile_queues(["fast"], "quorum")
        app.amqp.TaskConsumer(connection.channel(), queues=queues).consume()


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


def test_workers_consume_with_it() -> None:
    assert app.amqp.Consumer is QueueConsumer


def test_a_hand_is_kept_free_for_each_urgent_batch() -> None:
    assert Hands.of(70, "quorum") == Hands(threads=140, prefetch=70)
    assert Hands.of(70, "classic") == Hands(threads=70, prefetch=None)
