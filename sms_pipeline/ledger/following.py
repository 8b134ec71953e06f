"""The one way to read a ledger again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.liveness import Liveness
from sms_pipeline.core.records import WorkerRow
from sms_pipeline.ledger.store import Ledger

#: How often it is read to find out who is online.
POLL_SECONDS = 0.25

T = TypeVar("T")
#: Waits so many seconds; a true answer ends the reading.
Waiting = Callable[[float], bool | None]


def readings(
    read: Callable[[], T],
    every: float,
    wait: Waiting,
    away: Callable[[LedgerUnavailableError], None] | None = None,
) -> Iterator[T]:
    """What `read` returns, now and every `every` seconds, for as long as the caller asks.

    Args:
        read: one reading.
        every: seconds between two.
        wait: `Clock.sleep`, or the `wait` of an event that ends the readings when it is set.
        away: is told, once for each outage, that the ledger can't be reached; the readings go on
            when it is back. None: the error is raised.

    Raises:
        LedgerUnavailableError: the ledger can't be reached, and nobody is to be told.
    """
    is_away = False
    while True:
        try:
            reading = read()
        except LedgerUnavailableError as error:
            if away is None:
                raise
            if not is_away:
                away(error)
            is_away = True
        else:
            is_away = False
            yield reading
        if wait(every):
            return


class OnlineWorker(NamedTuple):
    """A worker whose heartbeat was seen to change."""

    row: WorkerRow
    seen_seconds_ago: float


def online_workers(ledger: Ledger, clock: Clock = MACHINE_CLOCK) -> list[OnlineWorker]:
    """Who is online; watches the heartbeats for as long as that takes, at most 2.5 s.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    liveness = Liveness()
    for workers in readings(ledger.workers, POLL_SECONDS, clock.sleep):
        now = clock.monotonic()
        online = liveness.observe(now, workers)
        if liveness.is_decided(now, workers):
            return [OnlineWorker(row, liveness.last_seen(row.id, now) or 0.0) for row in online]
    raise AssertionError("readings of a clock never end")
