"""Queues are named after profiles, durable, and send what is rejected to the dead letters."""

from __future__ import annotations

import pytest

from sms_pipeline.broker import topology


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_queue_of_a_profile(queue_type: str) -> None:
    queue = topology.profile_queue("fast", queue_type)
    assert queue.name == queue.routing_key == topology.queue_name("fast") == "sms.fast"
    assert queue.exchange.name == "sms"
    # Delayed delivery rewrites routing keys by pattern
    assert queue.exchange.type == "topic"
    assert queue.durable
    assert queue.exchange.durable
    assert queue.queue_arguments["x-queue-type"] == queue_type
    assert queue.queue_arguments["x-dead-letter-exchange"] == "sms.dead"


def test_only_quorum_queues_know_a_delivery_limit() -> None:
    limits = [
        topology.profile_queue("fast", queue_type).queue_arguments.get("x-delivery-limit")
        for queue_type in ("quorum", "classic")
    ]
    assert limits == [topology.DELIVERY_LIMIT, None]


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_dead_letters_have_a_queue_that_takes_all_of_them(queue_type: str) -> None:
    queue = topology.dead_letter_queue(queue_type)
    assert queue.name == "sms.dead"
    assert (queue.exchange.name, queue.exchange.type) == ("sms.dead", "fanout")
    assert queue.queue_arguments["x-queue-type"] == queue_type


@pytest.mark.parametrize(("seconds", "level"), [(1, 0), (2, 1), (3, 1), (8, 3), (86_400, 16)])
def test_a_retry_enters_the_waiting_rooms_at_the_highest_bit_of_its_delay(
    seconds: int, level: int
) -> None:
    assert topology.delay_exchange(seconds).name == f"celery_delayed_{level}"
    assert 2**level <= seconds < 2 ** (level + 1)


def test_each_profile_has_a_queue_and_one_for_what_is_urgent() -> None:
    names = [queue.name for queue in topology.profile_queues(["a", "b"], "quorum")]
    assert names == topology.queue_names(["a", "b"])
    assert names == ["sms.a", "sms.a.urgent", "sms.b", "sms.b.urgent"]
