"""Whether a worker takes batches: not while its ledger is away."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from celery.bootsteps import StartStopStep
from celery.worker.consumer import Consumer, Tasks
from kombu.asynchronous import Hub

from sms_pipeline.worker.pipeline import pipeline
from sms_pipeline.worker.takeover import TakenQueues

log = logging.getLogger(__name__)

#: A ledger that has not answered for so long is away. A worker asks it at least once a second.
AWAY_SECONDS = 5.0
#: How often the main loop looks at it.
LOOK_SECONDS = 1.0


class TaskConsumer(Protocol):
    """A `kombu.Consumer`."""

    def cancel(self) -> None:
        """Let the broker deliver nothing more; what was delivered stays in hand."""

    def consume(self) -> None:
        """Let the broker deliver again."""


class Intake:
    """Pauses a consumer while the ledger is away: others may be able to settle what waits."""

    def __init__(self) -> None:
        self._paused: TaskConsumer | None = None

    @property
    def is_paused(self) -> bool:
        """Whether a consumer is paused now."""
        return self._paused is not None

    def follow(self, consumer: TaskConsumer, silence: float, stopping: bool = False) -> None:
        """Pause `consumer`, or let it go on.

        Args:
            consumer: a new one after each reconnect, which takes batches from the start.
            silence: how long the ledger has not answered, seconds.
            stopping: whether the worker shuts down: what is paused then stays so.
        """
        is_paused = self._paused is consumer
        if silence > AWAY_SECONDS and not is_paused:
            log.warning(
                "the ledger has not answered for %.0f s; no more batches are taken until it does",
                silence,
            )
            consumer.cancel()
            self._paused = consumer
        elif silence <= AWAY_SECONDS and is_paused and not stopping:
            log.warning("the ledger answers again; batches are taken again")
            consumer.consume()
            self._paused = None


class FollowLedger(StartStopStep):  # type: ignore[misc]
    """The part of a Celery consumer that does so, in its main loop.

    Queues that the worker has taken over are given up meanwhile.
    """

    requires = (Tasks,)

    def register_with_event_loop(self, consumer: Consumer, hub: Hub) -> None:
        """Called for each connection, with a consumer of tasks that has just begun."""
        taken = TakenQueues(pipeline().publisher.queues_of)
        hub.call_repeatedly(LOOK_SECONDS, self._look, consumer, Intake(), taken)

    def _look(self, consumer: Any, intake: Intake, taken: TakenQueues) -> None:
        worker = pipeline().worker
        silence, stopping = worker.ledger_silence(), worker.stopping.is_set()
        intake.follow(consumer.task_consumer, silence, stopping)
        if worker.takeover and not stopping:
            taken.follow(consumer, {} if intake.is_paused else worker.takeover.wanted)
