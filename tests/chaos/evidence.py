"""Reads what the checker compares: journals of the workers, and the ledger's rows by plain SQL.

None of the package's own reading is used: it would share its mistakes with what is tested.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.chaos.checker import Indexes, Played, Recorded

#: A ledger that does not answer by then counts as away.
CONNECT_SECONDS = 5


class Counts(NamedTuple):
    """Sums of the counter table."""

    attempts: int
    finished: int


class Evidence:
    """The ledger of one scenario, which is made for one run."""

    def __init__(self, url: str, run: int = 1) -> None:
        # The ledger may be killed, or its file replaced, between two looks at it.
        self._engine: Engine = (
            create_engine(url, poolclass=NullPool)
            if url.startswith("sqlite")
            else create_engine(
                url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_SECONDS}
            )
        )
        self._run = run

    def close(self) -> None:
        """Close what connections there are."""
        self._engine.dispose()

    def handed_over(self) -> int:
        """Messages that went from profile to profile: settled by another one than dispatched to."""
        query = """
            SELECT COALESCE(SUM(s.messages), 0) FROM settlements s
            JOIN batches b ON b.run = s.run AND b.number = s.batch
            WHERE s.run = :run AND s.profile <> b.profile"""
        ((messages,),) = self._rows(query)
        return int(messages)

    def counts(self) -> Counts | None:
        """What is counted now; None while the ledger is away or not made yet."""
        query = """
            SELECT COALESCE(SUM(attempts), 0),
                   COALESCE(SUM(delivered + failed + expired + cancelled), 0)
            FROM counters WHERE run = :run"""
        try:
            ((attempts, finished),) = self._rows(query)
        except DBAPIError:
            return None
        return Counts(int(attempts), int(finished))

    def settled_attempts(self, batch: int) -> int:
        """How many attempts of the batch are settled."""
        query = "SELECT COUNT(*) FROM settlements WHERE run = :run AND batch = :batch"
        ((count,),) = self._rows(query, batch=batch)
        return int(count)

    def left_over(self, batch: int) -> int:
        """Messages that the first attempt, which is settled, left for the second."""
        query = (
            "SELECT retried FROM settlements WHERE run = :run AND batch = :batch AND attempt = 0"
        )
        ((count,),) = self._rows(query, batch=batch)
        return int(count)

    def ledger_id(self) -> str:
        """What every batch of this ledger carries."""
        ((identity,),) = self._rows("SELECT id FROM ledger_identity")
        return str(identity)

    def recorded(self) -> Iterator[Recorded]:
        """Every settlement of the run."""
        ranges = {
            number: (first, size)
            for number, first, size in self._rows(
                "SELECT number, first_index, size FROM batches WHERE run = :run"
            )
        }
        unreached: dict[tuple[int, int], set[int]] = defaultdict(set)
        for batch, attempts, index in self._rows(
            "SELECT batch, attempts, message_index FROM failures WHERE run = :run"
        ):
            unreached[batch, attempts - 1].add(index)
        query = """
            SELECT batch, attempt, worker, cancelled, messages, taken, remainder
            FROM settlements WHERE run = :run"""
        for batch, attempt, worker, cancelled, messages, taken, remainder in self._rows(query):
            first, size = ranges.get(batch, (0, 0))
            yield Recorded(
                worker=worker,
                batch=batch,
                attempt=attempt,
                taken=_all(first, size) if taken is None else _indexes(first, taken),
                remainder=frozenset() if remainder is None else _indexes(first, remainder),
                unreached=frozenset(unreached[batch, attempt]),
                cancelled=cancelled == messages,
            )

    def _rows(self, query: str, **values: Any) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(text(query), {"run": self._run, **values}))


def read_journals(folder: Path, run: int = 1) -> Iterator[Played]:
    """Every attempt noted in the files of `folder`."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            if entry["run"] != run:
                continue
            first, taken = entry["first_index"], entry["taken"]
            whole = _all(first, entry["size"])
            yield Played(
                worker=entry["worker"],
                batch=entry["batch"],
                attempt=entry["attempt"],
                taken=whole if taken is None else _indexes(first, base64.b64decode(taken)),
                delivered=_indexes(first, base64.b64decode(entry["delivered"])),
            )


def _all(first: int, size: int) -> Indexes:
    return frozenset(range(first, first + size))


def _indexes(first: int, bitmap: bytes) -> Indexes:
    offsets = np.flatnonzero(np.unpackbits(np.frombuffer(bitmap, np.uint8)))
    return frozenset((first + offsets).tolist())
