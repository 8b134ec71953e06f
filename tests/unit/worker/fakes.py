"""Stand-ins for what a test of a worker must not do: wait, hang, or end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import numpy as np

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes

T = TypeVar("T")


class Exited(BaseException):
    """The process would have ended here; see the fixture `exits`."""


class Scripted:
    """A gateway that needs no time and lets the first two messages of each attempt fail."""

    failures = 2

    def __init__(self, _profile: object) -> None:
        pass

    def attempt(self, batch: Batch) -> Outcomes:
        """See `Gateway.attempt`."""
        return Outcomes(np.zeros(batch.count), np.arange(batch.count) >= self.failures)


class Endless:
    """A gateway whose messages take longer than any test."""

    def __init__(self, _profile: object) -> None:
        pass

    def attempt(self, batch: Batch) -> Outcomes:
        """See `Gateway.attempt`."""
        return Outcomes(np.full(batch.count, 1e9), np.ones(batch.count, np.bool_))


class Stop(threading.Event):
    """Notes how long it is waited for, and lets nobody wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        return self.is_set()


def aside(call: Callable[..., T], *arguments: Any) -> Future[T]:
    """Make a call in another thread, which does not keep the tests from ending if it hangs."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
