"""The one place where a test waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Short enough not to be felt, long enough not to take the processor from what is waited for.
POLL_SECONDS = 0.02


def wait_until(predicate: Callable[[], T], timeout: float, description: str) -> T:
    """Poll until the predicate is truthy and return its value.

    The predicate runs at least once, and once more after the time is up, so that a machine that
    was busy for the whole time does not fail a test whose condition does hold.

    Args:
        predicate: What to wait for. An exception from it ends the wait at once.
        timeout: Seconds.
        description: What is waited for, in words: it is the message of the failure.

    Raises:
        AssertionError: The time is up.
    """
    deadline = time.monotonic() + timeout
    while True:
        is_last = time.monotonic() >= deadline
        value = predicate()
        if value:
            return value
        if is_last:
            raise AssertionError(f"{description}: still not so after {timeout:g} s")
        time.sleep(POLL_SECONDS)
