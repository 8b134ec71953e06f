"""The clock of this machine."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path

from sms_pipeline.core.clock import Clock, Timeline

log = logging.getLogger(__name__)

#: Where Linux says since which start it runs, and which steady clock a process has.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCKS = Path("/proc/self/ns/time")
#: A smaller step is not worth a word; deadlines are seconds.
STEP_SECONDS = 2.0


class MachineClock:
    """The real time. The one place that reads it.

    The machine's wall clock is read once. From then on time goes by a clock that nobody can set, so
    that no message expires because somebody, or NTP, set the other one.
    """

    def __init__(self) -> None:
        #: Wall-clock time less steady time.
        self._offset = time.time() - _steady()
        self._boot = _boot()
        #: By how much the machine's wall clock was set since then, as far as that was told.
        self._told = 0.0

    @property
    def timeline(self) -> Timeline | None:
        """See `Clock.timeline`."""
        return Timeline(self._boot, self._offset) if self._boot else None

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def wall(self) -> float:
        """See `Clock.wall`."""
        now = _steady() + self._offset
        step = time.time() - now
        if abs(step - self._told) > STEP_SECONDS:
            self._tell(step)
        return now

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        time.sleep(seconds)

    def _tell(self, step: float) -> None:
        seconds = step - self._told
        self._told = step
        log.warning(
            "the clock of this machine was set %s by %.0f s; times go on from the old one until "
            "this process ends",
            "forward" if seconds > 0 else "back",
            abs(seconds),
        )


def _steady() -> float:
    """Seconds that only ever grow, at the pace of the wall clock; also while a laptop sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _boot() -> str | None:
    """Names one start of this machine, as long as its steady clock is that of all its processes."""
    with suppress(OSError):
        # A container may be given a steady clock of its own.
        return f"{_BOOT_ID.read_text().strip()} {_CLOCKS.readlink()}"
    return None


#: The default wherever a clock is taken.
MACHINE_CLOCK: Clock = MachineClock()
