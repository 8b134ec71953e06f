"""Waiting, at a worker's start, for a broker and a database that are not there yet."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    LedgerUnavailableError,
    Terminated,
)
from sms_pipeline.core.patience import Pauses, Stop, patiently
from sms_pipeline.ledger.opening import may_pass

T = TypeVar("T")

#: Between two tries to reach what is away.
_PAUSES = Pauses(first=0.5, longest=5.0)
#: What is still the same is said again after so long.
REPEAT_SECONDS = 60.0


class Waiting:
    """Calls what a worker needs until it is there, and says seldom what it waits for."""

    def __init__(self, say: Callable[[str], None], clock: Clock, stop: Stop | None = None) -> None:
        self._say = say
        self._clock = clock
        # Nobody sets it: Ctrl-C and SIGTERM end the wait as exceptions.
        self._stop = stop or threading.Event()
        self._said = ""
        self._said_at = 0.0

    def until_there(self, call: Callable[[], T]) -> T:
        """What `call` returns, once it does not raise that broker or ledger is away.

        Raises:
            PipelineError: waiting does not help; the message says why.
        """
        return patiently(call, _passes, _PAUSES, self._stop, self._tell)

    def _tell(self, error: BaseException, _pause: float) -> None:
        now, text = self._clock.monotonic(), str(error)
        if text == self._said and now - self._said_at < REPEAT_SECONDS:
            return
        self._said, self._said_at = text, now
        self._say(f"Waiting: {text}")


def _passes(error: BaseException) -> bool:
    if isinstance(error, LedgerUnavailableError):
        return may_pass(error)
    return isinstance(error, BrokerUnavailableError) and not isinstance(error, BrokerRefusedError)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends the block at once, as Ctrl-C does, also where the process is the first one.

    Celery takes signals over later. In a thread signals are somebody else's.

    Raises:
        Terminated: SIGTERM came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
