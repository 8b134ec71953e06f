"""Runs that measured a machine."""

from __future__ import annotations

import json

from sqlalchemy import select

from sms_pipeline.core.records import Run
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.mapping import to_run
from sms_pipeline.ledger.store import Ledger

#: So many of the latest are looked at: one may have been interrupted.
_LATEST = 10


def newest_with_tag(
    ledger: Ledger, key: str, value: str, embedded: bool
) -> tuple[Run, float] | None:
    """The newest run with this one tag that has ended, and how many seconds it took.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    run = schema.runs.c
    tag = json.dumps({key: value}, separators=(",", ":"), ensure_ascii=False)
    query = (
        select(schema.runs)
        .where(run.simulation.contains(f'"tags":{tag}', autoescape=True), run.embedded == embedded)
        .order_by(run.id.desc())
        .limit(_LATEST)
    )
    with ledger.reading() as connection:
        found = [to_run(row) for row in connection.execute(query)]
    for one in found:
        snapshot = ledger.snapshot(one)
        if snapshot.done and snapshot.settled_at is not None:
            return one, snapshot.settled_at - one.started_at
    return None
