"""A broker in memory: queues, delays, redelivery, refusals."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from functools import partial
from typing import Any

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.steps import drive
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker.delivery import Effect, Publish
from sms_pipeline.worker.process import Worker


class InMemoryBroker:
    """Keeps what is published until it is received; delays are kept by `clock`.

    Its `publish` is what a `Producer` takes, its `depth` and `dead_letters` are those of a
    `Publisher`.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._waiting: list[tuple[float, int, Batch]] = []
        self._numbers = itertools.count()
        #: All that was ever published and confirmed, in order.
        self.published: list[Batch] = []
        #: What was put aside.
        self.dead: list[Batch] = []
        #: So many of the next publishes are refused.
        self.refusals = 0

    def publish(self, batch: Batch, delay: float = 0.0) -> None:
        """Keep a batch, to be received `delay` seconds from now at the earliest.

        Raises:
            ConnectionError: it was told to refuse this.
        """
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("the broker refuses")
        self.published.append(batch)
        due = self._clock.monotonic() + delay
        heapq.heappush(self._waiting, (due, next(self._numbers), batch))

    def receive(self) -> Batch | None:
        """The batch that is due first; None while none is."""
        if not self._waiting or self._waiting[0][0] > self._clock.monotonic():
            return None
        return heapq.heappop(self._waiting)[2]

    def next_due(self) -> float | None:
        """When the next batch can be received, on the monotonic clock; None if there is none."""
        return self._waiting[0][0] if self._waiting else None

    def reject(self, batch: Batch) -> None:
        """Put a batch aside, where dead letters are."""
        self.dead.append(batch)

    def depth(self, profiles: Iterable[str]) -> int:
        """Batches that wait for workers of `profiles`, those whose time has not come included."""
        wanted = set(profiles)
        return sum(batch.profile in wanted for _, _, batch in self._waiting)

    def dead_letters(self) -> int:
        """Batches that were put aside."""
        return len(self.dead)


def work_off(broker: InMemoryBroker, worker: Worker, clock: ManualClock) -> None:
    """Let `worker` play all that waits at `broker`; time passes where a delay asks for it.

    Raises:
        BadBatchError: a batch is of no run of the worker's ledger.
    """
    while (due := broker.next_due()) is not None:
        clock.advance(max(due - clock.monotonic(), 0.0))
        if (batch := broker.receive()) is None:
            continue
        drive(worker.deliver(batch, queued=True), partial(_perform, broker, worker))


def _perform(broker: InMemoryBroker, worker: Worker, effect: Effect) -> Any:
    if isinstance(effect, Publish):
        return broker.publish(effect.batch, effect.delay)
    return worker.perform(effect)
