"""Reading the histograms of a run."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, Table, func, select

from sms_pipeline.ledger.mapping import known


def read_histograms(connection: Connection, table: Table, run_id: int) -> dict[str, dict[int, int]]:
    """Messages by profile, then by bucket, over all workers."""
    time = table.c
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for profile, bucket, messages in connection.execute(
        select(time.profile, time.bucket, func.sum(time.messages))
        .where(time.run == run_id)
        .group_by(time.profile, time.bucket)
    ):
        found[profile][known(bucket, "bucket")] = int(messages or 0)
    return found
