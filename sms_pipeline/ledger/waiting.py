"""What waits for workers in the runs that are open."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, select

from sms_pipeline.core.records import Control
from sms_pipeline.core.unattended import OpenRun
from sms_pipeline.ledger import queries, schema
from sms_pipeline.ledger.mapping import to_run
from sms_pipeline.ledger.run_list import finished_of_each
from sms_pipeline.ledger.snapshot import read_profile_counts

#: So many of the latest are looked at.
LATEST_RUNS = 20


def read_open_runs(connection: Connection) -> list[OpenRun]:
    """Runs whose batches workers may find in the queues of a broker: neither over nor paused."""
    run = schema.runs.c
    is_open = and_(
        run.control != Control.PAUSED,
        ~run.embedded,
        finished_of_each() < run.total,
        ~queries.is_forecast(),
    )
    query = select(schema.runs).where(is_open).order_by(run.id.desc()).limit(LATEST_RUNS)
    return [_open_run(connection, row) for row in connection.execute(query).all()]


def _open_run(connection: Connection, row: Any) -> OpenRun:
    run = to_run(row)
    # What was handed away comes back to its queue if the worker dies before it is handed on.
    waiting = [
        counts.profile
        for counts in read_profile_counts(connection, run)
        if counts.in_flight or counts.handed_away
    ]
    return OpenRun(run.simulation, waiting)
