"""The figures of a run, computed from the tables of its ledger alone: no code of the package.

It is written after the words of the glossary, so that a figure that means something else than it
says is found out.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

#: Buckets of the table of delivery times: bucket b ends at 0.001 s * 2**(b / 8).
SHORTEST_SECONDS, BUCKETS_PER_DOUBLING = 0.001, 8
#: A worker that did not sign off is taken to have lived for so long after it was seen last.
SEEN_AGAIN_SECONDS = 2.0
#: What becomes of messages.
ENDS = ("delivered", "failed", "expired", "cancelled")


@dataclass(frozen=True)
class Figures:
    """What is told of all messages, or of those of a profile."""

    counts: dict[str, int]
    attempts: int
    failed_attempts: int
    mean_delivery: float
    mean_transit: float
    #: At senders, an attempt, and all attempts of a message.
    mean_send: float
    mean_send_in_all: float


class Truth:
    """A run that is done, read once."""

    def __init__(self, file: Path, run: int) -> None:
        self.run, *_ = _rows(file, "SELECT * FROM runs WHERE id = ?", run)
        self.batches = _rows(file, "SELECT * FROM batches WHERE run = ?", run)
        self.settlements = _rows(
            file, "SELECT * FROM settlements WHERE run = ? ORDER BY settled_at", run
        )
        self.workers = _rows(
            file,
            "SELECT * FROM workers w WHERE EXISTS (SELECT 1 FROM settlements s"
            " WHERE s.run = ? AND s.worker = w.id AND s.profile = w.profile)",
            run,
        )
        self.buckets = _rows(
            file,
            "SELECT bucket, sum(messages) AS messages FROM delivery_times WHERE run = ?"
            " GROUP BY bucket ORDER BY bucket",
            run,
        )

    @property
    def profiles(self) -> list[str]:
        """Those that messages were dispatched to."""
        return sorted({row["profile"] for row in self.batches})

    def figures(self, profile: str | None = None) -> Figures:
        """Of all messages, or of those of a profile."""
        rows = [row for row in self.settlements if profile in (None, row["profile"])]
        counts = {name: sum(row[name] for row in rows) for name in ENDS}
        attempts = sum(row["messages"] - row["expired"] - row["cancelled"] for row in rows)
        timed = counts["delivered"] + counts["failed"]
        return Figures(
            counts=counts,
            attempts=attempts,
            failed_attempts=sum(row["retried"] + row["failed"] for row in rows),
            mean_delivery=_sum(rows, "delivery_seconds") / timed,
            mean_transit=_sum(rows, "transit_seconds") / timed,
            mean_send=_sum(rows, "send_seconds") / attempts,
            mean_send_in_all=_sum(rows, "send_seconds") / timed,
        )

    def share(self, profile: str) -> float:
        """The profile's part of all messages."""
        sizes: Counter[str] = Counter()
        for row in self.batches:
            sizes[row["profile"]] += row["size"]
        return sizes[profile] / sizes.total()

    @property
    def seconds(self) -> float:
        """From the start of the run to its last settlement."""
        return float(self.settlements[-1]["settled_at"] - self.run["started_at"])

    @property
    def average_rate(self) -> float:
        """Messages delivered or failed per second, over the whole run."""
        counts = self.figures().counts
        return (counts["delivered"] + counts["failed"]) / self.seconds

    def efficiency(self, profile: str) -> float:
        """Seconds on attempts, per second that senders were there while the run was on."""
        rows = [row for row in self.settlements if row["profile"] == profile]
        there = sum(self._there(worker) for worker in self.workers if worker["profile"] == profile)
        return _sum(rows, "send_seconds") / there

    def _there(self, worker: Row) -> float:
        start, end = self.run["started_at"], self.settlements[-1]["settled_at"]
        left_at = worker["left_at"] or worker["seen_at"] + SEEN_AGAIN_SECONDS
        seconds = min(end, left_at) - max(start, worker["joined_at"])
        return float(worker["senders"] * max(seconds, 0.0))

    def time_to_reach(self, share: float) -> float | None:
        """Seconds from the start until that share of all messages was delivered."""
        wanted, delivered = math.ceil(share * self.run["total"]), 0
        for row in self.settlements:
            delivered += row["delivered"]
            if delivered >= wanted:
                return float(row["settled_at"] - self.run["started_at"])
        return None

    def percentile(self, share: float) -> float:
        """The delivery time within which that share ended: exact, for batches of one message."""
        assert all(row["size"] == 1 for row in self.batches)
        ended = [row for row in self.settlements if row["delivered"] + row["failed"]]
        times = sorted(row["delivery_seconds"] for row in ended)
        return float(times[math.ceil(share * len(times)) - 1])

    def bucket_end(self, share: float) -> float:
        """The end of the bucket in which that share is passed."""
        wanted = share * sum(row["messages"] for row in self.buckets)
        passed = 0
        for row in self.buckets:
            passed += row["messages"]
            if passed >= wanted:
                break
        return float(SHORTEST_SECONDS * 2 ** (row["bucket"] / BUCKETS_PER_DOUBLING))


def _rows(file: Path, query: str, run: int) -> list[Row]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, (run,))]


def _sum(rows: Iterable[Row], name: str) -> float:
    return math.fsum(row[name] for row in rows)
