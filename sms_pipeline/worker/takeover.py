"""Looking after the queues of profiles that have no workers, beside the worker's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kombu import Queue

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import DamagedLedgerError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import WorkerRow
from sms_pipeline.core.unattended import Lookout, OpenRun
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.in_hand import taken_in_hand

log = logging.getLogger(__name__)


class Takeover:
    """What a worker decides to take over, from a look at the ledger every second.

    It looks while it has nothing in hand, and as long as it takes over anything.
    """

    def __init__(
        self, ledger: Ledger, profile: SenderProfile, is_idle: Callable[[], bool], clock: Clock
    ) -> None:
        self._ledger = ledger
        self._is_idle = is_idle
        self._clock = clock
        self._profile = profile
        self._lookout = Lookout(profile)
        #: By profile, of how many batches it takes in hand. Replaced as a whole: another thread
        #: reads it.
        self.wanted: Mapping[str, int] = {}
        #: All that it ever took over: some of their batches may still be in hand.
        self.known: set[str] = set()

    def look(self) -> None:
        """Decide anew.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        if not (self.wanted or self._is_idle()):
            return
        try:
            runs, workers = self._read()
        except DamagedLedgerError as error:
            log.warning("nothing is taken over: %s", error)
            runs, workers = [], ()
        found = self._lookout.look(self._clock.monotonic(), workers, runs)
        self.known.update(found)
        wanted = {name: taken_in_hand(self._profile, size) for name, size in found.items()}
        for name in wanted.keys() - self.wanted.keys():
            log.warning("profile %s has messages and no worker; they are taken over", name)
        for name in self.wanted.keys() - wanted.keys():
            log.warning("the messages of profile %s are not taken over any more", name)
        self.wanted = wanted

    def _read(self) -> tuple[list[OpenRun], tuple[WorkerRow, ...]]:
        runs = self._ledger.open_runs()
        # Of most ledgers that is all.
        return runs, self._ledger.workers() if any(run.waiting for run in runs) else ()


class TakenQueues:
    """The queues that one consumer of tasks has beside its own. For Celery's main loop."""

    def __init__(self, queues_of: Callable[[str], Sequence[Queue]]) -> None:
        self._queues_of = queues_of
        self._taken: Mapping[str, int] = {}

    def follow(self, consumer: Any, wanted: Mapping[str, int]) -> None:
        """Let a Celery consumer have these queues, too, and no others.

        Args:
            consumer: of one connection; another connection needs another object of this class.
            wanted: by profile, how many batches of each of its queues may be in hand.
        """
        # A consumer keeps the limit with which it began, so one with another begins anew.
        kept = self._taken.items() & wanted.items()
        for profile, _ in self._taken.items() - kept:
            for queue in self._queues_of(profile):
                consumer.task_consumer.cancel_by_queue(queue.name)
        for profile, limit in sorted(wanted.items() - kept):
            self._take(consumer.task_consumer, profile, limit)
        self._taken = dict(wanted)

    def _take(self, consumer: Any, profile: str, limit: int) -> None:
        """`consumer`: a `prefetch.QueueConsumer`."""
        for queue in self._queues_of(profile):
            consumer.limits[queue.name] = limit
            consumer.add_queue(queue)
        consumer.consume()
