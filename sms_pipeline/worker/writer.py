"""The thread that commits what a worker settles, and keeps its heartbeat going."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import LedgerUnavailableError, StoppingError
from sms_pipeline.core.patience import Pauses, patiently
from sms_pipeline.core.records import Absorbed, Settled, Settlement
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.fatal import fatal
from sms_pipeline.worker.signs import Part, SignsOfLife

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
#: A transaction waits so long for others to join: a commit costs more than what is in it.
LINGER_SECONDS = 0.01
#: Most settlements in one transaction: it stays short for the other writers.
MAX_GROUP = 500
#: Between two tries to reach the ledger.
LEDGER_PAUSES = Pauses(first=0.1, longest=5.0)

_Pending = tuple[Settlement, Future[Settled]]


class LedgerWriter(threading.Thread):
    """Commits settlements in groups: all that settled while the last transaction ran."""

    def __init__(
        self,
        ledger: Ledger,
        worker: str,
        heartbeat: Callable[[], int],
        stopping: threading.Event,
        clock: Clock,
        signs: SignsOfLife | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        """`look`: is called after each heartbeat."""
        super().__init__(name="ledger-writer", daemon=True)
        self._look = look
        self._ledger = ledger
        self._worker = worker
        self._heartbeat = heartbeat
        self._stopping = stopping
        self._clock = clock
        self._signs = signs or SignsOfLife()
        self._ending = threading.Event()
        self._noting = threading.Lock()
        #: (batches, messages) that came twice since the process started, by run and kind.
        self._noted: dict[tuple[int, Absorbed], tuple[int, int]] = {}
        self._unwritten: set[tuple[int, Absorbed]] = set()
        self._beat_at = -HEARTBEAT_SECONDS
        #: When the ledger last answered, on the monotonic clock. It is asked every second.
        self.answered_at = clock.monotonic()
        #: When settlements were last committed; None before that.
        self.committed_at: float | None = None
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
        """Thread body. The process ends with it: nothing could be settled any more."""
        with fatal("ledger writer"):
            self._run()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._come_round()
            self._commit(self._next_group())
            self._beat()
        with self._closing:
            self._closed = True
        while group := self._drain([]):
            self._commit(group)
        self._beat_at = -HEARTBEAT_SECONDS
        self._beat()
        self._signs.end(Part.WRITER)

    def _come_round(self) -> None:
        self._signs.mark(Part.WRITER, self._clock.monotonic())

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
            answers = patiently(
                lambda: self._try(settlements),
                LedgerUnavailableError,
                LEDGER_PAUSES,
                self._stopping,
                _tell,
            )
        except StoppingError as error:
            for _, future in group:
                future.set_exception(error)
        except Exception as error:
            self._commit_singly(group, error)
        else:
            self.answered_at = self.committed_at = self._clock.monotonic()
            for (_, future), answer in zip(group, answers, strict=True):
                future.set_result(answer)

    def _try(self, settlements: list[Settlement]) -> list[Settled]:
        # A ledger that is away for long does not make a writer that is stuck.
        self._come_round()
        return self._ledger.settle(settlements)

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
        key = run_id, kind
        with self._noting:
            batches, sum_of_messages = self._noted.get(key, (0, 0))
            self._noted[key] = (batches + 1, sum_of_messages + messages)
            self._unwritten.add(key)

    def _beat(self) -> None:
        now = self._clock.monotonic()
        if now - self._beat_at < HEARTBEAT_SECONDS:
            return
        self._beat_at = now
        try:
            self._ledger.beat(self._worker, self._heartbeat())
            self.answered_at = self._clock.monotonic()
            self._write_notes()
            if self._look and not self._ending.is_set():
                self._look()
        except LedgerUnavailableError as error:
            log.warning("heartbeat skipped: %s", error)

    def _write_notes(self) -> None:
        """Write the sums that changed. They are whole sums, so writing them twice does no harm."""
        with self._noting:
            sums = {key: self._noted[key] for key in self._unwritten}
        if not sums:
            return
        self._ledger.absorb(self._worker, sums)
        with self._noting:
            self._unwritten = {key for key in self._unwritten if self._noted[key] != sums.get(key)}


def _tell(error: BaseException, seconds: float) -> None:
    log.warning("%s; trying again in %.1f s", error, seconds)
