"""What lives once per worker process: sender banks, driver thread, ledger writer, heartbeat."""

from __future__ import annotations

import logging
import math
import os
import queue
import random
import socket
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.config.simulation import SenderProfile
from sms_pipeline.core import histogram
from sms_pipeline.core.gateway import Gateway, Outcomes, SimulatedGateway
from sms_pipeline.core.messages import Batch, pack_offsets
from sms_pipeline.core.records import Absorbed, Key, Settled, Settlement, Standing
from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.errors import (
    EXIT_FAILURE,
    BadBatchError,
    ForeignLedgerError,
    LedgerUnavailableError,
    StoppingError,
    UnknownRunError,
)
from sms_pipeline.ledger.store import Ledger

log = logging.getLogger(__name__)

#: Shortest pause between two steps of the banks. Finish times do not depend on it.
TICK_SECONDS = 0.005
#: A step may take this share of the driver's time: large banks are stepped less often.
STEP_SHARE = 0.2
HEARTBEAT_SECONDS = 1.0
#: Pauses between two tries to reach the ledger grow from the first to the second.
LEDGER_RETRY_SECONDS = 0.1
LEDGER_RETRY_MAX_SECONDS = 5.0
#: A transaction waits so long for others to join: a commit costs more than what is in it.
LINGER_SECONDS = 0.01
#: Most settlements in one transaction: it stays short for the other writers.
MAX_GROUP = 500

#: Called after each new settlement, for `--echo`.
SettledHook = Callable[[Batch, Outcomes], None]

T = TypeVar("T")
_Pending = tuple[Settlement, Future[Settled]]


