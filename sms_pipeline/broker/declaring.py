"""Making at the broker what producers and workers need there. What is there already stays."""

from __future__ import annotations

from collections.abc import Iterable

from kombu import Connection, Queue
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from sms_pipeline.broker import topology


def declare_queues(connection: Connection, profiles: Iterable[str], queue_type: str) -> list[Queue]:
    """The queues of `profiles`, which are returned, the dead-letter queue, and their exchanges."""
    queues = topology.profile_queues(profiles, queue_type)
    for queue in (topology.dead_letter_queue(queue_type), *queues):
        queue(connection.default_channel).declare()
    return queues


def declare_delays(connection: Connection, queues: Iterable[Queue]) -> None:
    """The waiting rooms of retries, and the ways from them back to `queues`."""
    declare_native_delayed_delivery_exchanges_and_queues(connection, topology.QUORUM)
    for queue in queues:
        bind_queue_to_native_delayed_delivery_exchange(connection, queue)
