"""What producer and worker must agree on at the broker: exchange, queues, dead letters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kombu import Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    MAX_NUMBER_OF_BITS_TO_USE,
    level_name,
)

#: A topic exchange, because Celery's delayed delivery rewrites routing keys by pattern.
EXCHANGE = Exchange("sms", type="topic", durable=True)
DEAD_LETTER_EXCHANGE = Exchange("sms.dead", type="fanout", durable=True)
#: What no worker could make sense of, and what was returned too often.
DEAD_LETTER_QUEUE = "sms.dead"
#: The type of queue that survives the loss of a broker, and on which retries wait at the broker.
QUORUM = "quorum"
#: Returns to the queue before a message is dead-lettered. RabbitMQ 4's default of 20 is soon
#: reached by good batches next to a worker that keeps crashing.
DELIVERY_LIMIT = 1_000
#: Where retries wait on quorum queues: one queue for each bit of the delay in seconds.
DELAY_QUEUES = tuple(level_name(level) for level in range(MAX_NUMBER_OF_BITS_TO_USE))


def queue_name(profile: str, urgent: bool = False) -> str:
    """The queue that holds the batches of `profile`; also its routing key."""
    return f"sms.{profile}.urgent" if urgent else f"sms.{profile}"


def queue_names(profiles: Iterable[str]) -> list[str]:
    """The queues of `profiles`: each has one for urgent batches, too."""
    return [queue_name(profile, urgent) for profile in profiles for urgent in (False, True)]


def delay_exchange(seconds: int) -> Exchange:
    """Where a message that waits so long, at least 1 s, enters the waiting rooms.

    It is the exchange of the highest bit of the delay. Celery's own publishes enter at the 28th
    bit; each level above the right one only passes the message on.
    """
    return Exchange(level_name(seconds.bit_length() - 1), type="topic")


def profile_queue(profile: str, queue_type: str, urgent: bool = False) -> Queue:
    """A queue of one profile; `queue_type` is "quorum" or "classic"."""
    arguments: dict[str, Any] = {
        "x-queue-type": queue_type,
        "x-dead-letter-exchange": DEAD_LETTER_EXCHANGE.name,
    }
    if queue_type == QUORUM:
        arguments["x-delivery-limit"] = DELIVERY_LIMIT
    name = queue_name(profile, urgent)
    return Queue(name, EXCHANGE, routing_key=name, queue_arguments=arguments)


def dead_letter_queue(queue_type: str) -> Queue:
    """Where rejected messages go."""
    return Queue(
        DEAD_LETTER_QUEUE,
        DEAD_LETTER_EXCHANGE,
        routing_key="",
        queue_arguments={"x-queue-type": queue_type},
    )


def profile_queues(profiles: Iterable[str], queue_type: str) -> list[Queue]:
    """Two queues for each profile, as in `queue_names`."""
    return [
        profile_queue(profile, queue_type, urgent)
        for profile in profiles
        for urgent in (False, True)
    ]
