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

from amqp.exceptions import InternalError
from kombu import Connection

#: A queue that lives answers at once; one whose members choose a leader, within some seconds.
ANSWER_SECONDS = 8.0
#: A consumer that gets only what no other one can take.
_LAST = -10
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
        return is_silent(channel, channel.queue_declare(queue, passive=True))
    except probe.channel_errors:
        # There is no such queue, or it is not ours to look at.
        return False
    finally:
        # `collect` drops the socket; `close` would wait for the queue.
        probe.collect()


def is_silent(channel: Any, declared: Any) -> bool:
    """Whether a queue does not answer; `declared` is what its declaration came to.

    RabbitMQ keeps the name of a queue that it has lost: it can be declared and has no messages, but
    whoever consumes from it waits for ever. Only what is empty and has no consumers is tried, so
    nothing is taken.

    Raises:
        Exception: the queue is not there, or may not be read; whatever amqp raised.
    """
    if declared.message_count or declared.consumer_count:
        return False
    try:
        tag = channel.basic_consume(declared.queue, arguments={"x-priority": _LAST})
    except (TimeoutError, InternalError):
        return True
    channel.basic_cancel(tag, nowait=True)
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
