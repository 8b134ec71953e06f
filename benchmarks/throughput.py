"""End to end through RabbitMQ: messages a second, CPU and memory, beside the asyncio reference.

Each row is one audited rehearsal, read from the ledger: first dispatch to last settlement, and the
middle 80 % (the tail of delayed retries is seconds long, whatever the size of the run).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.rehearsal import Result, Services, Setting, rehearse

RESULTS = Path(__file__).parent / "results"
#: Senders of the reference around its best point.
REFERENCE_SENDERS = (20_000, 35_000, 50_000)
#: More than can be kept busy: the pipeline is the limit, not the senders.
PLENTY = 1_000_000
BASE = Setting(messages=6_000_000, senders=PLENTY)


def settings(tiny: bool) -> Iterator[tuple[str, Setting]]:
    """Every row of the table."""
    yield "no failures", BASE
    yield "10 % failures", replace(BASE, failure_rate=0.1)
    yield "2 workers", replace(BASE, workers=2)
    yield "classic queue", replace(BASE, queue_type="classic", messages=3_000_000)
    yield "PostgreSQL", replace(BASE, database="postgresql", messages=3_000_000)
    for size, messages in ((1, 10_000), (10, 100_000), (100, 500_000), (1_000, 3_000_000)):
        yield f"batch {size:,}", replace(BASE, batch_size=size, messages=messages)
    if not tiny:
        yield "100,000 senders", Setting(messages=3_000_000, senders=100_000)


def shrink(setting: Setting) -> Setting:
    """The same at a size that takes a second."""
    messages = 500 if setting.batch_size == 1 else 10_000
    return replace(setting, messages=messages, senders=1_000, mean_time=0.01)


def reference(tiny: bool) -> list[dict[str, Any]]:
    """The asyncio reference, each size in a process of its own."""
    senders = (200,) if tiny else REFERENCE_SENDERS
    command = [sys.executable, "-m", "benchmarks.reference_asyncio"]
    found = []
    for count in senders:
        output = subprocess.run(
            [*command, str(count), *(["--messages-per-sender", "1"] if tiny else [])],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found.append(json.loads(output))
    return found


def row(name: str, result: Result, best_reference: float) -> str:
    """A line of the table."""
    cpu = result.to_json()["cpu_seconds_per_million"]
    used = "  ".join(f"{role} {seconds:.2f}" for role, seconds in cpu.items())
    return (
        f"{name:<18}{result.rate:>12,.0f}/s{result.middle_rate:>12,.0f}/s"
        f"{result.rate / best_reference:>8.1f} x{result.middle_rate / best_reference:>8.1f} x"
        f"   CPU s per million: {used}"
    )


def machine() -> dict[str, Any]:
    """What a reader must know of the machine."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_average_before": os.getloadavg(),
    }


def main() -> None:
    """Measure, print the table, keep the raw results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="every row in a second, nothing kept")
    parser.add_argument("--only", help="rows whose name has this in it")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "throughput.json")
    arguments = parser.parse_args()
    about = machine()
    references = reference(arguments.tiny)
    best = max(found["rate"] for found in references)
    print(f"reference at its best: {best:,.0f}/s")
    rows = {}
    with tempfile.TemporaryDirectory() as name, Services(Path(name)) as services:
        Path(name).chmod(0o711)
        for title, setting in settings(arguments.tiny):
            if arguments.only and arguments.only not in title:
                continue
            chosen = shrink(setting) if arguments.tiny else setting
            result = rehearse(services, chosen, Path(name) / title.replace(" ", "-"))
            rows[title] = result.to_json()
            print(row(title, result, best), flush=True)
    # The machine's speed drifts: the reference is measured again after the rows.
    references += reference(arguments.tiny)
    if not arguments.tiny:
        content = {"at": time.time(), "machine": about, "reference": references, "rows": rows}
        arguments.output.parent.mkdir(exist_ok=True)
        arguments.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
