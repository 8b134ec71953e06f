"""Those of a file that an earlier run reached, or did not: for follow-ups and the all-clear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.bitmap import unpack_offsets
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.forecasts import require_sent
from sms_pipeline.ledger.scan import Records
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.table import Chunk, Table

#: Places in a file or in a run, ascending.
Places = NDArray[np.int64]


def earlier_run(ledger: Ledger, only: str) -> Run:
    """The run that `failed:RUN` or `delivered:RUN` names.

    Raises:
        UnknownRunError: there is none.
        ConfigError: it is a forecast, had no file of recipients, or is not done.
    """
    run = ledger.run(int(only.partition(":")[2]))
    require_sent(run)
    if run.simulation.recipients is None:
        raise ConfigError(f"{only}: run {run.id} went to no file of recipients")
    if not ledger.snapshot(run).done:
        raise ConfigError(f"{only}: run {run.id} is not done yet")
    return run


def rows_for(ledger: Ledger, only: str, sha256: str) -> Places:
    """The rows of the file with this SHA-256 that `only` means.

    Raises:
        UnknownRunError: there is no such run.
        ConfigError: it is a forecast, went to another file, or is not done.
    """
    run = earlier_run(ledger, only)
    recipients = run.simulation.recipients
    if not (recipients and recipients.contents and recipients.contents.sha256 == sha256):
        raise ConfigError(f"{only}: run {run.id} went to another file: its SHA-256 differs")
    chosen = _failed(ledger, run) if only.startswith("failed") else _delivered(ledger, run)
    # It may have been a follow-up itself.
    return rows_for(ledger, recipients.only, sha256)[chosen] if recipients.only else chosen


def _failed(ledger: Ledger, run: Run) -> Places:
    indexes = (failure.message_index for failure in ledger.failures(run.id))
    return np.fromiter(indexes, np.int64)


def _delivered(ledger: Ledger, run: Run) -> Places:
    reached = np.ones(run.total, np.bool_)
    reached[_failed(ledger, run)] = False
    with ledger.reading() as connection:
        records = Records(connection, run)
        batches = {batch.number: batch for batch in records.batches()}
        for settlement in records.settlements():
            if settlement.cancelled:
                batch, taken = batches[settlement.key[1]], settlement.taken
                offsets = np.arange(batch.size)
                if taken is not None:
                    offsets = unpack_offsets(taken, batch.size)
                reached[batch.first_index + offsets] = False
    return np.flatnonzero(reached)


class Chosen:
    """A table with some of the rows of another."""

    def __init__(self, table: Table, rows: Places) -> None:
        self._table = table
        self._rows = rows
        self.names: Sequence[str] = table.names

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """See `Table.chunks`."""
        first = 0
        for chunk in self._table.chunks(columns):
            end = first + len(chunk[0])
            start, stop = np.searchsorted(self._rows, (first, end))
            rows = (self._rows[start:stop] - first).tolist()
            if rows:
                yield [[column[row] for row in rows] for column in chunk]
            first = end

    def place(self, row: int) -> str:
        """See `Table.place`."""
        return self._table.place(int(self._rows[row]))
