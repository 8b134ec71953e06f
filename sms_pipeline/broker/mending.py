"""Quorum queues that exist in name only, and making them anew.

RabbitMQ writes its register of quorum queues to disk some time after they are declared. Killed
before that, it starts again with queues that have a name and nothing behind it: they can be
declared and report no messages, no publish to them is ever confirmed, and nothing can be consumed.
What they held is gone, whether it was confirmed or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from kombu import Connection

#: A queue that lives answers at once; one whose members choose a leader, within some seconds.
ANSWER_SECONDS = 8.0
#: RabbitMQ waits 5 s for members that are not there before it deletes a queue.
DELETION_SECONDS = 30.0


def name_only(connection: Connection, queues: Iterable[str]) -> list[str]:
    """Those of `queues` that do not answer, though the broker does.

    In a cluster a queue does not answer either while most of its members are away.

    Raises:
        Exception: the broker does not answer; whatever kombu raised.
    """
    names = list(queues)
    with ThreadPoolExecutor(len(names)) as probes:
        dead = list(probes.map(partial(_is_name_only, connection), names))
    return [name for name, is_dead in zip(names, dead, strict=True) if is_dead]


def delete(connection: Connection, queues: Iterable[str]) -> None:
    """Delete queues that exist in name only; each takes RabbitMQ some seconds.

    Raises:
        Exception: the broker does not answer; whatever kombu raised.
    """
    names = list(queues)
    with ThreadPoolExecutor(len(names)) as deletions:
        list(deletions.map(partial(_delete, connection), names))


def _is_name_only(connection: Connection, queue: str) -> bool:
    probe = _bounded(connection, ANSWER_SECONDS)
    try:
        channel = probe.channel()
        declared = channel.queue_declare(queue, passive=True)
        if declared.message_count or declared.consumer_count:
            return False
        return _is_silent(channel, queue)
    except probe.channel_errors:
        # There is no such queue, or it is not ours to look at.
        return False
    finally:
        # `collect` drops the socket; `close` would wait for the queue.
        probe.collect()


def _is_silent(channel: Any, queue: str) -> bool:
    """There is nothing to receive, so this only asks whether somebody is there."""
    try:
        channel.basic_consume(queue)
    except TimeoutError:
        return True
    return False


def _delete(connection: Connection, queue: str) -> None:
    deleting = _bounded(connection, DELETION_SECONDS)
    try:
        deleting.channel().queue_delete(queue)
    finally:
        deleting.collect()


def _bounded(connection: Connection, seconds: float) -> Connection:
    """A connection on which no wait is longer."""
    return connection.clone(transport_options={"read_timeout": seconds})
