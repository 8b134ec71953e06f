"""Files of recipients, and runs to them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sms_pipeline.core.simulation import Simulation
from sms_pipeline.producer.recipients import examined
from tests.unit import make

ZONES = ("north", "south", "east")


def number(row: int) -> str:
    return f"+1202555{row:04d}"


def rows(count: int) -> list[tuple[str, str]]:
    return [(number(row), ZONES[row % len(ZONES)]) for row in range(count)]


def csv_text(count: int) -> str:
    return "to,zone\n" + "".join(f"{to},{zone}\n" for to, zone in rows(count))


def write(path: Path, count: int = 100) -> Path:
    """A file of so many, by its suffix."""
    if path.suffix == ".parquet":
        to, zone = zip(*rows(count), strict=True)
        pq.write_table(pa.table({"to": to, "zone": zone}), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(csv_text(count).encode()))
    else:
        path.write_text(csv_text(count))
    return path


def simulation(path: Path, **values: Any) -> Simulation:
    """What a user asks for."""
    return make.simulation(
        **{"recipients": {"file": str(path)}, "text": "Evacuate {zone} now.", **values}
    )


def checked(path: Path, **values: Any) -> Simulation:
    """The same, as a run is started with it."""
    return examined(simulation(path, **values), "num_messages" in values)


def texts(sent: Sequence[tuple[str, str]]) -> list[str]:
    return [f"Evacuate {zone} now." for _, zone in sent]
