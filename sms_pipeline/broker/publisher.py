"""Confirmed publishing, on connections of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from amqp.exceptions import AccessRefused, ChannelError, NotAllowed, NotFound, PreconditionFailed
from celery import Celery, Task
from celery.exceptions import Reject
from celery.result import AsyncResult
from kombu import Connection, Producer, Queue, pools
from kombu.transport.native_delayed_delivery import calculate_routing_key

from sms_pipeline.broker import mending, sockets, topology
from sms_pipeline.broker.declaring import declare_delays, declare_queues
from sms_pipeline.config.brokers import is_embedded, split_urls
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.batch import TASK_NAME, Batch
from sms_pipeline.core.errors import BrokerRefusedError, BrokerUnavailableError

log = logging.getLogger(__name__)

#: How long the broker may take to confirm a message; a blocked one never does.
CONFIRM_TIMEOUT_SECONDS = 10.0
#: How long a first connection is tried before the user is told, for each broker of a list.
CONNECT_TIMEOUT_SECONDS = 8.0
#: How often each broker of a list is tried meanwhile.
_TRIES = 2
#: Wrong credentials, an unknown virtual host, a queue of that name that is different.
_REFUSALS = (AccessRefused, NotAllowed, PreconditionFailed)
#: So many publishes in a row that are not confirmed give reason to look at their queue.
_SUSPICIOUS = 2
#: No queue has this name.
_NOBODY = "sms.nobody"
#: RabbitMQ's codes for a message that it returns, and for an exchange that does not exist.
_NOWHERE = (312, NotFound.code)


class Publisher:
    """Lends producers whose publishes return once the broker has confirmed them.

    Confirms must not be switched on for Celery's own connections: with the threads pool and task
    events on, a worker then waits for ever for a confirm that another thread has read.
    """

    def __init__(self, broker_url: str, queue_type: str) -> None:
        self._urls = split_urls(broker_url)
        connect_timeout = CONNECT_TIMEOUT_SECONDS / _TRIES
        self._connection = Connection(
            broker_url,
            connect_timeout=connect_timeout,
            transport_options={
                "confirm_publish": True,
                # By default kombu gives up when the first broker of a list has used up its time.
                "connect_retries_timeout": connect_timeout * len(self._urls),
                **sockets.TRANSPORT_OPTIONS,
            },
        )
        self._producers = pools.producers[self._connection]
        self._is_embedded = is_embedded(broker_url)
        self._queue_type = queue_type
        self._ways_are_lost = False
        # Profiles whose queues it has declared.
        self._declared = set[str]()
        # Publishes in a row that were not confirmed in time.
        self._unconfirmed = 0

    @classmethod
    def open(cls, settings: Settings, profiles: Iterable[str]) -> Publisher:
        """A publisher whose broker answers and has the queues of `profiles`.

        Raises:
            BrokerUnavailableError: it does not answer, or refused the queues.
        """
        publisher = cls(settings.broker_url, settings.queue_type)
        if not settings.embedded:
            publisher.reach()
        publisher.declare(profiles)
        return publisher

    def reach(self) -> None:
        """Connect once, to the first broker of the list that answers.

        Raises:
            BrokerUnavailableError: no answer within `CONNECT_TIMEOUT_SECONDS` from any of them.
        """
        brokers = len(self._urls)
        try:
            with self._connection.clone() as connection:
                connection.ensure_connection(
                    max_retries=_TRIES * brokers - 1, timeout=CONNECT_TIMEOUT_SECONDS * brokers
                )
        except Exception as error:
            where = " or ".join(Connection(url).as_uri() for url in self._urls)
            raise _unavailable(f"the broker at {where} can't be reached", error) from error

    def answers(self) -> bool:
        """Whether the broker confirms a message now; no queue receives it."""
        connection = self._connection.clone()
        bounds = {"confirm_timeout": CONFIRM_TIMEOUT_SECONDS, "timeout": CONFIRM_TIMEOUT_SECONDS}
        try:
            connection.Producer().publish("", routing_key=_NOBODY, retry=False, **bounds)
        except Exception:
            return False
        finally:
            connection.collect()
        return True

    def declare(self, profiles: Iterable[str], delays: bool = False) -> None:
        """Declare the exchanges, the queues of `profiles`, and the dead-letter queue.

        With `delays` also the waiting rooms of retries, which workers declare when they start.

        Raises:
            BrokerUnavailableError: the broker refused, or did not answer.
        """
        profiles = list(profiles)
        try:
            with self._connection.clone() as connection:
                queues = declare_queues(connection, profiles, self._queue_type)
                if delays and not self._is_embedded and self._queue_type == topology.QUORUM:
                    declare_delays(connection, queues)
        except Exception as error:
            raise _unavailable("the queues can't be declared", error) from error
        self._declared.update(profiles)

    def mend(self, profiles: Iterable[str]) -> list[str]:
        """Make anew what exists in name only, and declare all that is missing.

        Return the names of queues that were made anew; what they held was lost before. See
        `broker.mending`.

        Raises:
            BrokerUnavailableError: the broker refused, or did not answer.
        """
        profiles = list(profiles)
        names = topology.queue_names(profiles)
        dead = self._name_only((*names, topology.DEAD_LETTER_QUEUE, *topology.DELAY_QUEUES))
        if dead:
            try:
                mending.delete(self._connection, dead)
            except Exception as error:
                raise _unavailable("the queues can't be mended", error) from error
        self.declare(profiles, delays=True)
        return dead

    def _name_only(self, queues: Iterable[str]) -> list[str]:
        if self._is_embedded or self._queue_type != topology.QUORUM:
            return []
        try:
            return mending.name_only(self._connection, queues)
        except Exception as error:
            raise _unavailable("the queues can't be read", error) from error

    def depth(self, profiles: Iterable[str]) -> int:
        """Messages ready in the queues of `profiles` and in the waiting rooms of retries.

        Raises:
            BrokerUnavailableError: the broker can't be reached.
        """
        return self._ready(*topology.queue_names(profiles), *topology.DELAY_QUEUES)

    def dead_letters(self) -> int:
        """Messages in the dead-letter queue.

        Raises:
            BrokerUnavailableError: the broker can't be reached.
        """
        return self._ready(topology.DEAD_LETTER_QUEUE)

    def _ready(self, *queues: str) -> int:
        """Messages ready in these queues; none in one that is not declared."""
        messages, asked = 0, queues[0]
        try:
            with self._connection.clone() as connection:
                for asked in queues:
                    messages += _ready_in(connection, asked)
        except Exception as error:
            raise BrokerUnavailableError(f"queue {asked} can't be read: {error}") from error
        return messages

    def remove_dead_letters(self, is_known: Callable[[object], bool]) -> int:
        """Take from the dead-letter queue every message whose body `is_known`; leave the others.

        Return how many were taken.

        Raises:
            BrokerUnavailableError: the broker can't be reached.
        """
        taken = 0
        try:
            # What is not acknowledged goes back to the queue when the connection closes.
            with self._connection.clone() as connection:
                channel = connection.default_channel
                for _ in range(self._ready(topology.DEAD_LETTER_QUEUE)):
                    message = channel.basic_get(topology.DEAD_LETTER_QUEUE)
                    if message is not None and is_known(message.body):
                        channel.basic_ack(message.delivery_tag)
                        taken += 1
        except BrokerUnavailableError:
            raise
        except Exception as error:
            raise BrokerUnavailableError(f"dead letters can't be read: {error}") from error
        return taken

    def publish(self, app: Celery, batch: Batch) -> AsyncResult:
        """Dispatch the first attempt of a batch; return its task when the broker has confirmed it.

        Raises:
            Exception: whatever kombu raised; it is not known whether the broker has the batch.
        """
        self._require_ways(batch)
        with self.producer() as producer:
            return app.send_task(
                TASK_NAME,
                args=(batch.to_wire(),),
                ignore_result=True,
                producer=producer,
                **shown_as(batch),
                **self.destination(self._queue_of(batch)),
                **self.options,
            )

    def retry(self, task: Task, batch: Batch, delay: int) -> None:
        """Let `task` come back with `batch` in `delay` seconds; return when that is confirmed.

        Raises:
            Exception: whatever Celery raised; it is not known whether the broker has the batch.
        """
        self._require_ways(batch, delay)
        with self.producer() as producer:
            task.retry(
                args=(batch.to_wire(),),
                throw=False,
                producer=producer,
                **shown_as(batch),
                **self.destination(self._queue_of(batch), delay),
                **self.options,
            )

    @contextmanager
    def producer(self) -> Iterator[Producer]:
        """A producer to publish with. After any error its connection is closed, not reused.

        A confirm that comes late would be taken for that of the next publish on the connection.
        """
        with self._producers.acquire(block=True) as producer:
            connection = producer.__connection__
            try:
                yield producer
                self._unconfirmed = 0
            except BaseException as error:
                cause = cause_of(error)
                self._ways_are_lost |= _leads_nowhere(cause)
                self._unconfirmed += _is_timeout(cause)
                # `collect` drops the socket; `close` would wait for a blocked broker for ever.
                connection.collect()
                raise

    def _require_ways(self, batch: Batch, delay: int = 0) -> None:
        """Look at the broker if what was published before has shown that something is missing.

        Raises:
            BrokerUnavailableError: what is missing can't be declared here and now.
        """
        if self._ways_are_lost:
            log.warning("exchanges or bindings are gone at the broker; declaring all anew")
            self.declare([batch.profile], delays=True)
            self._ways_are_lost = False
        if self._declared and batch.profile not in self._declared:
            # Handed over or taken over: its own workers may never have been there.
            self.declare([batch.profile], delays=True)
        if self._unconfirmed < _SUSPICIOUS:
            return
        queues = [self._queue_of(batch).name]
        queues += [topology.delay_exchange(delay).name] if delay else []
        for queue in self._name_only(queues):
            # Not mended here: in a cluster it may be back soon, with all it holds.
            raise BrokerUnavailableError(
                f"queue {queue} exists in name only: the broker was killed just after it was made, "
                "or most nodes of its cluster are away. If it stays so: sms-pipeline resume"
            )
        self._unconfirmed = 0

    def queues_of(self, profile: str) -> list[Queue]:
        """The queue of a profile, and that of its urgent batches."""
        return topology.profile_queues([profile], self._queue_type)

    def _queue_of(self, batch: Batch) -> Queue:
        return topology.profile_queue(batch.profile, self._queue_type, batch.urgent)

    def destination(self, queue: Queue, delay: int = 0) -> dict[str, Any]:
        """Publish options that bring a message to `queue` after `delay` whole seconds.

        On quorum queues the message waits at the broker. It is sent there directly: by way of
        `countdown` it would carry its due time, and Celery would set the prefetch of the channel
        twice for each such message, at a round trip each, when it is long due.
        """
        waits_at_broker = queue.queue_arguments.get("x-queue-type") == topology.QUORUM
        if not delay:
            return {"queue": queue}
        if self._is_embedded or not waits_at_broker:
            return {"queue": queue, "countdown": delay}
        key = calculate_routing_key(delay, queue.routing_key)
        return {"queue": queue, "exchange": topology.delay_exchange(delay), "routing_key": key}

    @property
    def options(self) -> dict[str, Any]:
        """Publish options that bound every wait for the broker, and let nothing vanish.

        By default the broker confirms a message that no queue receives.
        """
        return {
            "mandatory": True,
            "confirm_timeout": CONFIRM_TIMEOUT_SECONDS,
            "timeout": CONFIRM_TIMEOUT_SECONDS,
            "retry": False,
        }


def shown_as(batch: Batch) -> dict[str, str]:
    """What logs, events and Flower may show of a task; Celery does not keep it on a retry."""
    return {"argsrepr": batch.describe(), "kwargsrepr": ""}


def _ready_in(connection: Connection, queue: str) -> int:
    try:
        # The broker closes a channel on which it is asked for what is not there.
        with connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0


def _unavailable(what: str, error: Exception) -> BrokerUnavailableError:
    reason = str(error).strip() or type(error).__name__
    kind = BrokerRefusedError if isinstance(error, _REFUSALS) else BrokerUnavailableError
    return kind(f"{what}: {reason}")


def cause_of(error: BaseException) -> BaseException | None:
    """What went wrong with a publish: `Task.retry` turns that into a Reject."""
    return error.__context__ if isinstance(error, Reject) else error


def _leads_nowhere(error: BaseException | None) -> bool:
    """Whether there is no such exchange, or no way from it to a queue."""
    return isinstance(error, ChannelError) and error.reply_code in _NOWHERE


def _is_timeout(error: BaseException | None) -> bool:
    """Kombu hides the time-out of a confirm in an error of its own."""
    return any(isinstance(one, TimeoutError) for one in (error, getattr(error, "__cause__", None)))
