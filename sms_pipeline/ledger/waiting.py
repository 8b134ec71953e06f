"""What waits for workers in the runs that are open."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from sms_pipeline.core.records import Control
from sms_pipeline.core.unattended import OpenRun
from sms_pipeline.ledger import queries, schema
from sms_pipeline.ledger.mapping import to_run
from sms_pipeline.ledger.run_list import finished, read_settled
from sms_pipeline.ledger.snapshot import read_profile_counts

#: Of runs that are neither paused nor forecast, so many of the latest are looked at.
LATEST_RUNS = 20


def read_open_runs(connection: Connection) -> list[OpenRun]:
    """Runs whose batches workers may find in the queues of a broker: neither over nor paused."""
    run = schema.runs.c
    query = select(schema.runs).where(
        run.control != Control.PAUSED, ~run.embedded, ~queries.is_forecast()
    )
    rows = connection.execute(query.order_by(run.id.desc()).limit(LATEST_RUNS)).all()
    settled = read_settled(connection, [row.id for row in rows])
    return [
        _open_run(connection, row)
        for row in rows
        if row.id not in settled or finished(settled[row.id]) < row.total
    ]


def _open_run(connection: Connection, row: Any) -> OpenRun:
    run = to_run(row)
    # What was handed away comes back to its queue if the worker dies before it is handed on.
    waiting = [
        counts.profile
        for counts in read_profile_counts(connection, run)
        if counts.in_flight or counts.handed_away
    ]
    return OpenRun(run.simulation, waiting)