class SenderDriver(threading.Thread):
    """Plays the sender banks on the real clock, for the threads that wait in `play`."""

    def __init__(self, banks: dict[str, SenderBank]) -> None:
        super().__init__(name="sender-driver", daemon=True)
        self._banks = banks
        self._waiting: dict[int, Future[NDArray[np.float64]]] = {}
        self._submissions = 0
        self._wake = threading.Condition()
        self._stopping = False
        #: Grows while this thread is alive.
        self.heartbeat = 0

    def play(
        self, profile: str, durations: NDArray[np.float64], give_up_at: float = math.inf
    ) -> NDArray[np.float64]:
        """Send messages that take `durations`; return when each ended, on `time.monotonic`.

        NaN stands for those that no sender could start by `give_up_at`.

        Raises:
            StoppingError: the driver stopped before all had ended.
        """
        future: Future[NDArray[np.float64]] = Future()
        with self._wake:
            if self._stopping:
                raise StoppingError("the worker is stopping")
            self._submissions += 1
            self._waiting[self._submissions] = future
            bank = self._banks[profile]
            bank.submit(self._submissions, time.monotonic(), durations, give_up_at)
            self._wake.notify()
        return future.result()

    def stop(self) -> None:
        """End the thread; whoever waits in `play` gets a `StoppingError`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def run(self) -> None:
        """Thread body; the process ends with it, for a worker without a driver only looks alive."""
        with _fatal("sender driver"):
            self._run()

    def _run(self) -> None:
        with self._wake:
            while not self._stopping:
                self.heartbeat += 1
                began = time.monotonic()
                self._step(began)
                self._wake.wait(self._pause(began))
            for future in self._waiting.values():
                future.set_exception(StoppingError("the worker is stopping"))

    def _step(self, now: float) -> None:
        for bank in self._banks.values():
            for finished in bank.step(now):
                self._waiting.pop(finished.key).set_result(finished.finish_times)  # type: ignore[call-overload]

    def _pause(self, began: float) -> float:
        now = time.monotonic()
        shortest = max(TICK_SECONDS, (now - began) / STEP_SHARE)
        event = min((bank.next_event() for bank in self._banks.values()), default=now)
        return min(max(event - now, shortest), HEARTBEAT_SECONDS / 2)


class LedgerWriter(threading.Thread):
    """Commits settlements in groups: all that settled while the last transaction ran."""

    def __init__(
        self,
        ledger: Ledger,
        worker: str,
        heartbeat: Callable[[], int],
        stopping: threading.Event,
    ) -> None:
        super().__init__(name="ledger-writer", daemon=True)
        self._ledger = ledger
        self._worker = worker
        self._heartbeat = heartbeat
        self._stopping = stopping
        self._ending = threading.Event()
        self._noting = threading.Lock()
        self._noted = _no_notes()
        self._beat_at = -HEARTBEAT_SECONDS
        self._inbox: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False

    def settle(self, settlement: Settlement) -> Settled:
        """Record a settlement; return, once that is committed, what the ledger holds.

        Raises:
            StoppingError: the worker stopped before the ledger could be reached.
        """
        future: Future[Settled] = Future()
        with self._closing:
            if self._closed:
                raise StoppingError("the worker is stopping")
            self._inbox.put((settlement, future))
        return future.result()

    def stop(self) -> None:
        """Commit what is in hand, then end the thread."""
        self._ending.set()
        self._inbox.put(None)

    def run(self) -> None:
        """Thread body; the process ends with it, for nothing could be settled any more."""
        with _fatal("ledger writer"):
            while not self._ending.is_set():
                self._commit(self._next_group())
                self._beat()
            with self._closing:
                self._closed = True
            while group := self._drain([]):
                self._commit(group)
            self._beat_at = -HEARTBEAT_SECONDS
            self._beat()

    def _next_group(self) -> list[_Pending]:
        try:
            first = self._inbox.get(timeout=HEARTBEAT_SECONDS)
        except queue.Empty:
            return []
        if first is None:
            return []
        self._ending.wait(LINGER_SECONDS)
        return self._drain([first])

    def _drain(self, group: list[_Pending]) -> list[_Pending]:
        while len(group) < MAX_GROUP:
            try:
                pending = self._inbox.get_nowait()
            except queue.Empty:
                break
            if pending:
                group.append(pending)
        return group

    def _commit(self, group: list[_Pending]) -> None:
        if not group:
            return
        settlements = [settlement for settlement, _ in group]
        try:
            # After an unknown outcome the same transaction runs again: it finds its own rows.
            answers = until_reached(lambda: self._ledger.settle(settlements), self._stopping)
        except StoppingError as error:
            for _, future in group:
                future.set_exception(error)
        except Exception as error:
            self._commit_singly(group, error)
        else:
            for (_, future), answer in zip(group, answers, strict=True):
                future.set_result(answer)

    def _commit_singly(self, group: list[_Pending], error: Exception) -> None:
        """A settlement that the database refuses must not take its neighbours with it."""
        if len(group) > 1:
            for pending in group:
                self._commit([pending])
            return
        settlement, future = group[0]
        log.error("settlement %s refused: %s", settlement.key, type(error).__name__)
        future.set_exception(error)

    def note(self, kind: Absorbed, run_id: int, messages: int) -> None:
        """Count a batch that came twice; written with the next heartbeat."""
        with self._noting:
            self._noted[run_id][kind] += np.array((1, messages))

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beat_at < HEARTBEAT_SECONDS:
            return
        self._beat_at = now
        try:
            self._ledger.beat(self._worker, self._heartbeat())
            self._write_notes()
        except LedgerUnavailableError as error:
            log.warning("heartbeat skipped: %s", error)

    def _write_notes(self) -> None:
        with self._noting:
            noted, self._noted = self._noted, _no_notes()
        for run_id, kinds in noted.items():
            seen = {kind: (int(batches), int(size)) for kind, (batches, size) in kinds.items()}
            self._ledger.absorb(run_id, self._worker, seen)


def _no_notes() -> defaultdict[int, defaultdict[Absorbed, NDArray[np.int64]]]:
    """(batches, messages) by run and kind."""
    return defaultdict(lambda: defaultdict(lambda: np.zeros(2, np.int64)))


class InFlight:
    """Lets one thread at a time work on an attempt; the others learn that it is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[Key, Future[bool]] = {}

    @contextmanager
    def turn(self, key: Key) -> Iterator[bool]:
        """True when the caller is to do the work, False when another thread has just done it.

        A caller whose work ends in an error leaves it to one of those that wait.
        """
        mine: Future[bool] = Future()
        while (other := self._claim(key, mine)) is not mine:
            if other.result():
                yield False
                return
        done = False
        try:
            yield True
            done = True
        finally:
            with self._lock:
                del self._busy[key]
            mine.set_result(done)

    def _claim(self, key: Key, mine: Future[bool]) -> Future[bool]:
        with self._lock:
            return self._busy.setdefault(key, mine)


