"""A consumer that no message can stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from weakref import WeakSet

from amqp.exceptions import RecoverableConnectionError
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.consumer.delayed_delivery import DelayedDelivery
from celery.worker.request import Request
from kombu import Connection, Message
from kombu.asynchronous import Hub

from sms_pipeline.broker import codec
from sms_pipeline.broker.declaring import declare_delays
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.worker import control
from sms_pipeline.worker.delivery import RETRIED
from sms_pipeline.worker.pipeline import pipeline
from sms_pipeline.worker.signs import Part

log = get_logger(__name__)

#: How often a consumer makes sure that it has not been cut off.
CONNECTION_CHECK_SECONDS = 1.0
#: Between two tries to reach a broker that is away.
LONGEST_PAUSE_SECONDS = 8


class RequiredDelayedDelivery(DelayedDelivery):  # type: ignore[misc]
    """Declares the waiting rooms of retries at the broker that the consumer is connected to.

    Celery declares them at every broker of a list, one node of a cluster that is down included,
    and goes on without them when that fails; retries would then be lost. Here any error is raised.
    If the broker went away, the consumer starts over; any other error ends the worker.
    """

    def start(self, c: Consumer) -> None:
        with c.connection.clone() as connection:
            declare_delays(connection, c.app.amqp.queues.values())


class _Forgetful(set[str]):
    """Where Celery notes the ids of tasks that succeeded; here it notes nothing.

    Its own set breaks when several threads add to it: the error escapes just before the
    acknowledgement, and the batch stays with its worker until that ends. What was done is known to
    the ledger.
    """

    def add(self, element: str) -> None:
        """Forget it."""


class _SteadySet(WeakSet[Any]):
    """A set of requests that can be read while other threads change it.

    Celery reads its sets of requests when a connection closes, when it is asked what is active and
    when it flushes its events. Pool threads add to them and take from them meanwhile, and reading a
    set that changes raises an error, which ends the worker.
    """

    #: Where WeakSet keeps its references.
    data: set[Callable[[], Any]]

    def __iter__(self) -> Iterator[Any]:
        # The copy is made in one step: no other thread runs while it lasts.
        for reference in list(self.data):
            request = reference()
            if request is not None:
                yield request


def _steady_shared_sets() -> None:
    """Make the sets that Celery shares between its threads safe to use from several of them."""
    state.successful_requests = _Forgetful()
    # Celery's modules hold these very objects, so they change their class, not their place.
    for shared in (state.reserved_requests, state.active_requests, state.scheduled_requests):
        shared.__class__ = _SteadySet


_steady_shared_sets()
control.refuse_what_strands()


def _is_malformed_task(message: Message) -> bool:
    """Whether it has a task's headers, but not its body: arguments, keyword arguments, options.

    Celery looks at the body in a pool thread only, where an error vanishes with the message
    unacknowledged for ever.
    """
    if "task" not in (message.headers or {}):
        return False
    match message.payload:
        case [list(), dict(), None | dict()]:
            return False
    return True


class BatchRequest(Request):  # type: ignore[misc]
    """A batch as Flower and `celery inspect` see it: no number, no text, and a retry as a retry.

    Its body is decoded once. Celery decodes it at arrival to look at its form, then hands the raw
    body to the pool thread, which decodes it again, and holds all three while the task runs.
    """

    def __init__(self, message: Message, **kwargs: Any) -> None:
        super().__init__(message, **{**kwargs, "body": message.payload, "decoded": True})
        message.body = None

    def revoked(self) -> bool:
        """Celery drops a task that is revoked, or past its time: acknowledged, and not settled.

        Here only the ledger ends a batch. A worker can learn of revoked tasks from another one.
        """
        return False

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Celery answers with all arguments unless asked not to; here it never does."""
        told: dict[str, Any] = super().info(safe=True)
        return told

    def send_event(self, type: str, **fields: Any) -> None:
        """An attempt that hands on a remainder ends without an exception, for Celery a success."""
        result = fields.get("result") or ""
        if type == "task-succeeded" and RETRIED in result:
            type, fields = "task-retried", {"exception": result.strip("'"), "traceback": ""}
        super().send_event(type, **fields)


class GuardedConsumer(Consumer):  # type: ignore[misc]
    """Rejects what it can't handle, so that it reaches the dead-letter queue; logs no bodies."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        default_steps = (
            *(
                f"{__name__}:RequiredDelayedDelivery" if "delayed_delivery" in step else step
                for step in Consumer.Blueprint.default_steps
            ),
            "sms_pipeline.worker.intake:FollowLedger",
        )

    def register_with_event_loop(self, hub: Hub) -> None:
        """Celery's, and a look at the connection every second.

        Celery swallows the broker's goodbye when that is the first thing it reads on a connection:
        the socket is closed then, nothing is ever read from it, and the worker would sit idle, with
        batches unacknowledged, until it misses heartbeats a minute later.
        """
        super().register_with_event_loop(hub)
        hub.call_repeatedly(CONNECTION_CHECK_SECONDS, self._come_round)

    def ensure_connected(self, conn: Connection) -> Connection:
        """Celery's, but after a long outage it would wait for 30 s after the broker is back.

        A main loop that waits for the broker, however long, is not stuck.
        """
        pipeline().worker.signs.end(Part.LOOP)
        conn.ensure_connection = partial(conn.ensure_connection, interval_max=LONGEST_PAUSE_SECONDS)
        return super().ensure_connected(conn)

    def _come_round(self) -> None:
        pipeline().worker.signs.mark(Part.LOOP, MACHINE_CLOCK.monotonic())
        self._raise_if_cut_off()

    def _raise_if_cut_off(self) -> None:
        if self.connection and not self.connection.connected:
            raise RecoverableConnectionError("the connection was closed unnoticed")

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:
        """Celery's handler of one message, guarded."""
        handle = super().create_task_handler(*args, **kwargs)

        def guarded(message: Message) -> None:
            try:
                if message.content_type != codec.CONTENT_TYPE:
                    # Before it is decoded: by its headers that could mean to unpack it.
                    self._dead_letter(message, "not JSON")
                elif _is_malformed_task(message):
                    self._dead_letter(message, "not a task's body")
                else:
                    handle(message)
            except (*self.connection_errors, *self.channel_errors):
                raise
            except Exception as error:
                # A pool that is closing takes no more tasks; that is not the message's fault. It
                # stays unacknowledged, and the broker delivers it to another worker.
                if not pipeline().worker.stopping.is_set():
                    self._dead_letter(message, type(error).__name__)

        return guarded

    def on_unknown_message(self, body: object, message: Message) -> None:
        """A message that is not a task."""
        self._dead_letter(message, "not a task")

    def on_unknown_task(self, body: object, message: Message, exc: Exception) -> None:
        """A task of another name."""
        self._dead_letter(message, "unknown task")

    def on_invalid_task(self, body: object, message: Message, exc: Exception) -> None:
        """Headers of a task, but not its form."""
        self._dead_letter(message, "invalid task")

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """A body that is not what its headers say."""
        self._dead_letter(message, "can't be decoded")

    def _dead_letter(self, message: Message, reason: str) -> None:
        log.error("message rejected to the dead-letter queue: %s", reason)
        if not message.acknowledged:
            message.reject_log_error(log, self.connection_errors, requeue=False)
