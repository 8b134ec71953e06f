"""Where a run's messages come from: its seed, or a file of recipients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from sms_pipeline.config.reading import shown
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.messages import SEPARATOR, Columns
from sms_pipeline.core.records import Run
from sms_pipeline.core.template import Template
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.follow_up import Chosen, rows_for
from sms_pipeline.producer.recipients import Stamp, fingerprint
from sms_pipeline.producer.table import Chunk, Table, open_table

#: Makes the messages of a batch.
Make = Callable[[], Columns]


class Messages(Protocol):
    """The messages of a run."""

    def take(self, first_index: int, size: int) -> Make:
        """What makes so many messages; it may be called in any thread.

        Fastest where a range begins where the last one ended.

        Raises:
            ConfigError: they can't be had any more.
        """


class Generated:
    """Messages that follow from the seed."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def take(self, first_index: int, size: int) -> Make:
        """See `Messages.take`."""
        return partial(self._run.simulation.columns, self._run.seed, first_index, size)


def messages_of(ledger: Ledger, run: Run, moved_to: Path | None = None) -> Messages:
    """The messages of a run.

    Args:
        ledger: where an earlier run to the same people is.
        run: the run.
        moved_to: where its file of recipients is now, if it is not where it was.

    Raises:
        ConfigError: its file is not there, or is another one than it was.
    """
    recipients = run.simulation.recipients
    if recipients is None or recipients.contents is None:
        if moved_to:
            raise ConfigError(f"run {run.id} has no file of recipients: leave out --recipients")
        return Generated(run)
    path = moved_to or Path(recipients.file)
    stamp = Stamp.of(path)
    if fingerprint(path) != recipients.contents.sha256:
        raise ConfigError(
            f"{shown(path)}: is not the file that run {run.id} was started with: its SHA-256 "
            f"differs. Put that one back, or end the run: sms-pipeline cancel {run.id}"
        )
    table, only = open_table(path), recipients.only
    if only:
        table = Chosen(table, rows_for(ledger, only, recipients.contents.sha256))
    return FromFile(run, path, stamp, table)


class FromFile:
    """Messages to the rows of a file, which is read along with the run."""

    def __init__(self, run: Run, path: Path, stamp: Stamp | None, table: Table) -> None:
        recipients, text = run.simulation.recipients, run.simulation.text
        if recipients is None or recipients.contents is None or text is None:
            raise ValueError("the run has no recipients of its own")
        self._run = run
        self._path = path
        self._stamp = stamp
        self._table = table
        self._columns = recipients.contents.columns
        self._template = Template(text)
        self._rewind()

    def take(self, first_index: int, size: int) -> Make:
        """See `Messages.take`. The rows are read now, the texts are made when it is called."""
        if first_index < self._next:
            self._rewind()
        self._read(first_index - self._next, keep=False)
        numbers, *fields = self._read(size)
        # What was read before is what was checked, if nobody has written since.
        if Stamp.of(self._path) != self._stamp:
            raise self._changed(first_index)
        return partial(self._make, numbers, fields)

    def _rewind(self) -> None:
        self._chunks: Iterator[Chunk] = self._table.chunks(self._columns)
        self._chunk: Chunk = [[] for _ in self._columns]
        #: The next row, in the file and in the chunk.
        self._next = self._at = 0

    def _read(self, rows: int, keep: bool = True) -> list[list[str]]:
        """So many rows, as columns; without `keep` they are only passed by."""
        found: list[list[str]] = [[] for _ in self._columns]
        while rows:
            if self._at == len(self._chunk[0]):
                self._chunk, self._at = self._following(), 0
            end = min(self._at + rows, len(self._chunk[0]))
            if keep:
                for kept, column in zip(found, self._chunk, strict=True):
                    kept.extend(column[self._at : end])
            rows -= end - self._at
            self._next += end - self._at
            self._at = end
        return found

    def _following(self) -> Chunk:
        for chunk in self._chunks:
            return chunk
        raise self._changed(self._next)

    def _changed(self, row: int) -> ConfigError:
        return ConfigError(
            f"{shown(self._path)}: was changed in mid-run, and nothing was sent from message "
            f"{row} on. Put the file back as it was, then: sms-pipeline resume {self._run.id}"
        )

    def _make(self, numbers: Sequence[str], fields: Sequence[Sequence[str]]) -> Columns:
        return Columns(SEPARATOR.join(numbers), self._template.column(fields, len(numbers)))
