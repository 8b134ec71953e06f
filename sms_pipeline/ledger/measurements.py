"""What was measured of machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select

from sms_pipeline.core.errors import DamagedLedgerError
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.store import Ledger


class Measured(NamedTuple):
    """What each thing costs on a machine, seconds by name, and when that was measured."""

    at: float
    costs: Mapping[str, float]


def keep(ledger: Ledger, machine: str, embedded: bool, measured: Measured) -> None:
    """Keep what was measured; `embedded` says whether the broker was inside the process.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    row = {
        "machine": machine,
        "embedded": embedded,
        "measured_at": measured.at,
        "costs": json.dumps(dict(measured.costs)),
    }
    with ledger.writing() as connection:
        connection.execute(insert(schema.measurements), row)


def newest(ledger: Ledger, machine: str, embedded: bool) -> Measured | None:
    """What was measured last on that machine, with a broker in or outside the process.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
        DamagedLedgerError: it holds something else.
    """
    columns = schema.measurements.c
    query = (
        select(columns.measured_at, columns.costs)
        .where(columns.machine == machine, columns.embedded == embedded)
        .order_by(columns.id.desc())
        .limit(1)
    )
    with ledger.reading() as connection:
        row = connection.execute(query).first()
    return None if row is None else Measured(row.measured_at, _costs(row.costs))


def _costs(text: str) -> dict[str, float]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(map(_is_cost, found.values())):
        raise DamagedLedgerError(
            "the ledger has a row that can't be read: measurements.costs is no list of costs"
        )
    return found


def _is_cost(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def settlements_of(ledger: Ledger, run_id: int) -> int:
    """How many attempts at batches a run has settled.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    counters = schema.counters.c
    query = select(func.sum(counters.settlements)).where(counters.run == run_id)
    with ledger.reading() as connection:
        return int(connection.execute(query).scalar() or 0)
