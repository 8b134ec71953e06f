"""How settlements are recorded: each once, linked to what the process settled before, counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select

from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.records import Settled, Settlement
from sms_pipeline.ledger import chains, receipts, schema
from sms_pipeline.ledger.database import Database
from sms_pipeline.ledger.mapping import (
    answer_from,
    counter_sums,
    delivery_time_sums,
    failure_columns,
    hand_over_sums,
    settlement_columns,
)


class Settling:
    """Records what one process settles."""

    def __init__(self, database: Database, ledger_id: str, standing: Select[Any]) -> None:
        self._database = database
        self._writer = chains.Writer("settling", ledger_id)
        self._standing = standing

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        """See `Ledger.settle`."""
        ordered = sorted(group, key=lambda settlement: settlement.key)
        with self._writer.writing(self._database) as connection:
            rows = self._signed(connection, ordered)
            inserted = self._database.insert_new(connection, schema.settlements, rows)
            new_keys = {tuple(row[:3]) for row in inserted}
            answers = [self._answer(connection, s, s.key in new_keys) for s in group]
            # Rows that others wait for come last: whoever vanishes here holds them briefly.
            pairs = zip(rows, ordered, strict=True)
            self._link(connection, [pair for pair in pairs if pair[1].key in new_keys])
            self._count(connection, [s for s in ordered if s.key in new_keys])
            if len(new_keys) < len(ordered):
                self._writer.forget()
        return answers

    def _signed(
        self, connection: Connection, settlements: Sequence[Settlement]
    ) -> list[dict[str, Any]]:
        signatures = {
            run_id: self._writer.signature(connection, run_id)
            for run_id in {settlement.key[0] for settlement in settlements}
        }
        return [settlement_columns(one) | signatures[one.key[0]] for one in settlements]

    def _link(
        self, connection: Connection, written: Iterable[tuple[dict[str, Any], Settlement]]
    ) -> None:
        by_run: dict[int, list[bytes]] = {}
        for row, settlement in written:
            encoded = chains.encoded_settlement(
                row, settlement.failed_indexes, settlement.expired_indexes
            )
            encoded += receipts.encoded_receipts(settlement)
            by_run.setdefault(settlement.key[0], []).append(encoded)
        for run_id, rows in by_run.items():
            self._writer.link(connection, run_id, rows)

    def _answer(self, connection: Connection, settlement: Settlement, new: bool) -> Settled:
        if new:
            return Settled(settlement.remainder)
        run_id, batch, attempt = settlement.key
        values = {"run_id": run_id, "batch_number": batch, "from_attempt": attempt}
        rows = connection.execute(self._standing, values).all()
        stored = answer_from(attempt, [(row.attempt, row.remainder) for row in rows])
        if stored is None:
            raise LedgerUnavailableError("a settlement disappeared while it was read")
        return stored

    def _count(self, connection: Connection, settlements: Sequence[Settlement]) -> None:
        rows = [row for settlement in settlements for row in failure_columns(settlement)]
        if rows:
            connection.execute(schema.failures.insert(), rows)
        receipts.record(self._database, connection, settlements)
        self._database.add(connection, schema.delivery_times, delivery_time_sums(settlements))
        self._database.add(connection, schema.handed_over, hand_over_sums(settlements))
        self._database.add(connection, schema.counters, counter_sums(settlements))
