"""The producer: makes messages, routes them by backlog, records them, publishes them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.clock import Clock, clock_of
from sms_pipeline.core.errors import LedgerUnavailableError, StoppingError
from sms_pipeline.core.patience import Pauses, patiently
from sms_pipeline.core.records import BatchRow, Run, Unsettled
from sms_pipeline.core.steps import drive
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.dispatching import (
    Dispatching,
    Effect,
    PublishAgain,
    PublishFirst,
    Say,
    Wait,
    answered_by,
    next_attempt,
    with_columns,
)
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.messages import Generated, Make, Messages

log = logging.getLogger(__name__)

#: Batches published at once: while the broker writes one, others are made and sent.
PUBLISHERS = 4
#: Between two tries to reach broker or ledger.
PAUSES = Pauses(first=0.5, longest=5.0)

#: Told what the producer waits for, once each time that changes.
StatusHook = Callable[[str], None]
#: Gives a batch to the broker; returns when that is confirmed, raises when it is not.
Publish = Callable[[Batch], None]

T = TypeVar("T")


class Producer:
    """Dispatches one run on real time; a `Dispatching` says what is next."""

    def __init__(
        self,
        ledger: Ledger,
        publish: Publish,
        run: Run,
        loads: Loads,
        on_status: StatusHook | None = None,
        clock: Clock = MACHINE_CLOCK,
        messages: Messages | None = None,
    ) -> None:
        """`messages`: what is sent; None: what follows from the seed."""
        self._ledger = ledger
        self._publish = publish
        self._run = run
        self._on_status = on_status
        self._clock = clock_of(run, clock)
        self._messages = messages or Generated(run)
        self._dispatching = Dispatching(run, loads, self._clock)
        self._status: str | None = None
        self._stopping = threading.Event()
        self._publishers = ThreadPoolExecutor(PUBLISHERS, thread_name_prefix="publisher")

    @property
    def dispatched(self) -> int:
        """Messages dispatched so far, by whomever."""
        return self._dispatching.next_index

    def stop(self) -> None:
        """Make `dispatch` end after the batches in hand."""
        self._stopping.set()

    def dispatch(self) -> None:
        """See `Dispatching.dispatch`.

        Raises:
            StoppingError: `stop` was called before the end.
        """
        drive(self._dispatching.dispatch(), self._perform)

    def dispatch_again(self, unsettled: Iterable[Unsettled]) -> int:
        """See `Dispatching.dispatch_again`.

        Raises:
            StoppingError: `stop` was called before the end.
        """
        return drive(self._dispatching.dispatch_again(unsettled), self._perform)

    def _perform(self, effect: Effect) -> Any:
        match effect:
            case Wait(seconds):
                return self._wait(seconds)
            case Say(status):
                return self._say(status)
            case PublishFirst(rows, origin):
                publish = partial(self._publish_first, origin)
                # What makes the next batch is taken while the last one is made and published.
                return list(self._publishers.map(publish, rows, map(self._take, rows)))
            case PublishAgain(entry, origin):
                first = self._first(entry.row, self._take(entry.row), origin)
                batch = next_attempt(first, entry)
                return [(batch.number, self._published(batch))]
            case _:
                return self._patiently(
                    lambda: answered_by(self._ledger, self._run, effect),
                    LedgerUnavailableError,
                    _why_no_ledger,
                )

    def _take(self, row: BatchRow) -> Make:
        return self._messages.take(row.first_index, row.size)

    def _first(self, row: BatchRow, make: Make, origin: float | None) -> Batch:
        return with_columns(self._ledger.id, self._run, row, make(), self._clock.timeline, origin)

    def _publish_first(self, origin: float | None, row: BatchRow, make: Make) -> tuple[int, float]:
        return row.number, self._published(self._first(row, make, origin))

    def _published(self, batch: Batch) -> float:
        """Publish until it is confirmed, and say when. The ledger absorbs what comes twice."""
        self._patiently(lambda: self._publish(batch), Exception, _why_no_broker)
        return self._clock.wall()

    # Waiting

    def _patiently(
        self,
        call: Callable[[], T],
        errors: type[Exception],
        why: Callable[[BaseException], str],
    ) -> T:
        return patiently(
            call,
            errors,
            PAUSES,
            self._stopping,
            lambda error, _: self._say(f"{why(error)}; trying again"),
        )

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise StoppingError("the producer was stopped")

    def _say(self, status: str | None) -> None:
        if status == self._status:
            return
        self._status = status
        log.info("producer status: %s", status)
        # Who was stopped may find that workers have left, which is no news.
        if status and self._on_status and not self._stopping.is_set():
            self._on_status(status)


def _why_no_ledger(error: BaseException) -> str:
    return str(error)


def _why_no_broker(error: BaseException) -> str:
    reason = str(error).strip() or type(error).__name__
    return f"the broker takes no messages ({reason})"
