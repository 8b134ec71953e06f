"""Reads a ledger with SQL of its own, and proves that every message was counted exactly once.

It compares sets of messages, not totals: one lost and one doubled would leave those equal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

Row = dict[str, Any]

#: What one attempt at a message can come to; all but a retry are final.
OUTCOMES = ("delivered", "failed", "expired", "cancelled", "retried")
#: Columns of the counter table that are sums over settlements.
SUMMED = ("delivered", "failed", "expired", "cancelled", "retried")


def rows(database_url: str, table: str, run: int) -> list[Row]:
    """All rows of a run in one table."""
    column = "id" if table == "runs" else "run"
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        query = text(f"SELECT * FROM {table} WHERE {column} = :run")  # noqa: S608 - our own names
        return [dict(row._mapping) for row in connection.execute(query, {"run": run})]


def finished(database_url: str, run: int) -> int:
    """Messages of a run in a terminal state, as the counter table has it."""
    return sum(
        row[name]
        for row in rows(database_url, "counters", run)
        for name in OUTCOMES
        if name in row and name != "retried"
    )


def assert_counted_once(database_url: str, run: int, total: int, failover: bool = False) -> None:
    """Every message of the run 0 … total-1 came to exactly one end, and the counters say so."""
    batches = sorted(rows(database_url, "batches", run), key=lambda row: row["number"])
    settlements = rows(database_url, "settlements", run)
    _assert_batches_partition(batches, total)
    attempts: dict[int, list[Row]] = defaultdict(list)
    for settlement in settlements:
        attempts[settlement["batch"]].append(settlement)
    assert set(attempts) == {batch["number"] for batch in batches}
    for batch in batches:
        _assert_attempts_chain(batch, attempts[batch["number"]], failover)
    _assert_counters_are_sums(settlements, rows(database_url, "counters", run))
    assert finished(database_url, run) == total
    _assert_failures_listed(database_url, run, batches, settlements)


def _assert_batches_partition(batches: list[Row], total: int) -> None:
    index = 0
    for number, batch in enumerate(batches):
        assert (batch["number"], batch["first_index"]) == (number, index)
        assert batch["published_at"] is not None
        index += batch["size"]
    assert index == total


def _assert_attempts_chain(batch: Row, settlements: list[Row], failover: bool) -> None:
    """Attempt 0 takes all, each further one exactly what the one before left, the last leaves none.

    Together with the counts this says that each message has one end.
    """
    chain = sorted(settlements, key=lambda row: row["attempt"])
    assert [row["attempt"] for row in chain] == list(range(len(chain)))
    left = _messages(None, batch["size"])
    for row in chain:
        assert failover or row["profile"] == batch["profile"]
        assert _messages(row["taken"], batch["size"]) == left
        assert row["messages"] == len(left)
        assert sum(row.get(name, 0) for name in OUTCOMES) == len(left)
        retried = row["remainder"]
        left, before = _messages(retried, batch["size"]) if retried else set(), left
        assert left <= before
        assert row["retried"] == len(left)
    assert not left, f"batch {batch['number']}: {len(left)} messages have no end"


def _messages(bitmap: bytes | None, size: int) -> set[int]:
    if bitmap is None:
        return set(range(size))
    bits = np.unpackbits(np.frombuffer(bytes(bitmap), np.uint8))
    return set(np.flatnonzero(bits).tolist())


def _assert_counters_are_sums(settlements: list[Row], counters: list[Row]) -> None:
    expected: Counter[tuple[str, str, str]] = Counter()
    for row in settlements:
        key = (row["profile"], row["worker"])
        for name in SUMMED:
            expected[*key, name] += row.get(name, 0)
        expected[*key, "attempts"] += row["messages"]
        expected[*key, "first_attempts"] += 0 if row["attempt"] else row["messages"]
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in counters:
        for name in (*SUMMED, "attempts", "first_attempts"):
            counted[row["profile"], row["worker"], name] += row.get(name, 0)
    assert +counted == +expected


def _assert_failures_listed(
    database_url: str, run: int, batches: list[Row], settlements: list[Row]
) -> None:
    listed = rows(database_url, "failures", run)
    ranges = {
        batch["number"]: range(batch["first_index"], batch["first_index"] + batch["size"])
        for batch in batches
    }
    assert len({row["message_index"] for row in listed}) == len(listed)
    assert all(row["message_index"] in ranges[row["batch"]] for row in listed)
    assert len(listed) == sum(row["failed"] + row.get("expired", 0) for row in settlements)
