"""How far thinned forecasts are off: 340 million messages, beside a run that simulates them all.

All times are virtual, so nothing here depends on the machine or on what else it does. The default
configuration is left out: each of its batches has few messages, and all of them take hours.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import harness
from benchmarks.forecast_cost import DEFAULTS, MESSAGES, SETTINGS, TINY_MESSAGES
from benchmarks.harness import Record
from benchmarks.rehearsal import Services
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.outlook import FIRST_SEED, SHARES, look_ahead, play
from sms_pipeline.forecast.setting import exact_setting

NAME = "thinning"


def measure(record: Record, services: Services) -> None:
    """Every row that is wanted."""
    messages = TINY_MESSAGES if record.tiny else MESSAGES
    for title, (configuration, workers) in SETTINGS.items():
        if title == DEFAULTS or not record.wants(title):
            continue
        simulation = Simulation.model_validate({**configuration, "num_messages": messages})
        row = _compared(simulation, workers)
        record.add("rows", title, row)
        off = ", ".join(f"{share} {found['off']:+.1%}" for share, found in row["reached"].items())
        print(f"{title}: {off}; told {row['may_be_off']:.1%}", flush=True)


def _compared(simulation: Simulation, workers: int | None) -> dict[str, Any]:
    told = look_ahead(simulation, workers)
    began = time.process_time()
    whole = play(exact_setting(simulation, workers), simulation, FIRST_SEED, 1)
    reached = {}
    for share in SHARES:
        about, truth = told.reached[share], whole.reached(share)
        if about is None or truth is None:
            raise RuntimeError(f"{share:.0%} were not reached")
        off = about.middle / truth.middle - 1
        reached[f"{share:.0%}"] = {"told": about.middle, "exact": truth.middle, "off": off}
    return {
        "messages": simulation.num_messages,
        "reached": reached,
        "may_be_off": told.error or 0.0,
        "range": [told.end.low, told.end.high],
        "end": whole.middle.seconds,
        "exact_cpu_seconds": time.process_time() - began,
    }


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
