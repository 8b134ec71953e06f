"""The sender bank alone, driven as a worker drives it: one thread on the real clock.

As many threads as a worker without an upper limit would have hand it batches and wait for their
last message, so that all senders always have work. Durations are drawn beforehand: drawing is the
gateway's part. Only what happens between the end of the warm-up and the end of the window counts:
until then all senders, which start together, are in step.
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

from sms_pipeline.config import SenderProfile
from sms_pipeline.errors import StoppingError
from sms_pipeline.senders import SenderBank
from sms_pipeline.worker import SenderDriver

PROFILE = "bench"
MEAN_SECONDS = 1.0
WARM_UP_SECONDS, WINDOW_SECONDS = 4.0, 6.0
#: Batches with drawn durations, taken in turn.
_DRAWN_BATCHES = 64
#: One batch in play, one ahead, one whose tail is ending; and some to spare.
_BATCHES_AT_ONCE, _SPARE_THREADS = 3, 50
_SEED = 1
_MEGABYTE = 2**20
_KILOBYTES = 1024


class Mark(NamedTuple):
    """A batch came back."""

    at: float
    messages: int
    #: From the end of its last message on the schedule to the moment its thread had it.
    lag: float


def measure(senders: int, warm_up: float, window: float) -> dict[str, Any]:
    """Let the senders work for `warm_up + window` seconds; what they came to in the window."""
    before = psutil.Process().memory_info().rss
    driver = SenderDriver({PROFILE: SenderBank(senders)})
    driver.start()
    marks: list[Mark] = []
    threads = _start_threads(driver, _drawn(senders), marks, senders)
    time.sleep(warm_up)
    began, cpu = time.monotonic(), _cpu_seconds()
    time.sleep(window)
    ended, cpu = time.monotonic(), _cpu_seconds() - cpu
    driver.stop()
    for thread in threads:
        thread.join()
    inside = [mark for mark in marks if began <= mark.at <= ended]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KILOBYTES
    rate = steady_rate(inside)
    return {
        "senders": senders,
        "rate": rate,
        "efficiency": rate * MEAN_SECONDS / senders,
        "cores": cpu / (ended - began),
        "largest_lag_seconds": max((mark.lag for mark in inside), default=0.0),
        "peak_mb": peak_mb,
        "bank_mb": peak_mb - before / _MEGABYTE,
    }


def steady_rate(marks: Iterable[Mark]) -> float:
    """Messages a second from the first mark to the last; 0 when that is no time at all."""
    ordered = sorted(marks)
    if len(ordered) < 2 or ordered[0].at == ordered[-1].at:
        return 0.0
    # Those of the first mark were sent before it.
    messages = sum(mark.messages for mark in ordered[1:])
    return messages / (ordered[-1].at - ordered[0].at)


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
    senders: int,
) -> list[threading.Thread]:
    count = -(-_BATCHES_AT_ONCE * senders // len(drawn[0])) + _SPARE_THREADS
    threads = [
        threading.Thread(target=_keep_playing, args=(driver, drawn, marks, number), daemon=True)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads


def _keep_playing(
    driver: SenderDriver, drawn: Sequence[NDArray[np.float64]], marks: list[Mark], first: int
) -> None:
    number = first
    while True:
        durations = drawn[number % len(drawn)]
        try:
            ended_at = driver.play(PROFILE, durations)
        except StoppingError:
            return
        now = time.monotonic()
        marks.append(Mark(now, len(durations), now - float(ended_at.max())))
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
