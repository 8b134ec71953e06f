"""Delivery receipts in the ledger: recorded with their settlements, counted, read.

They have tables of their own, so that runs without receipts write and read nothing more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select

from sms_pipeline.core.receipts import OnPhone, total_on_phone
from sms_pipeline.core.records import Key, Settlement
from sms_pipeline.ledger import chains, schema
from sms_pipeline.ledger.database import Database
from sms_pipeline.ledger.histograms import read_histograms
from sms_pipeline.ledger.mapping import known


def receipt_columns(key: Key, on_phone: OnPhone) -> dict[str, Any]:
    """The row that is recorded with a settlement."""
    run, batch, attempt = key
    return {
        "run": run,
        "batch": batch,
        "attempt": attempt,
        "receipts": on_phone.receipts,
        "missing": on_phone.missing,
        "seconds": on_phone.seconds,
    }


def encoded_receipts(settlement: Settlement) -> bytes:
    """What is hashed of them with their settlement; nothing where there are none."""
    on_phone = settlement.on_phone
    if on_phone is None:
        return b""
    return chains.encoded(schema.receipts, receipt_columns(settlement.key, on_phone))


def record(database: Database, connection: Connection, settlements: Iterable[Settlement]) -> None:
    """Write and count the receipts of settlements that are new."""
    pairs = [(one, one.on_phone) for one in settlements if one.on_phone is not None]
    if not pairs:
        return
    rows = [receipt_columns(one.key, on_phone) for one, on_phone in pairs]
    connection.execute(schema.receipts.insert(), rows)
    groups: dict[tuple[int, str, str], list[OnPhone]] = defaultdict(list)
    for one, on_phone in pairs:
        groups[one.key[0], one.profile, one.worker].append(on_phone)
    sums = [
        ({"run": run, "profile": profile, "worker": worker}, total_on_phone(group))
        for (run, profile, worker), group in sorted(groups.items())
    ]
    database.add(connection, schema.receipt_times, list(_histograms(sums)))
    database.add(connection, schema.receipt_counters, [key | _sums(one) for key, one in sums])


def _sums(one: OnPhone) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("receipts", "missing", "seconds", "longest")}


def _histograms(sums: Iterable[tuple[dict[str, Any], OnPhone]]) -> Iterator[dict[str, Any]]:
    for key, one in sums:
        for bucket, messages in sorted(one.times.items()):
            yield key | {"bucket": bucket, "messages": messages}


def with_receipts(
    chain: Sequence[Settlement], noted: Iterable[tuple[Key, OnPhone]]
) -> list[Settlement]:
    """Settlements as they were made, with the receipts that were recorded with them."""
    found = dict(noted)
    return [replace(one, on_phone=found[one.key]) if one.key in found else one for one in chain]


def read_on_phone(connection: Connection, run_id: int) -> dict[str, OnPhone]:
    """By profile; only those that have receipts."""
    counter = schema.receipt_counters.c
    found = connection.execute(
        select(
            counter.profile,
            func.sum(counter.receipts),
            func.sum(counter.missing),
            func.sum(counter.seconds),
            func.max(counter.longest),
        )
        .where(counter.run == run_id)
        .group_by(counter.profile)
    ).all()
    if not found:
        return {}
    times = read_histograms(connection, schema.receipt_times, run_id)
    return {
        known(profile, "profile"): OnPhone(
            int(receipts or 0),
            int(missing or 0),
            float(seconds or 0),
            float(longest or 0),
            times[profile],
        )
        for profile, receipts, missing, seconds, longest in found
    }
