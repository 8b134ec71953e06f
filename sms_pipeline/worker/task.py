"""The one task: `send_sms` plays one attempt of a batch and hands what is left to the next."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import Task
from celery.exceptions import Reject
from celery.utils.log import get_task_logger
from celery.worker import state
from kombu import Queue

from sms_pipeline.broker import topology
from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.celery import RETRIED, app, pipeline
from sms_pipeline.core.messages import TASK_NAME, Batch, unpack_offsets
from sms_pipeline.core.records import Absorbed, Control, Settled, Standing
from sms_pipeline.core.retry import retry_delay
from sms_pipeline.errors import (
    EXIT_USAGE,
    BadBatchError,
    ForeignLedgerError,
    StoppingError,
)
from sms_pipeline.worker.process import Worker

log = get_task_logger(__name__)


def _is_news(record: logging.LogRecord) -> bool:
    """Celery logs a rejected task with its traceback; why it is rejected was said here before."""
    return not (record.exc_info and isinstance(record.exc_info[1], Reject))


logging.getLogger("celery.app.trace").addFilter(_is_news)

#: Pauses between two tries to publish a remainder grow from the first to the second.
PUBLISH_RETRY_SECONDS = 0.5
PUBLISH_RETRY_MAX_SECONDS = 10.0
#: A batch of a paused run comes back to a worker after so long: `continue` takes effect by then.
PAUSE_SECONDS = 2


# Without a countdown Celery's retry would wait for its own default, three minutes.
@app.task(  # type: ignore[untyped-decorator]
    bind=True,
    name=TASK_NAME,
    max_retries=None,
    default_retry_delay=0,
    typing=False,
    Request="sms_pipeline.worker.consumer:BatchRequest",
)
def send_sms(task: Task, *arguments: Any, **options: Any) -> str | None:
    """Play one attempt of the batch, settle it in the ledger, then retry its remainder.

    Takes any arguments, so that wrong ones are rejected here: there must be one, a batch. Returns
    what is retried, in words, for whoever watches.
    """
    worker = pipeline().worker
    batch = _accept(worker, arguments[0] if len(arguments) == 1 and not options else None)
    if (task.request.delivery_info or {}).get("redelivered"):
        worker.note(Absorbed.REDELIVERED, batch)
    try:
        with worker.in_flight.turn(batch.key) as mine:
            return _handle(task, worker, batch) if mine else None
    except StoppingError:
        # The broker delivers it again, to whoever comes next.
        raise Reject("worker stops", requeue=True) from None


def _handle(task: Task, worker: Worker, batch: Batch) -> str | None:
    control, settled = _standing(worker, batch)
    if settled is not None:
        worker.note(Absorbed.ANSWERED, batch)
    elif control is Control.PAUSED and not task.request.is_eager:
        # Not held: a message that stays unacknowledged for long is taken away by the broker.
        return _publish_until_confirmed(task, batch, PAUSE_SECONDS)
    elif control is Control.CANCELLED:
        settled = worker.cancel(batch)
    else:
        settled = worker.play(batch)
    return _retry_remainder(task, worker, batch, settled)


def _standing(worker: Worker, batch: Batch) -> Standing:
    try:
        return worker.standing(batch)
    except BadBatchError as error:
        raise _dead_letter(error) from None


def _accept(worker: Worker, body: object) -> Batch:
    try:
        return worker.accept(body)
    except BadBatchError as error:
        raise _dead_letter(error) from None
    except ForeignLedgerError as error:
        if state.should_stop is None:
            log.critical("%s", error)
            state.should_stop = EXIT_USAGE
        raise Reject("another ledger", requeue=True) from None


def _dead_letter(error: BadBatchError) -> Reject:
    log.error("batch rejected to the dead-letter queue: %s", error)
    return Reject("not a batch", requeue=False)


def _retry_remainder(task: Task, worker: Worker, batch: Batch, settled: Settled) -> str | None:
    if settled.remainder is None:
        return None
    remainder = batch.remainder(unpack_offsets(settled.remainder, batch.size))
    delay = retry_delay(batch.retry, batch.attempt, worker.rng)
    if task.request.is_eager:
        # Celery's eager retry is the exception itself: `apply` catches it and calls again.
        raise task.retry(args=(remainder.to_wire(),), **shown_as(remainder))
    return _publish_until_confirmed(task, remainder, delay)


def shown_as(batch: Batch) -> dict[str, str]:
    """What logs, events and Flower may show of a task; Celery does not keep it on a retry."""
    return {"argsrepr": batch.describe(), "kwargsrepr": ""}


def _queue_of(batch: Batch) -> Queue:
    return app.amqp.queues[topology.queue_name(batch.profile)]


def _publish_until_confirmed(task: Task, batch: Batch, delay: int) -> str:
    """Celery's retry, tried again while its publish fails: a lost one would lose the batch.

    Returns it in words. Meanwhile the message in hand stays unacknowledged, so a crash loses
    nothing either.
    """
    stopping = pipeline().worker.stopping
    pause = PUBLISH_RETRY_SECONDS
    while True:
        try:
            _retry_once(task, batch, delay, pipeline().publisher)
            return f"{RETRIED}{batch.describe()} in {delay} s"
        except Reject as rejected:
            # `Task.retry` turns whatever went wrong with the publish into a Reject.
            reason = type(rejected.__context__ or rejected).__name__
        except Exception as error:
            reason = type(error).__name__
        log.warning(
            "%s is not confirmed by the broker (%s); publishing it again in %.1f s",
            batch.describe(),
            reason,
            pause,
        )
        if stopping.wait(pause):
            raise StoppingError("the worker stops while the broker takes no messages")
        pause = min(pause * 2, PUBLISH_RETRY_MAX_SECONDS)


def _retry_once(task: Task, batch: Batch, delay: int, publisher: Publisher) -> None:
    with publisher.producer() as producer:
        task.retry(
            args=(batch.to_wire(),),
            throw=False,
            producer=producer,
            **shown_as(batch),
            **publisher.destination(_queue_of(batch), delay),
            **publisher.options,
        )


def publish(batch: Batch, publisher: Publisher) -> float:
    """Dispatch the first attempt of a batch; return when the broker had confirmed it.

    Raises:
        Exception: whatever kombu raised; it is not known whether the broker has the batch.
    """
    with publisher.producer() as producer:
        send_sms.apply_async(
            args=(batch.to_wire(),),
            producer=producer,
            **shown_as(batch),
            **publisher.destination(_queue_of(batch)),
            **publisher.options,
        )
    return time.time()
