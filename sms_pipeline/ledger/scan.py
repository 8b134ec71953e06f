"""One run's rows, streamed for the audit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, select

from sms_pipeline.core.errors import UnknownRunError
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.core.records import Absorbed, BatchRow, Failure, Key, Run, Settlement, Step
from sms_pipeline.core.seal import Link, Place, first_link
from sms_pipeline.ledger import chains, schema
from sms_pipeline.ledger.mapping import known, to_batch, to_failure, to_run, to_settlement
from sms_pipeline.ledger.queries import read_steps, settled_workers
from sms_pipeline.ledger.sums import CounterRow, Dispatched, Handed, Settler

_STORED = tuple(name for name in CounterRow._fields[2:] if name not in ("timed", "times"))


class Records:
    """One run's rows, for the audit: streams in order of the batch number."""

    def __init__(self, connection: Connection, run: Run) -> None:
        self._connection = connection.execution_options(yield_per=1_000)
        self._run = run

    def batches(self) -> Iterator[BatchRow]:
        """By number."""
        table = schema.batches
        for row in self._rows(table, table.c.number):
            yield to_batch(row)

    def settlements(self) -> Iterator[Settlement]:
        """By batch number, then attempt."""
        table = schema.settlements
        for row in self._rows(table, table.c.batch, table.c.attempt):
            yield to_settlement(row)

    def failures(self) -> Iterator[Failure]:
        """By batch number."""
        table = schema.failures
        for row in self._rows(table, table.c.batch, table.c.message_index):
            yield to_failure(row)

    def counters(self) -> list[CounterRow]:
        """The counter table."""
        times: dict[Settler, Counter[int]] = defaultdict(Counter)
        for row in self._rows(schema.delivery_times):
            times[row.profile, row.worker][row.bucket] += row.messages
        stored = {
            (row.profile, row.worker): {name: getattr(row, name) for name in _STORED}
            for row in self._rows(schema.counters)
        }
        return [
            CounterRow(
                *key,
                **stored.get(key, dict.fromkeys(_STORED, 0)),
                timed=times[key].total(),
                times=times[key],
            )
            for key in sorted({*stored, *times})
        ]

    def receipts(self) -> Iterator[tuple[Key, OnPhone]]:
        """What was recorded of delivery receipts, by batch number, then attempt."""
        table = schema.receipts
        for row in self._rows(table, table.c.batch, table.c.attempt):
            key = row.run, row.batch, row.attempt
            yield key, OnPhone(row.receipts, row.missing, row.seconds)

    def receipt_counters(self) -> dict[Settler, OnPhone]:
        """Their sums, with the histograms."""
        times: dict[Settler, Counter[int]] = defaultdict(Counter)
        for row in self._rows(schema.receipt_times):
            times[row.profile, row.worker][row.bucket] += row.messages
        sums = {
            (row.profile, row.worker): (row.receipts, row.missing, row.seconds, row.longest)
            for row in self._rows(schema.receipt_counters)
        }
        nothing = 0, 0, 0.0, 0.0
        return {key: OnPhone(*sums.get(key, nothing), times=times[key]) for key in {*sums, *times}}

    def dispatched(self) -> dict[str, Dispatched]:
        """The dispatch counters, by profile."""
        rows = self._rows(schema.dispatched)
        return {row.profile: Dispatched(row.batches, row.messages, row.last_at) for row in rows}

    def handed_over(self) -> Handed:
        """What went from profile to profile."""
        rows = self._rows(schema.handed_over)
        return {(row.source, row.target, row.worker): (row.messages, row.untried) for row in rows}

    def run(self) -> Run:
        """The run as it stands now.

        Raises:
            UnknownRunError: it is not there any more.
        """
        return to_run(self._run_row())

    def steps(self) -> tuple[Step, ...]:
        """How it was steered, in order."""
        return read_steps(self._connection, self._run.id)

    def workers(self) -> frozenset[Settler]:
        """(worker, profile) of all that ever joined."""
        table = schema.workers.c
        return frozenset(map(tuple, self._connection.execute(select(table.id, table.profile))))

    # What was hashed

    def first_links(self) -> Callable[[str], Link]:
        """Where the chain of each writer begins."""
        ledger_id = self._connection.execute(select(schema.identity.c.id)).scalar_one()
        run_digest = self._run_row().digest
        return lambda writer: first_link(ledger_id, self._run.id, run_digest, writer)

    def links(self) -> Iterator[Link]:
        """By writer and place."""
        table = schema.links
        for row in self._rows(table, table.c.writer, table.c.place):
            yield Link(row.writer, row.place, row.digest)

    def hashed_steps(self) -> Iterator[tuple[Place, str, bytes]]:
        """Where each step is linked, what it is called, and what is hashed of it."""
        for row in self._rows(schema.steps, schema.steps.c.id):
            yield (row.writer, row.link), row.what, chains.encoded(schema.steps, row._mapping)

    def changed(self) -> Iterator[str]:
        """What is in no chain, and does not fit its own digest."""
        row = self._run_row()
        if chains.digest(schema.runs, row._mapping) != row.digest:
            yield "the record of the run was changed after it was written"
        worker = schema.workers.c
        settled = settled_workers(self._run.id).order_by(worker.id, worker.profile)
        for row in self._connection.execute(settled):
            if chains.digest(schema.workers, row._mapping) != row.digest:
                yield f"the record of worker {row.id} was changed after it was written"
        for row in self._rows(schema.absorbed):
            if chains.digest(schema.absorbed, row._mapping) != row.digest:
                yield f"what worker {row.worker} noted as {row.kind} was changed"

    def _run_row(self) -> Any:
        query = select(schema.runs).where(schema.runs.c.id == self._run.id)
        row = self._connection.execute(query).one_or_none()
        if row is None:
            raise UnknownRunError(f"the ledger has no run {self._run.id} any more")
        return row

    def absorbed(self) -> dict[str, tuple[int, int]]:
        """(batches, messages) that came twice, by kind."""
        sums: dict[str, tuple[int, int]] = {kind.value: (0, 0) for kind in Absorbed}
        for row in self._rows(schema.absorbed):
            batches, messages = sums[row.kind]
            sums[row.kind] = (batches + row.batches, messages + row.messages)
        return sums

    def _rows(self, table: Table, *order: Any) -> Iterator[Any]:
        query = select(table).where(table.c.run == self._run.id).order_by(*order)
        needed = [(n, one.name) for n, one in enumerate(table.columns) if not one.nullable]
        for row in self._connection.execute(query):
            if None in row:
                for place, name in needed:
                    known(row[place], name)
            yield row
