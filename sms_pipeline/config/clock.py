"""The clock of this machine."""

from __future__ import annotations

import time

from sms_pipeline.core.clock import Clock


class MachineClock:
    """The real time. The one place that reads it."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def wall(self) -> float:
        """See `Clock.wall`."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        time.sleep(seconds)


#: The default wherever a clock is taken.
MACHINE_CLOCK: Clock = MachineClock()
