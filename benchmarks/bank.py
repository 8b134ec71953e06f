"""The sender bank alone, driven as a worker drives it: one thread on the real clock.

As many threads as a worker without an upper limit would have hand it batches and wait for their
last message, so that all senders always have work. Durations are drawn beforehand: drawing is the
gateway's part. A message counts with the share of its send time that the schedule has inside the
window, so no rate can pass what the senders can do; and only if its batch came back no later than
`LATE_SECONDS` after its own last message. So a driver that falls behind its schedule gets nothing
for what it hands over in a rush afterwards. A warm-up, in which the senders, which start together,
get out of step, does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.worker.driver import SenderDriver

PROFILE = "bench"
MEAN_SECONDS = 1.0
WARM_UP_SECONDS, WINDOW_SECONDS = 4.0, 6.0
#: The slowest message of a batch that is in play when the window ends takes so long at most.
COOL_DOWN_SECONDS = 4.0
LATE_SECONDS = 1.0
#: Batches with drawn durations, taken in turn.
_DRAWN_BATCHES = 64
#: One batch in play, one ahead, one whose tail is ending; and some to spare.
_BATCHES_AT_ONCE, _SPARE_THREADS = 3, 50
_SEED = 1
_MEGABYTE = 2**20
_KILOBYTES = 1024


class Window(NamedTuple):
    """The time that counts, on the clock of the driver."""

    began: float
    ended: float


class Mark(NamedTuple):
    """A batch came back."""

    #: Send time of its messages that is inside the window.
    seconds: float
    #: From the end of its last message on the schedule to the moment its thread had it.
    lag: float


def measure(senders: int, warm_up: float, seconds: float) -> dict[str, Any]:
    """Let the senders work; what they come to in a window of so many seconds after the warm-up.

    The threads end with the process: a driver that is far behind would not let them stop in time.
    """
    before = psutil.Process().memory_info().rss
    drawn = _drawn(senders)
    driver = SenderDriver({PROFILE: SenderBank(senders)}, MACHINE_CLOCK)
    driver.start()
    start = time.monotonic() + warm_up
    window = Window(start, start + seconds)
    marks: list[Mark] = []
    _start_threads(driver, drawn, marks, window, senders)
    _sleep_until(window.began)
    cpu = _cpu_seconds()
    _sleep_until(window.ended)
    cpu = _cpu_seconds() - cpu
    time.sleep(COOL_DOWN_SECONDS)
    marks = marks.copy()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KILOBYTES
    efficiency = busy_seconds(marks) / (senders * seconds)
    return {
        "senders": senders,
        "rate": efficiency * senders / MEAN_SECONDS,
        "efficiency": efficiency,
        "cores": cpu / seconds,
        "largest_lag_seconds": max((mark.lag for mark in marks), default=None),
        "peak_mb": peak_mb,
        "bank_mb": peak_mb - before / _MEGABYTE,
    }


def busy_seconds(marks: Iterable[Mark]) -> float:
    """Send time inside the window, without that of batches that came back late."""
    return sum(mark.seconds for mark in marks if mark.lag <= LATE_SECONDS)


def seconds_inside(
    window: Window, durations: NDArray[np.float64], ended_at: NDArray[np.float64]
) -> float:
    """How much of the time that messages were being sent is inside the window."""
    began = np.maximum(ended_at - durations, window.began)
    return float(np.maximum(np.minimum(ended_at, window.ended) - began, 0).sum())


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.monotonic(), 0))


def _drawn(senders: int) -> list[NDArray[np.float64]]:
    profile = SenderProfile(name=PROFILE, mean_time=MEAN_SECONDS, failure_rate=0, count=senders)
    scale = MEAN_SECONDS / profile.shape
    generator = np.random.default_rng(_SEED)
    size = profile.batch_size
    return [generator.gamma(profile.shape, scale, size) for _ in range(_DRAWN_BATCHES)]


def _start_threads(
    driver: SenderDriver,
    drawn: Sequence[NDArray[np.float64]],
    marks: list[Mark],
    window: Window,
    senders: int,
) -> None:
    count = -(-_BATCHES_AT_ONCE * senders // len(drawn[0])) + _SPARE_THREADS
    for number in range(count):
        arguments = (driver, drawn, marks, window, number)
        threading.Thread(target=_keep_playing, args=arguments, daemon=True).start()


def _keep_playing(
    driver: SenderDriver,
    drawn: Sequence[NDArray[np.float64]],
    marks: list[Mark],
    window: Window,
    first: int,
) -> None:
    number = first
    while True:
        durations = drawn[number % len(drawn)]
        ended_at = driver.play(PROFILE, durations).finish_times
        lag = time.monotonic() - float(ended_at.max())
        marks.append(Mark(seconds_inside(window, durations, ended_at), lag))
        number += 1


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("senders", type=int)
    parser.add_argument("--warm-up", type=float, default=WARM_UP_SECONDS)
    parser.add_argument("--window", type=float, default=WINDOW_SECONDS)
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.senders, chosen.warm_up, chosen.window)), flush=True)


if __name__ == "__main__":
    main()
