"""One run's rows, streamed for the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select

from sms_pipeline.core.records import Absorbed, BatchRow, Failure, Run, Settlement
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.mapping import to_settlement


class CounterRow(NamedTuple):
    """A row of the counter table, and the sum of its histogram."""

    profile: str
    worker: str
    settlements: int
    first_attempts: int
    attempts: int
    delivered: int
    failed: int
    expired: int
    cancelled: int
    retried: int
    timed: int


_STORED = CounterRow._fields[2:-1]


class Records:
    """One run's rows, for the audit: streams in order of the batch number."""

    def __init__(self, connection: Connection, run: Run) -> None:
        self._connection = connection.execution_options(yield_per=1_000)
        self._run = run

    def batches(self) -> Iterator[BatchRow]:
        """By number."""
        table = schema.batches
        for row in self._rows(table, table.c.number):
            yield BatchRow(**row._mapping)

    def settlements(self) -> Iterator[Settlement]:
        """By batch number, then attempt."""
        table = schema.settlements
        for row in self._rows(table, table.c.batch, table.c.attempt):
            yield to_settlement(row)

    def failures(self) -> Iterator[Failure]:
        """By batch number."""
        table = schema.failures
        for row in self._rows(table, table.c.batch, table.c.message_index):
            yield Failure(**{name: getattr(row, name) for name in Failure.__slots__})

    def counters(self) -> list[CounterRow]:
        """The counter table."""
        timed: Counter[tuple[str, str]] = Counter()
        for row in self._rows(schema.delivery_times):
            timed[row.profile, row.worker] += row.messages
        stored = {
            (row.profile, row.worker): {name: getattr(row, name) for name in _STORED}
            for row in self._rows(schema.counters)
        }
        return [
            CounterRow(*key, timed=timed[key], **stored.get(key, dict.fromkeys(_STORED, 0)))
            for key in sorted({*stored, *timed})
        ]

    def dispatched(self) -> dict[str, tuple[int, int]]:
        """(batches, messages) by profile, as the dispatch counters have them."""
        rows = self._rows(schema.dispatched)
        return {row.profile: (row.batches, row.messages) for row in rows}

    def position(self) -> tuple[int, int]:
        """Where dispatch stands: (next message index, next batch number)."""
        run = schema.runs.c
        query = select(run.next_index, run.next_batch).where(run.id == self._run.id)
        row = self._connection.execute(query).one()
        return row.next_index, row.next_batch

    def absorbed(self) -> dict[str, tuple[int, int]]:
        """(batches, messages) that came twice, by kind."""
        sums: dict[str, tuple[int, int]] = {kind.value: (0, 0) for kind in Absorbed}
        for row in self._rows(schema.absorbed):
            batches, messages = sums[row.kind]
            sums[row.kind] = (batches + row.batches, messages + row.messages)
        return sums

    def _rows(self, table: Table, *order: Any) -> Any:
        query = select(table).where(table.c.run == self._run.id).order_by(*order)
        return self._connection.execute(query)
