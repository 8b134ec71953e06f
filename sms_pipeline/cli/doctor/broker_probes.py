"""Tries things out at a broker. What it makes there goes away, even if this process is killed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from amqp.exceptions import AccessRefused, AMQPError, NotFound, PreconditionFailed
from kombu import Connection, Queue
from kombu.transport.native_delayed_delivery import (
    CELERY_DELAYED_DELIVERY_EXCHANGE,
    calculate_routing_key,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from sms_pipeline.broker import topology
from sms_pipeline.broker.mending import is_silent
from sms_pipeline.cli.doctor.broker_link import ANSWER_SECONDS, CONNECT_SECONDS, BrokerLink
from sms_pipeline.core.clock import Clock

#: What is left behind when this process is killed is gone after so long. It must outlive every
#: message on its way: RabbitMQ tries for ever to hand on one that has no queue to go to.
_EXPIRES_MILLISECONDS = 300_000
_POLL_SECONDS = 0.02
#: RabbitMQ gives up a first transfer at once if there is no queue, so the queue may come so late.
_LATE_SECONDS = 1.0
_SOON_MILLISECONDS = 1
_MILLISECONDS = 1_000
#: RabbitMQ says NOT_FOUND of queues, too, that are there but down.
_NO_SUCH_QUEUE = "no queue"
#: Routing keys at an exchange of its own.
_END, _WAITING = "end", "waiting"
#: Arguments that RabbitMQ refuses, after it has looked at the rights and before it does anything.
_NO_QUEUE = {"x-expires": 0}
_NO_EXCHANGE = {"alternate-exchange": 0}
_NO_CONSUMER = {"x-priority": "none"}


class SilentQueueError(Exception):
    """A queue is there, but does not answer; its name is the message."""


class BrokerProbe:
    """Tries things out on one connection. No wait is longer than a few seconds."""

    def __init__(self, link: BrokerLink, url: str, queue_type: str, clock: Clock) -> None:
        self._link = link
        self._url = url
        self._queue_type = queue_type
        self._clock = clock
        self._name = f"sms.doctor.{uuid.uuid4().hex[:12]}"

    def seconds_to_publish(self) -> float:
        """Publish a message that no queue gets; how long it took until the broker answered.

        Raises:
            BlockedError: the broker takes no messages now.
        """
        before = self._clock.monotonic()
        # There may be no such exchange yet, or the user may not use it: that, too, is an answer.
        with suppress(NotFound, AccessRefused), self._link.channel() as channel:
            self._link.publish(channel, topology.EXCHANGE.name, self._name)
        return self._clock.monotonic() - before

    # Rights. Nothing is made: RabbitMQ looks at the rights first, then at what is asked.

    def may_configure_queue(self, name: str) -> bool:
        """Whether the user may declare this queue."""
        return self._is_allowed(
            lambda channel: channel.queue_declare(
                name, durable=True, auto_delete=False, arguments=_NO_QUEUE
            )
        )

    def may_configure_exchange(self, name: str) -> bool:
        """Whether the user may declare this exchange."""
        return self._is_allowed(
            lambda channel: channel.exchange_declare(
                name, "topic", durable=True, auto_delete=False, arguments=_NO_EXCHANGE
            )
        )

    def may_write_exchange(self, name: str) -> bool:
        """Whether the user may publish to this exchange; the message has nowhere to go."""
        return self._is_allowed(lambda channel: self._link.publish(channel, name, self._name))

    def may_read_queue(self, name: str) -> bool:
        """Whether the user may consume from this queue; nothing is taken."""
        return self._is_allowed(lambda channel: channel.basic_consume(name, arguments=_NO_CONSUMER))

    def _is_allowed(self, ask: Callable[[Any], object]) -> bool:
        try:
            with self._link.channel() as channel:
                ask(channel)
        except AccessRefused:
            return False
        except (NotFound, PreconditionFailed):
            return True
        return True

    # What is there already

    def has_queue(self, name: str) -> bool:
        """Whether there is a queue of that name.

        Raises:
            SilentQueueError: there is, but it does not answer: it is a name only, or its nodes are
                away. `broker.mending` has the details.
        """
        try:
            with self._link.channel() as channel:
                declared = channel.queue_declare(name, passive=True)
                silent = self._queue_type == topology.QUORUM and is_silent(channel, declared)
        except AccessRefused:
            # It is there, and not ours to read.
            return True
        except NotFound as error:
            if _NO_SUCH_QUEUE in error.reply_text:
                return False
            raise SilentQueueError(name) from error
        except TimeoutError as error:
            # The answer may still come: the connection is of no use any more.
            self._link.close()
            raise SilentQueueError(name) from error
        if silent:
            self._link.close()
            raise SilentQueueError(name)
        return True

    def disagreement(self, queue: Queue) -> str | None:
        """How a queue that is there differs from what a run declares; None if it does not."""
        try:
            with suppress(AccessRefused), self._link.channel() as channel:
                queue(channel).queue_declare()
        except PreconditionFailed as error:
            return str(error.reply_text)
        return None

    def delay_disagreement(self) -> str | None:
        """The same for the queues in which retries wait; all of them are there."""
        # kombu declares them by a connection of its own kind.
        with Connection(self._url, connect_timeout=CONNECT_SECONDS) as connection:
            connection.connect()
            connection.connection.transport.sock.settimeout(ANSWER_SECONDS)
            try:
                declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
            except PreconditionFailed as error:
                return str(error.reply_text)
            except AccessRefused:
                return None
        return None

    # Global limits, which Celery sets on classic queues

    def takes_global_prefetch(self) -> bool:
        """Whether a channel's prefetch can be limited as a whole."""
        try:
            with self._link.channel() as channel:
                channel.basic_qos(0, 1, True)
        except AMQPError:
            return False
        return True

    # A message's way

    def times_returned(self, limit: int) -> int:
        """Give a message back to a queue, up to `limit` times; how often it came again."""
        with self._link.channel() as channel, self._queue(channel) as name:
            self._link.publish(channel, name, _END)
            for times in range(limit):
                message = self._await(channel, name, ANSWER_SECONDS)
                if message is None:
                    return times
                channel.basic_reject(message.delivery_tag, requeue=True)
            return limit

    def delay_by_retry_queues(self, seconds: int, patience: float) -> float | None:
        """Send a message the way that a retry takes; how long it took, None if it did not come."""
        exchange = topology.delay_exchange(seconds).name
        with self._link.channel() as channel:
            self._declare(channel, self._name)
            channel.queue_bind(self._name, CELERY_DELAYED_DELIVERY_EXCHANGE, f"#.{self._name}")
            key = calculate_routing_key(seconds, self._name)
            took = self._seconds_on_the_way(channel, exchange, key, patience)
            if took is not None:
                # Else the queue is left to expire: without it the message would be in the way of
                # retries for ever.
                channel.queue_delete(self._name)
            return took

    def delay_by_own_queue(self, seconds: int, patience: float) -> float | None:
        """The same through a queue of the same kind, where there are none for retries yet."""
        with (
            self._link.channel() as channel,
            self._queue(channel),
            self._waiting(channel, seconds * _MILLISECONDS),
        ):
            return self._seconds_on_the_way(channel, self._name, _WAITING, patience)

    def _seconds_on_the_way(
        self, channel: Any, exchange: str, key: str, patience: float
    ) -> float | None:
        before = self._clock.monotonic()
        self._link.publish(channel, exchange, key)
        arrived = self._await(channel, self._name, patience)
        return self._clock.monotonic() - before if arrived else None

    def repeats_transfer_after(self, patience: float) -> float | None:
        """Let a message's time be up before it has a queue to go to; when it is handed on.

        None if that takes longer than `patience` seconds.
        """
        with self._link.channel() as channel, self._waiting(channel, _SOON_MILLISECONDS):
            before = self._clock.monotonic()
            self._link.publish(channel, self._name, _WAITING)
            self._clock.sleep(_LATE_SECONDS)
            with self._queue(channel) as name:
                arrived = self._await(channel, name, patience)
                return self._clock.monotonic() - before if arrived else None

    def _await(self, channel: Any, queue: str, patience: float) -> Any:
        """The next message of a queue; None if there is none in that time."""
        give_up_at = self._clock.monotonic() + patience
        while True:
            message = channel.basic_get(queue)
            if message is not None or self._clock.monotonic() > give_up_at:
                return message
            self._clock.sleep(_POLL_SECONDS)

    # Queues of its own, and an exchange of the same name, which goes away with the last of them

    @contextmanager
    def _queue(self, channel: Any) -> Iterator[str]:
        """Where messages end."""
        self._declare_exchange(channel)
        self._declare(channel, self._name)
        channel.queue_bind(self._name, self._name, _END)
        try:
            yield self._name
        finally:
            _delete(channel, self._name)

    @contextmanager
    def _waiting(self, channel: Any, milliseconds: int) -> Iterator[None]:
        """Where messages wait before they end, as in Celery's queues for retries."""
        name = f"{self._name}.waiting"
        arguments = {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-message-ttl": milliseconds,
            "x-dead-letter-exchange": self._name,
            "x-dead-letter-routing-key": _END,
            "x-dead-letter-strategy": "at-least-once",
            "x-expires": _EXPIRES_MILLISECONDS,
        }
        self._declare_exchange(channel)
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
        channel.queue_bind(name, self._name, _WAITING)
        try:
            yield
        finally:
            _delete(channel, name)

    def _declare_exchange(self, channel: Any) -> None:
        channel.exchange_declare(self._name, "direct", durable=True, auto_delete=True)

    def _declare(self, channel: Any, name: str) -> None:
        arguments: dict[str, Any] = {
            "x-queue-type": self._queue_type,
            "x-expires": _EXPIRES_MILLISECONDS,
        }
        if self._queue_type == "quorum":
            arguments["x-delivery-limit"] = topology.DELIVERY_LIMIT
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


def _delete(channel: Any, queue: str) -> None:
    # After an error the channel may be closed; then the queue expires.
    if channel.is_open:
        channel.queue_delete(queue)
