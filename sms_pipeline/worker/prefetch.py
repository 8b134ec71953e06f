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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Of queues that are not its own, how many batches it takes in hand.
        self.limits: dict[str, int] = {}

    def _basic_consume(self, queue: Queue, **options: Any) -> str:
        if not self.consuming_from(queue):
            self._limit(queue.name)
        tag: str = super()._basic_consume(queue, **options)
        return tag

    def _limit(self, queue: str) -> None:
        """It holds for consumers that begin on this channel from now on."""
        parts = installed()
        limit = self.limits.get(queue, parts.prefetch if parts else None)
        if limit is not None or self.limits:
            self.channel.basic_qos(0, limit or 0, False)


class BatchAMQP(AMQP):  # type: ignore[misc]
    """Celery's, with that consumer."""

    Consumer = QueueConsumer
