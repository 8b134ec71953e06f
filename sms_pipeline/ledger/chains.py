"""The chains of a ledger's writers: what is hashed of each row, and how a transaction is linked."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, select
from sqlalchemy.exc import IntegrityError

from sms_pipeline.core import seal
from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.seal import Link, Value
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.columns import Number
from sms_pipeline.ledger.database import Database

#: What changes after a row was written, and what is reckoned from the others.
_LEFT_OUT = {
    schema.runs: {"id", "control", "next_index", "next_batch", "digest"},
    schema.batches: {"published_at"},
    schema.workers: {"heartbeat", "left_at", "seen_at", "digest"},
    schema.absorbed: {"digest"},
}
_WRITER_DIGITS = 12

#: A row to be stored, or one that was read.
Row = Mapping[str, Any] | RowMapping


def _sealed(table: Table) -> list[tuple[str, bool]]:
    """Columns that are hashed, and whether they hold fractions."""
    left_out = _LEFT_OUT.get(table, set())
    return [
        (column.name, isinstance(column.type, Number))
        for column in table.columns
        if column.name not in left_out
    ]


_COLUMNS = {
    table: _sealed(table)
    for table in (
        schema.runs,
        schema.steps,
        schema.batches,
        schema.settlements,
        schema.workers,
        schema.absorbed,
        schema.counters,
        schema.delivery_times,
        schema.dispatched,
        schema.receipts,
        schema.receipt_counters,
        schema.receipt_times,
    )
}


def values(table: Table, row: Row) -> list[Value]:
    """What is hashed of a row, in the order of its columns."""
    return [
        float(row[name]) if fraction and row[name] is not None else row[name]
        for name, fraction in _COLUMNS[table]
    ]


def encoded(table: Table, row: Row) -> bytes:
    """The same, as bytes."""
    return seal.encode((table.name, *values(table, row)))


def digest(table: Table, row: Row) -> str:
    """Of a row that its writer alone changes, and that is in no chain."""
    return seal.digest_of(table.name, *values(table, row))


def encoded_settlement(row: Row, failed: Sequence[int], expired: Sequence[int]) -> bytes:
    """A settlement's row with the messages that it ended and did not deliver."""
    listed = (seal.encode_indexes(failed), seal.encode_indexes(expired))
    return encoded(schema.settlements, row) + seal.encode(listed)


class Writer:
    """One kind of rows that a process writes, linked in one chain for each run.

    No other process and no other thread writes on it at the same time, so its last link is known
    without being read.
    """

    def __init__(self, kind: str, ledger_id: str) -> None:
        self.name = f"{kind}-{uuid.uuid4().hex[:_WRITER_DIGITS]}"
        self._ledger_id = ledger_id
        self._last: dict[int, Link] = {}
        self._turn = threading.Lock()

    @contextmanager
    def writing(self, database: Database) -> Iterator[Connection]:
        """A transaction in which rows of this kind may be written; see `Database.writing`."""
        with self._turn:
            try:
                with database.writing() as connection:
                    yield connection
            except BaseException:
                # Whether it was committed is not known.
                self.forget()
                raise

    def signature(self, connection: Connection, run_id: int) -> dict[str, Any]:
        """The columns that say who writes a row of the run, and as which link."""
        return {"writer": self.name, "link": self._end(connection, run_id).place + 1}

    def link(self, connection: Connection, run_id: int, rows: list[bytes]) -> None:
        """Add the link of what this transaction wrote of a run, encoded."""
        if not rows:
            return
        link = seal.next_link(self._end(connection, run_id), rows)
        try:
            connection.execute(schema.links.insert(), {"run": run_id, **link._asdict()})
        except IntegrityError as error:
            # An earlier transaction of unknown outcome was committed after all, just now.
            raise LedgerUnavailableError("the ledger was written by a lost connection") from error
        self._last[run_id] = link

    def forget(self) -> None:
        """Read the ends of the chains again: a lost transaction may be committed meanwhile."""
        self._last.clear()

    def _end(self, connection: Connection, run_id: int) -> Link:
        if run_id not in self._last:
            self._last[run_id] = self._read_end(connection, run_id)
        return self._last[run_id]

    def _read_end(self, connection: Connection, run_id: int) -> Link:
        link = schema.links.c
        query = (
            select(link.writer, link.place, link.digest)
            .where(link.run == run_id, link.writer == self.name)
            .order_by(link.place.desc())
            .limit(1)
        )
        row = connection.execute(query).one_or_none()
        if row is not None:
            return Link(*row)
        run = select(schema.runs.c.digest).where(schema.runs.c.id == run_id)
        return seal.first_link(
            self._ledger_id, run_id, connection.execute(run).scalar() or "", self.name
        )
