"""The one task, `send_sms`: a delivery, driven inside a Celery worker."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Reject
from celery.utils.log import get_task_logger
from celery.worker import state

from sms_pipeline.broker.publisher import cause_of
from sms_pipeline.core.batch import TASK_NAME, Batch
from sms_pipeline.core.errors import (
    EXIT_USAGE,
    BadBatchError,
    BrokerUnavailableError,
    ForeignLedgerError,
    StoppingError,
)
from sms_pipeline.core.patience import Pauses, patiently
from sms_pipeline.core.records import Absorbed
from sms_pipeline.core.steps import drive
from sms_pipeline.worker.delivery import Effect, Publish
from sms_pipeline.worker.foreign import Fate, fate_of, returns_of
from sms_pipeline.worker.pipeline import Pipeline, pipeline
from sms_pipeline.worker.process import Worker

log = get_task_logger(__name__)


def _is_news(record: logging.LogRecord) -> bool:
    """Celery logs a rejected task with its traceback; the reason was already logged here."""
    return not (record.exc_info and isinstance(record.exc_info[1], Reject))


logging.getLogger("celery.app.trace").addFilter(_is_news)

#: Between two tries to publish a remainder.
PUBLISH_PAUSES = Pauses(first=0.5, longest=10.0)


# Without a countdown Celery's retry would wait for its own default, three minutes.
@shared_task(  # type: ignore[untyped-decorator]
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
    parts = pipeline()
    worker = parts.worker
    try:
        batch = worker.accept(arguments[0] if len(arguments) == 1 and not options else None)
        if (task.request.delivery_info or {}).get("redelivered"):
            worker.note(Absorbed.REDELIVERED, batch)
        with worker.turns.turn(batch.key) as mine:
            return _deliver(task, parts, batch) if mine else None
    except BadBatchError as error:
        log.error("batch rejected to the dead-letter queue: %s", error)
        raise Reject("not a batch", requeue=False) from None
    except ForeignLedgerError as error:
        raise _reject_foreign(task, worker, error) from None
    except StoppingError:
        # The broker delivers it again, to whoever comes next.
        raise Reject("worker stops", requeue=True) from None


def _deliver(task: Task, parts: Pipeline, batch: Batch) -> str | None:
    steps = parts.worker.deliver(batch, queued=not task.request.is_eager)
    return drive(steps, partial(_perform, task, parts, batch))


def _perform(task: Task, parts: Pipeline, batch: Batch, effect: Effect) -> Any:
    if not isinstance(effect, Publish):
        return parts.worker.perform(effect)
    if effect.batch.key == batch.key:
        parts.worker.turns.put_back(batch.key)
    if task.request.is_eager:
        # Celery's eager retry is the exception itself: `apply` catches it and calls again.
        raise task.retry(args=(effect.batch.to_wire(),))
    return _publish(task, parts, effect)


def _publish(task: Task, parts: Pipeline, effect: Publish) -> None:
    """Celery's retry, tried again while its publish fails: a lost one would lose the batch.

    Meanwhile the message in hand stays unacknowledged, so a crash loses nothing either.
    """

    def tell(error: BaseException, seconds: float) -> None:
        cause = cause_of(error)
        reason = str(cause) if isinstance(cause, BrokerUnavailableError) else type(cause).__name__
        log.warning(
            "%s is not confirmed by the broker (%s); publishing it again in %.1f s",
            effect.batch.describe(),
            reason,
            seconds,
        )

    patiently(
        lambda: parts.publisher.retry(task, effect.batch, effect.delay),
        Exception,
        PUBLISH_PAUSES,
        parts.worker.stopping,
        tell,
    )


def _reject_foreign(task: Task, worker: Worker, error: ForeignLedgerError) -> Reject:
    if state.should_stop is not None:
        # What comes back while the worker ends is not judged again.
        return Reject("worker stops", requeue=True)
    redelivered = bool((task.request.delivery_info or {}).get("redelivered"))
    fate = fate_of(returns_of(vars(task.request), redelivered), worker.at_home)
    if fate is Fate.ASIDE:
        log.error("%s; it came back too often and is put aside, as a dead letter", error)
    elif fate is Fate.BACK:
        log.warning("%s; it is put back", error)
    else:
        log.critical(
            "%s; it is put back. Check SMS_DATABASE_URL: producer and workers must name the same "
            "database",
            error,
        )
        state.should_stop = EXIT_USAGE
    return Reject("another ledger", requeue=fate is not Fate.ASIDE)
