"""The producer: makes messages, routes them by backlog, records them, publishes them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.simulation import SenderProfile
from sms_pipeline.core import routing
from sms_pipeline.core.messages import Batch, make_columns, unpack_offsets
from sms_pipeline.core.progress import Liveness
from sms_pipeline.core.records import (
    BatchRow,
    Control,
    ProfileCounts,
    Run,
    Snapshot,
    Unsettled,
    WorkerRow,
)
from sms_pipeline.core.routing import Load
from sms_pipeline.errors import LedgerUnavailableError
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import task

log = logging.getLogger(__name__)

#: How often the backlog is read while there is no room for another batch.
POLL_SECONDS = 0.1
#: Most batches, and messages, recorded in one transaction: what a crash can leave unpublished.
MAX_GROUP = 100
MAX_GROUP_MESSAGES = 200_000
#: Batches published at once: while the broker writes one, others are made and sent.
PUBLISHERS = 4
#: Pauses between two tries to reach broker or ledger grow from the first to the second.
RETRY_SECONDS = 0.5
RETRY_MAX_SECONDS = 5.0
#: How often old batches are looked for: that query reads rows, not counters.
STUCK_PERIOD_SECONDS = 5.0
#: A rate is observed over at least this long.
OBSERVE_SECONDS = 2.0

#: Told what the producer waits for, once each time that changes.
StatusHook = Callable[[str], None]

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """The producer was told to stop before all batches were dispatched."""


@dataclass
class _Busy:
    """Attempts of one profile, counted since its senders were last seen idle."""

    since: float
    attempts: int


class Observed:
    """The rate of attempts of each profile, over times in which all its senders had work."""

    def __init__(self) -> None:
        self._busy: dict[str, _Busy] = {}

    def rate(self, now: float, counts: ProfileCounts, senders: int) -> float | None:
        """Attempts a second; None unless the senders were busy for `OBSERVE_SECONDS`."""
        if counts.unsettled < senders:
            self._busy.pop(counts.profile, None)
            return None
        busy = self._busy.setdefault(counts.profile, _Busy(now, counts.attempts))
        if now - busy.since < OBSERVE_SECONDS:
            return None
        return (counts.attempts - busy.attempts) / (now - busy.since)


class LoadReader:
    """Reads from the ledger what each profile could take now."""

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        trusted: Iterable[str] = (),
        max_batches: Callable[[SenderProfile, int], int] | None = None,
    ) -> None:
        self._ledger = ledger
        self._run = run
        self._simulation = run.simulation
        self._liveness = Liveness(trusted)
        self._max_batches = max_batches
        self._observed = Observed()
        self._stuck: dict[str, int] = {}
        self._stuck_read_at = time.monotonic()
        #: False while no sender was online at the last reading.
        self.anyone_online = True

    def adaptive(self, snapshot: Snapshot) -> list[Load]:
        """Loads of the profiles with senders online; of all profiles when there are none.

        Empty until it can tell who is online.
        """
        now = time.monotonic()
        online = self._liveness.observe(now, snapshot.workers)
        if not self._liveness.is_decided(now, snapshot.workers):
            return []
        self._read_stuck(now)
        self.anyone_online = bool(online)
        return self._loads(snapshot, online or self._nominal_workers(), now)

    def static(self, snapshot: Snapshot) -> list[Load]:
        """Loads of all profiles, as they would be if all that was published still waited."""
        idle = tuple(replace(counts, first_attempts=0) for counts in snapshot.profiles)
        whole = replace(snapshot, profiles=idle)
        return self._loads(whole, self._nominal_workers(), time.monotonic())

    def _nominal_workers(self) -> tuple[WorkerRow, ...]:
        """One worker for each configured profile."""
        return tuple(
            WorkerRow(p.name, p.name, p.count, p.mean_time, p.failure_rate, 0, 0.0, None)
            for p in self._simulation.senders
        )

    def _loads(self, snapshot: Snapshot, workers: Iterable[WorkerRow], now: float) -> list[Load]:
        counts = {counts.profile: counts for counts in snapshot.profiles}
        present = {
            profile: [worker for worker in workers if worker.profile == profile.name]
            for profile in self._simulation.senders
        }
        return [
            self._load(profile, counts[profile.name], found, now)
            for profile, found in present.items()
            if found
        ]

    def _load(
        self, profile: SenderProfile, counts: ProfileCounts, workers: list[WorkerRow], now: float
    ) -> Load:
        senders = sum(worker.senders for worker in workers)
        nominal = sum(worker.capacity for worker in workers)
        failure_rate = sum(w.failure_rate * w.senders for w in workers) / senders
        batch_size = self._simulation.batch_size_for(profile)
        observed = self._observed.rate(now, counts, senders)
        return Load(
            profile=profile.name,
            outstanding=counts.unsettled - self._stuck.get(profile.name, 0),
            senders=senders,
            rate=routing.delivery_rate(nominal, failure_rate, observed),
            batch_size=batch_size,
            max_batches=self._max_batches(profile, batch_size) if self._max_batches else None,
        )

    def _read_stuck(self, now: float) -> None:
        """Lost batches must not block their profile for ever, so old ones are not counted."""
        if now - self._stuck_read_at < STUCK_PERIOD_SECONDS:
            return
        self._stuck_read_at = now
        self._stuck = self._ledger.stuck(self._run.id, time.time() - self._simulation.stuck_after)


class Producer:
    """Dispatches one run, from wherever its dispatch stands."""

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        run: Run,
        loads: LoadReader,
        on_status: StatusHook | None = None,
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._run = run
        self._loads = loads
        self._on_status = on_status
        self._status: str | None = None
        self._next_index = run.next_index
        self._next_batch = run.next_batch
        self._stopping = threading.Event()
        self._publishers = ThreadPoolExecutor(PUBLISHERS, thread_name_prefix="publisher")

    @property
    def dispatched(self) -> int:
        """Messages dispatched so far, by whomever."""
        return self._next_index

    def stop(self) -> None:
        """Make `dispatch` end after the batches in hand."""
        self._stopping.set()

    def dispatch(self) -> None:
        """Dispatch what is left of the run; returns when the broker has confirmed the last batch.

        Returns early when the run is cancelled.

        Raises:
            Interrupted: `stop` was called before.
        """
        while self._next_index < self._run.total:
            snapshot = self._patiently(lambda: self._ledger.snapshot(self._run))
            if snapshot.control is Control.CANCELLED:
                break
            group = [] if snapshot.control is Control.PAUSED else self._plan(snapshot)
            self._say(self._waits_for(snapshot))
            if group:
                self._dispatch(group)
            else:
                self._pause(POLL_SECONDS)
        self._say(None)

    def dispatch_again(self, unsettled: Iterable[Unsettled]) -> int:
        """Publish what is recorded but not settled; return how many batches that were.

        Safe at any time: what is in truth still under way is counted once all the same.

        Raises:
            Interrupted: `stop` was called before.
        """
        batches = 0
        for entry in unsettled:
            batch = make_batch(self._ledger, self._run, entry.row)
            if entry.remainder is not None:
                left = unpack_offsets(entry.remainder, batch.size)
                batch = batch.at_attempt(entry.attempt, left)
            published = [(batch.number, self._publish(batch))]
            self._patiently(lambda: self._ledger.mark_published(self._run.id, published))  # noqa: B023 - called at once
            batches += 1
        return batches

    def _plan(self, snapshot: Snapshot) -> list[BatchRow]:
        """Rows for the next batches, as many as have room, within the limits of a group."""
        adaptive = self._run.simulation.routing == "adaptive"
        choose = routing.choose_with_room if adaptive else routing.choose
        read = self._loads.adaptive if adaptive else self._loads.static
        loads = self._patiently(lambda: read(snapshot))
        index, rows = self._next_index, list[BatchRow]()
        end = min(self._run.total, index + MAX_GROUP_MESSAGES)
        while index < end and len(rows) < MAX_GROUP:
            chosen = choose(loads)
            if chosen is None:
                break
            size = min(chosen.batch_size, self._run.total - index)
            number = self._next_batch + len(rows)
            queued_at = time.time()
            rows.append(BatchRow(self._run.id, number, chosen.profile, index, size, queued_at))
            index += size
            grown = replace(chosen, outstanding=chosen.outstanding + size)
            loads = [grown if load is chosen else load for load in loads]
        return rows

    def _dispatch(self, group: list[BatchRow]) -> None:
        """Record the batches, publish them, record that they were: a crash between is seen."""
        if not self._patiently(lambda: self._ledger.record_batches(self._run.id, group)):
            self._follow_other_producer()
            return
        self._next_index = group[-1].first_index + group[-1].size
        self._next_batch = group[-1].number + 1
        published = list(self._publishers.map(self._publish_first, group))
        self._patiently(lambda: self._ledger.mark_published(self._run.id, published))

    def _publish_first(self, row: BatchRow) -> tuple[int, float]:
        return row.number, self._publish(make_batch(self._ledger, self._run, row))

    def _follow_other_producer(self) -> None:
        """Another producer, or `cancel`, took the batches that were planned here."""
        run = self._patiently(lambda: self._ledger.run(self._run.id))
        self._next_index, self._next_batch = run.next_index, run.next_batch

    def _publish(self, batch: Batch) -> float:
        """Publish until it is confirmed. The ledger absorbs what is published twice."""
        pause = RETRY_SECONDS
        while True:
            try:
                return task.publish(batch, self._publisher)
            except Exception as error:
                reason = str(error).strip() or type(error).__name__
                self._say(f"the broker takes no messages ({reason}); trying again")
            self._pause(pause)
            pause = min(pause * 2, RETRY_MAX_SECONDS)

    # Waiting

    def _waits_for(self, snapshot: Snapshot) -> str | None:
        if snapshot.control is Control.PAUSED:
            return f"run {self._run.id} is paused; go on with: sms-pipeline continue {self._run.id}"
        if not self._loads.anyone_online:
            return "no sender online yet; start workers: celery -A sms_pipeline worker --profile …"
        return None

    def _patiently(self, call: Callable[[], T]) -> T:
        pause = RETRY_SECONDS
        while True:
            try:
                return call()
            except LedgerUnavailableError as error:
                self._say(f"{error}; trying again")
            self._pause(pause)
            pause = min(pause * 2, RETRY_MAX_SECONDS)

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Interrupted

    def _say(self, status: str | None) -> None:
        if status == self._status:
            return
        self._status = status
        log.info("producer status: %s", status)
        if status and self._on_status:
            self._on_status(status)


def make_batch(ledger: Ledger, run: Run, row: BatchRow) -> Batch:
    """The first attempt of a recorded batch; its messages follow from the run's seed."""
    simulation = run.simulation
    columns = make_columns(
        run.seed, row.first_index, row.size, simulation.max_text_length, simulation.phone_format
    )
    # Made here, so it need not be checked; the worker checks what it receives.
    return Batch.model_construct(
        ledger=ledger.id,
        run=run.id,
        number=row.number,
        first_index=row.first_index,
        size=row.size,
        profile=row.profile,
        attempt=0,
        queued_at=row.queued_at,
        seed=run.seed,
        retry=simulation.retry,
        deadline=simulation.deadline,
        to=columns.to,
        text=columns.text,
    )
