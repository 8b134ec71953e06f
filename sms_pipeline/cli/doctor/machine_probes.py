"""Tries out what this machine allows a process."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

#: The quota of a container: version 2 and version 1 of control groups.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_OLD_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_OLD_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def openable_files(wanted: int) -> int:
    """How many files can be opened beside those that are open, up to `wanted`."""
    opened: list[int] = []
    try:
        for _ in range(wanted):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    finally:
        for file in opened:
            os.close(file)
    return len(opened)


def startable_threads(wanted: int) -> int:
    """How many threads can run at the same time, up to `wanted`."""
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(wanted):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        pass
    finally:
        end.set()
        for thread in started:
            thread.join()
    return len(started)


def cores() -> float:
    """Processors that this process may use, less where its container has a quota."""
    return min(float(usable_cores()), _quota())


def usable_cores() -> int:
    """Processors that this process may use, quotas apart."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota() -> float:
    with suppress(OSError, ValueError):
        quota, period = _QUOTA.read_text().split()
        return float(quota) / float(period)
    with suppress(OSError, ValueError):
        old = float(_OLD_QUOTA.read_text())
        if old > 0:
            return old / float(_OLD_PERIOD.read_text())
    return float("inf")
