"""How many batches of each queue the broker delivers to a worker."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from kombu import Consumer, Queue

from sms_pipeline.worker.pipeline import installed


class QueueConsumer(Consumer):  # type: ignore[misc]
    """Takes so many batches of each queue, however many it has in hand of the others.

    Celery sets one prefetch for its channel. A worker whose hands are full of one queue's batches
    would then be given none of another's.
    """

    def _basic_consume(self, queue: Queue, *args: Any, **kwargs: Any) -> str:
        parts = installed()
        if parts and parts.prefetch is not None:
            # It holds for consumers that begin on this channel from now on.
            self.channel.basic_qos(0, parts.prefetch, False)
        tag: str = super()._basic_consume(queue, *args, **kwargs)
        return tag


class BatchAMQP(AMQP):  # type: ignore[misc]
    """Celery's, with that consumer."""

    Consumer = QueueConsumer
