"""What is stored in a ledger, for the tests to look at."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import inspect, text

from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger


class Executed(NamedTuple):
    """A statement that the database was given."""

    sql: str
    options: dict[str, Any]


def counts(ledger: Ledger, run: Run, profile: str = "fast") -> ProfileCounts:
    """The counters of a profile."""
    profiles = {one.profile: one for one in ledger.snapshot(run).profiles}
    return profiles[profile]


def everything(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with ledger.reading() as connection:
        return {
            name: [
                dict(row._mapping)
                for row in connection.execute(text(f"SELECT * FROM {name} ORDER BY 1, 2"))  # noqa: S608
            ]
            for name in inspect(connection).get_table_names()
        }
