"""How much CPU time this process and its threads have used."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable


def process_seconds() -> float:
    """CPU seconds of this process so far."""
    return time.process_time()


def call_seconds() -> float:
    """CPU seconds of the calling thread so far."""
    return time.thread_time()


def thread_seconds(threads: Iterable[threading.Thread]) -> float | None:
    """CPU seconds of threads that are alive, and stay so; None where the system can't tell."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return None
    return sum(
        time.clock_gettime(time.pthread_getcpuclockid(one.ident))
        for one in threads
        if one.ident is not None
    )
