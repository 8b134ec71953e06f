"""What a rehearsal is put together from, without a broker and without Celery's worker."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import StoppingError
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.steps import drive
from sms_pipeline.views.outcome import Outcome
from sms_pipeline.worker import pipeline
from sms_pipeline.worker.delivery import Effect, Publish

PATIENCE_SECONDS = 30


class Broker:
    """Stands in for the class `Publisher`, and for the one that it opens."""

    def __init__(self) -> None:
        #: (broker's URL, profiles): who connected, and for which queues.
        self.opened: list[tuple[str, list[str]]] = []
        self.waiting: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self.published: list[Batch] = []
        self.dead: list[bytes] = []
        #: While this is not set, the broker confirms nothing.
        self.confirms = threading.Event()
        self.confirms.set()

    def open(self, settings: Any, profiles: list[str]) -> Broker:
        """See `Publisher.open`."""
        self.opened.append((settings.broker_url, list(profiles)))
        return self

    def publish(self, app: Celery, batch: Batch) -> None:
        """See `Publisher.publish`."""
        assert f"sms.{batch.profile}" in app.amqp.queues
        assert self.confirms.wait(PATIENCE_SECONDS)
        self.published.append(batch)
        self.waiting.put(batch)

    def mend(self, profiles: list[str]) -> list[str]:
        """See `Publisher.mend`."""
        return []

    def depth(self, profiles: list[str]) -> int:
        """See `Publisher.depth`."""
        return self.waiting.qsize()

    def remove_dead_letters(self, is_known: Callable[[object], bool]) -> int:
        """See `Publisher.remove_dead_letters`."""
        known = [body for body in self.dead if is_known(body)]
        self.dead = [body for body in self.dead if body not in known]
        return len(known)


class Consumption(threading.Thread):
    """Stands in for Celery's worker in a thread: plays what waits at a broker."""

    def __init__(
        self,
        broker: Broker,
        ends_at_once: bool,
        app: Celery,
        concurrency: int,
        name: str,
        ended: threading.Event,
    ) -> None:
        super().__init__(daemon=True)
        self.concurrency = concurrency
        self.node = name
        self.was_stopped = False
        self._broker = broker
        self._ends_at_once = ends_at_once
        self._ended = ended

    def run(self) -> None:
        """Until it is stopped, or the worker is."""
        try:
            while not self._ends_at_once and (batch := self._broker.waiting.get()):
                drive(
                    pipeline.pipeline().worker.deliver(batch, queued=True),
                    self._perform,
                )
        except StoppingError:
            return
        self._ended.set()

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Publish):
            return self._broker.waiting.put(effect.batch)
        return pipeline.pipeline().worker.perform(effect)

    def stop(self) -> None:
        """See `Consumption.stop`."""
        self.was_stopped = True
        self._broker.waiting.put(None)
        self.join(PATIENCE_SECONDS)


class Screen:
    """A view that notes what it is shown, and may have something happen then."""

    def __init__(self) -> None:
        self.shown: list[Progress] = []
        self.notes: list[str] = []
        self.closed: list[tuple[Progress | None, str]] = []
        self.outcome: Outcome | None = None
        self.on_show: Callable[[Progress], None] = lambda _: None

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        self.shown.append(progress)
        self.on_show(progress)

    def note(self, message: str) -> None:
        """See `View.note`."""
        self.notes.append(message)

    def close(self, progress: Progress | None, ended: str, outcome: Outcome | None = None) -> None:
        """See `View.close`."""
        self.closed.append((progress, ended))
        self.outcome = outcome