class Worker:
    """One worker process's part in the pipeline: takes batches, plays them, settles them."""

    def __init__(
        self,
        ledger: Ledger,
        profiles: Sequence[SenderProfile],
        gateways: Callable[[SenderProfile], Gateway] = SimulatedGateway,
        on_settled: SettledHook | None = None,
    ) -> None:
        #: Unique for each process start.
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.in_flight = InFlight()
        #: Set once the worker shuts down; whoever waits for broker or ledger gives up then.
        self.stopping = threading.Event()
        self.rng = random.Random()  # noqa: S311 - jitter, not a secret
        self._ledger = ledger
        self._profiles = profiles
        self._gateways = {profile.name: gateways(profile) for profile in profiles}
        self._on_settled = on_settled
        self._driver = SenderDriver({p.name: SenderBank(p.count) for p in profiles})
        self._writer = LedgerWriter(ledger, self.id, lambda: self._driver.heartbeat, self.stopping)
        # Wall-clock time of a moment on the monotonic clock that the driver uses.
        self._epoch = time.time() - time.monotonic()

    def start(self) -> None:
        """Join the ledger's list of workers and start the threads.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        self._ledger.join(self.id, self._profiles)
        self._driver.start()
        self._writer.start()

    def abandon(self) -> None:
        """Play no more: whoever waits for a batch to end gets a `StoppingError`."""
        self.stopping.set()
        self._driver.stop()

    def stop(self) -> None:
        """Sign off and end the threads; batches that are not settled stay with the broker."""
        self.abandon()
        self._driver.join()
        self._writer.stop()
        self._writer.join()
        try:
            self._ledger.leave(self.id)
        except LedgerUnavailableError as error:
            log.warning("could not sign off: %s", error)

    def accept(self, body: object) -> Batch:
        """Check that a task's argument is a batch that this worker may judge.

        Raises:
            BadBatchError: it can never be played here.
            ForeignLedgerError: it belongs to another ledger.
        """
        batch = Batch.from_wire(body)
        if batch.ledger != self._ledger.id:
            raise ForeignLedgerError(
                "a batch of another ledger is in this queue; it is put back. Check "
                "SMS_DATABASE_URL: producer and workers must name the same database"
            )
        if batch.profile not in self._gateways:
            raise BadBatchError(f"no senders of profile {batch.profile!r} here")
        return batch

    def standing(self, batch: Batch) -> Standing:
        """What the user wants of the batch's run, and what is settled for this attempt.

        Raises:
            BadBatchError: the ledger has no such run.
            StoppingError: the worker stopped before the ledger could be reached.
        """
        try:
            return until_reached(lambda: self._ledger.standing(batch.key), self.stopping)
        except UnknownRunError as error:
            raise BadBatchError(str(error)) from None

    def play(self, batch: Batch) -> Settled:
        """Send the messages of this attempt and commit what it came to.

        Raises:
            StoppingError: the worker stopped before that was done.
        """
        outcomes = self._gateways[batch.profile].attempt(batch)
        due = math.inf if batch.deadline is None else batch.queued_at + batch.deadline
        ended_at = self._epoch + self._driver.play(
            batch.profile, outcomes.durations, give_up_at=due - self._epoch
        )
        outcomes = expire(outcomes, ended_at, due)
        settled = self._writer.settle(settlement_of(batch, outcomes, ended_at, self.id))
        if not settled.new:
            self.note(Absorbed.REPEATED, batch)
        elif self._on_settled:
            self._on_settled(batch, outcomes)
        return settled

    def cancel(self, batch: Batch) -> Settled:
        """Settle this attempt as cancelled, without sending anything."""
        cancellation = Settlement.cancellation(
            batch.key, batch.profile, self.id, batch.count, _taken(batch)
        )
        return self._writer.settle(cancellation)

    def note(self, kind: Absorbed, batch: Batch) -> None:
        """Count what came twice, for the audit's report."""
        self._writer.note(kind, batch.run, batch.count)


def expire(outcomes: Outcomes, ended_at: NDArray[np.float64], due: float) -> Outcomes:
    """`outcomes` without what came too late: neither delivered, nor to be tried again.

    Expired messages have no send time: some were given up before a sender took them.
    """
    late = ~(ended_at <= due)
    if not late.any():
        return outcomes
    return Outcomes(np.where(late, 0.0, outcomes.durations), outcomes.delivered & ~late, late)


def settlement_of(
    batch: Batch, outcomes: Outcomes, ended_at: NDArray[np.float64], worker: str
) -> Settlement:
    """What an attempt came to; `ended_at` in seconds since the epoch, one for each message."""
    positions = batch.positions()
    delivered = outcomes.delivered
    expired = np.zeros_like(delivered) if outcomes.expired is None else outcomes.expired
    lost = ~delivered & ~expired
    retried = lost if batch.retry.allows_after(batch.attempt) else np.zeros_like(lost)
    failed = lost & ~retried
    delivery_times = np.maximum(ended_at - batch.queued_at, 0)[delivered | failed]
    return Settlement(
        key=batch.key,
        profile=batch.profile,
        worker=worker,
        messages=len(positions),
        delivered=int(delivered.sum()),
        failed=int(failed.sum()),
        expired=int(expired.sum()),
        retried=int(retried.sum()),
        send_seconds=float(outcomes.durations.sum()),
        delivery_seconds=float(delivery_times.sum()),
        settled_at=time.time(),
        taken=_taken(batch),
        remainder=pack_offsets(positions[retried], batch.size) if retried.any() else None,
        delivery_times=histogram.count_buckets(delivery_times),
        failed_indexes=(batch.first_index + positions[failed]).tolist(),
        expired_indexes=(batch.first_index + positions[expired]).tolist(),
    )


def _taken(batch: Batch) -> bytes | None:
    return None if batch.offsets is None else pack_offsets(batch.positions(), batch.size)


def until_reached(call: Callable[[], T], stopping: threading.Event) -> T:
    """`call`, again and again while the ledger can't be reached, with growing pauses.

    Raises:
        StoppingError: `stopping` was set meanwhile.
    """
    pause = LEDGER_RETRY_SECONDS
    while True:
        try:
            return call()
        except LedgerUnavailableError as error:
            log.warning("%s; trying again in %.1f s", error, pause)
            if stopping.wait(pause):
                raise StoppingError("the worker stops while the ledger can't be reached") from error
        pause = min(pause * 2, LEDGER_RETRY_MAX_SECONDS)


@contextmanager
def _fatal(role: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        log.critical("%s died; the worker can't go on", role, exc_info=True)
        logging.shutdown()
        os._exit(EXIT_FAILURE)
