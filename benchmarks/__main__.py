"""All benchmarks, one after the other: `python -m benchmarks`, or `make bench`.

The run of 340 million messages takes as long as all others together: it is started by itself,
`python -m benchmarks.population`. A tiny run has it, too.
"""

from __future__ import annotations

import argparse
import time
from types import ModuleType

from benchmarks import (
    figures,
    footprint,
    harness,
    peers,
    population,
    producing,
    scaling,
    stability,
    tables,
    throughput,
    watching,
)

BENCHMARKS: tuple[ModuleType, ...] = (
    throughput,
    peers,
    scaling,
    stability,
    footprint,
    watching,
    producing,
)


def main() -> None:
    """Measure all, draw the figures, renew the tables of the README."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="every row in seconds, nothing kept")
    chosen = parser.parse_args()
    chosen.only, chosen.output = "", None
    benchmarks = (*BENCHMARKS, population) if chosen.tiny else BENCHMARKS
    with harness.services() as services:
        for benchmark in benchmarks:
            began = time.monotonic()
            print(f"== {benchmark.NAME}", flush=True)
            benchmark.measure(harness.record_for(benchmark.NAME, chosen), services)
            print(f"   took {time.monotonic() - began:.0f} s", flush=True)
    if not chosen.tiny:
        figures.main()
        tables.main()


if __name__ == "__main__":
    main()
