"""What a forecast takes, however large the run: seconds, CPU, and memory for 340 million messages.

The configurations are those that take longest: workers, hours and hand-overs leave little out.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import yaml

from benchmarks import harness
from benchmarks.harness import Record
from benchmarks.rehearsal import BIN, Services, own_environment

NAME = "forecast_cost"
MESSAGES, TINY_MESSAGES = 340_000_000, 1_000_000
_KILOBYTES = 1_024

_FAST = {"name": "fast", "count": 400_000, "mean_time": 1.0, "failure_rate": 0.3}
_BACKUP = {"name": "backup", "count": 200_000, "mean_time": 2.0, "failure_rate": 0.05}
_HAND_OVER = {"senders": [_FAST, _BACKUP], "failover": {"attempts": 1, "to": "backup"}}
_HOURS = {
    "senders": [{**_FAST, "count": 4_000}, {**_BACKUP, "count": 2_000}],
    "window": "08:00-21:00 Europe/Berlin",
    "events": [{"at": 60, "for": 30, "profile": "fast", "outage": True}],
}
#: Senders and their mean time.
_MIX = [(40_000, 1.0), (20_000, 2.0), (10_000, 0.2), (50_000, 20.0), (5_000, 2.0)]


def _profiles_of(mix: list[tuple[int, float]]) -> dict[str, Any]:
    senders = [
        {"name": f"p{number}", "count": count, "mean_time": mean, "failure_rate": 0.1}
        for number, (count, mean) in enumerate(mix)
    ]
    return {"senders": senders, "deadline": 86_400}


DEFAULTS = "defaults, one process"
#: Configuration, and workers of each profile; None: one process.
SETTINGS: dict[str, tuple[dict[str, Any], int | None]] = {
    DEFAULTS: ({}, None),
    "hand-overs, one process": (_HAND_OVER, None),
    "hand-overs, 4 workers": (_HAND_OVER, 4),
    "hours and an outage, one process": (_HOURS, None),
    "hours and an outage, 12 workers": (_HOURS, 12),
    "five profiles and a deadline, 4 workers": (_profiles_of(_MIX), 4),
    "twenty profiles and a deadline, one process": (_profiles_of(4 * _MIX), None),
}


def measure(record: Record, services: Services) -> None:
    """Every row that is wanted."""
    messages = TINY_MESSAGES if record.tiny else MESSAGES
    for title, (configuration, workers) in SETTINGS.items():
        if not record.wants(title):
            continue
        row = _forecast({**configuration, "num_messages": messages}, workers, services)
        record.add("rows", title, row)
        print(f"{title}: {row['seconds']:.1f} s, {row['peak_mb']:.0f} MB", flush=True)


def _forecast(
    configuration: dict[str, Any], workers: int | None, services: Services
) -> dict[str, Any]:
    folder = services.new_folder()
    (folder / "alert.yml").write_text(yaml.safe_dump(configuration))
    options = [] if workers is None else ["--workers", str(workers)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [BIN / "sms-pipeline", "forecast", "alert.yml", *options],
        cwd=folder,
        env=own_environment(),
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the forecast ended with {process.returncode}")
    return {
        "messages": configuration["num_messages"],
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / _KILOBYTES,
    }


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
