"""A producer alone: generated messages next to those to a file of recipients, in turn.

It records batches in a ledger on disk and makes the bodies that a broker would get, but gives them
to nobody. Both kinds are measured in one process, in turn, so that their ratio means something.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from benchmarks import harness
from benchmarks.harness import Record
from benchmarks.rehearsal import MILLION, Services
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.messages import messages_of
from sms_pipeline.producer.producer import Producer
from sms_pipeline.producer.recipients import examined

NAME = "producing"
MESSAGES, TINY_MESSAGES = 1_000_000, 20_000
ROUNDS = 3
_SENDERS = (SenderProfile(name="bench", count=100_000, mean_time=1.0, failure_rate=0.0),)
_ZONES = ("north", "south", "east of the river", "old town")


def measure(record: Record, _services: Services | None = None) -> None:
    """Both kinds, in turn; no broker is needed."""
    messages = TINY_MESSAGES if record.tiny else MESSAGES
    with TemporaryDirectory() as folder:
        path = _people(Path(folder) / "people.csv", messages)
        asked = {
            "generated": Simulation(num_messages=messages, senders=_SENDERS, routing="static"),
            "quoted": _to(_people(Path(folder) / "quoted.csv", messages, quote='"')),
            "file": _to(path),
        }
        began = time.process_time()
        checked = {kind: examined(one, only_first=False) for kind, one in asked.items()}
        checking = (time.process_time() - began) / (2 * messages / MILLION)
        found: dict[str, list[float]] = {kind: [] for kind in checked}
        for number in range(ROUNDS):
            for kind, simulation in checked.items():
                ledger = Ledger.open(f"sqlite:///{folder}/{kind}-{number}.db")
                found[kind].append(_seconds(ledger, simulation) / (messages / MILLION))
    cpu = {kind: harness.median(seconds) for kind, seconds in found.items()}
    record.add(
        "rows",
        f"{messages:,} messages",
        {
            "cpu_seconds_per_million": cpu,
            "rate_from_file": cpu["generated"] / cpu["file"],
            "rate_from_quoted_file": cpu["generated"] / cpu["quoted"],
            "checking_cpu_seconds_per_million": checking,
        },
    )


def _to(path: Path) -> Simulation:
    values: dict[str, Any] = {"recipients": {"file": str(path)}, "text": "Evacuate {zone} now."}
    return Simulation(senders=_SENDERS, routing="static", **values)


def _people(path: Path, rows: int, quote: str = "") -> Path:
    with path.open("w") as file:
        file.write("to,zone\n")
        for row in range(rows):
            file.write(f"+1202{row:07d},{quote}{_ZONES[row % len(_ZONES)]}{quote}\n")
    return path


def _seconds(ledger: Ledger, simulation: Simulation) -> float:
    run = ledger.start_run(simulation, seed=1)
    producer = Producer(
        ledger, _to_nobody, run, Loads(simulation), messages=messages_of(ledger, run)
    )
    began = time.process_time()
    producer.dispatch()
    seconds = time.process_time() - began
    ledger.close()
    return seconds


def _to_nobody(batch: Batch) -> None:
    orjson.dumps(batch.to_wire())


if __name__ == "__main__":
    measure(harness.record_for(NAME, harness.options(NAME, __doc__).parse_args()))
