"""Checks a file of recipients before a run starts: each row, so that nothing is sent if one is bad.

What was found is kept with the run, the file's SHA-256 among it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from sms_pipeline.config.files import override_simulation
from sms_pipeline.config.reading import shown
from sms_pipeline.core.counts import how_many
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.messages import SEPARATOR, joined
from sms_pipeline.core.parts import count_parts
from sms_pipeline.core.recipients import NUMBER_PATTERN, Recipients
from sms_pipeline.core.simulation import MAX_TEXT_LENGTH, Simulation
from sms_pipeline.core.template import Template
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.follow_up import Chosen, rows_for
from sms_pipeline.producer.table import Chunk, Table, open_table

#: Told how many rows have been checked so far.
Tell = Callable[[int], object]

_NUMBER = re.compile(NUMBER_PATTERN)
_NUMBERS = re.compile(rf"(?:{NUMBER_PATTERN}{SEPARATOR})++")
#: One behind the number, one behind the text.
_SEPARATORS = 2


class Stamp(NamedTuple):
    """What changes when somebody writes to a file, or puts another in its place."""

    inode: int
    size: int
    changed_at: int

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """None if the file is not there."""
        try:
            stat = path.stat()
        except (OSError, ValueError):
            return None
        return cls(stat.st_ino, stat.st_size, stat.st_mtime_ns)


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{shown(path)}: can't be read: {reason}") from error


def examined(
    simulation: Simulation,
    only_first: bool,
    tell: Tell | None = None,
    ledger: Ledger | None = None,
) -> Simulation:
    """`simulation` with what was found in its file of recipients; as it is if it names none.

    Args:
        simulation: what a user asked for.
        only_first: send to the first `num_messages` rows only, not to all.
        tell: told how far it is.
        ledger: where earlier runs are, for those who go to the same people.

    Raises:
        ConfigError: the file can't be used; the message names the line.
        MissingPackagesError: it is Parquet, and the package that reads it is not installed.
    """
    if simulation.recipients is None:
        return simulation
    # Absolute: the run may be resumed from another folder.
    path = Path(simulation.recipients.file).resolve()
    stamp, table = Stamp.of(path), open_table(path)
    sha256 = fingerprint(path)
    if simulation.recipients.sha256 not in (None, sha256):
        raise ConfigError(f"{shown(path)}: is not the file that was asked for: its SHA-256 differs")
    wanted = simulation.num_messages if only_first else None
    only = simulation.recipients.only
    if only:
        table = _chosen(table, only, sha256, ledger)
    found = _Examination(table, simulation.recipients, simulation.text or "", wanted)
    found.look_at_all(tell)
    if not found.rows:
        if only:
            raise ConfigError(f"{only}: there is nobody of that kind in {shown(path)}")
        raise ConfigError(f"{shown(path)}: has no rows after its header")
    if wanted is not None and wanted > found.rows:
        raise ConfigError(
            f"{shown(path)}: has {how_many(found.rows, 'row')}, but num_messages asks for {wanted}"
        )
    if Stamp.of(path) != stamp:
        raise ConfigError(f"{shown(path)}: was changed while it was checked; try again")
    recipients = {
        **simulation.recipients.model_dump(),
        "file": str(path),
        "contents": {"sha256": sha256, **found.contents()},
    }
    return override_simulation(
        simulation,
        {
            "recipients": recipients,
            "num_messages": wanted or found.rows,
            "messages_from": "recipients",
        },
    )


def _chosen(table: Table, only: str, sha256: str, ledger: Ledger | None) -> Table:
    """Those of a table that an earlier run reached, or did not."""
    if ledger is None:
        raise ConfigError(f"recipients.only: {only!r} needs a ledger: use 'run' or 'produce'")
    return Chosen(table, rows_for(ledger, only, sha256))


class _Examination:
    """Looks at each row once, as it will be sent."""

    def __init__(self, table: Table, recipients: Recipients, text: str, wanted: int | None) -> None:
        self._table = table
        self._template = Template(text)
        self._wanted = wanted
        self.columns = (recipients.column, *self._template.fields)
        self.rows = self.parts = self.message_bytes = 0

    def look_at_all(self, tell: Tell | None) -> None:
        """
        Raises:
            ConfigError: a row can't be sent.
        """
        for chunk in self._table.chunks(self.columns):
            self._look_at(chunk)
            self.rows += len(chunk[0])
            if tell:
                tell(self.rows)

    def contents(self) -> dict[str, Any]:
        """What was found, as a run keeps it."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "parts": self.parts,
            "message_bytes": self.message_bytes,
        }

    def _look_at(self, chunk: Chunk) -> None:
        numbers, *fields = chunk
        if not _NUMBERS.fullmatch(SEPARATOR.join([*numbers, ""])):
            self._refuse_number(numbers)
        texts = self._template.fill(fields, len(numbers))
        lengths = list(map(len, texts))
        if min(lengths) == 0 or max(lengths) > MAX_TEXT_LENGTH:
            self._refuse_text(lengths)
        column = joined(texts)
        left = len(texts) if self._wanted is None else max(self._wanted - self.rows, 0)
        self.parts += int(count_parts(column)[:left].sum())
        longest = max(lengths) if column.isascii() else max(len(text.encode()) for text in texts)
        longest += max(map(len, numbers)) + _SEPARATORS
        self.message_bytes = max(self.message_bytes, longest)

    def _refuse_number(self, numbers: Sequence[str]) -> NoReturn:
        at = next(at for at, number in enumerate(numbers) if not _NUMBER.fullmatch(number))
        raise ConfigError(
            f"{self._table.place(self.rows + at)}: column {self.columns[0]!r} has no phone number "
            "in it; 'sms-pipeline recipients' makes a clean file"
        )

    def _refuse_text(self, lengths: Sequence[int]) -> NoReturn:
        at = next(at for at, some in enumerate(lengths) if not 0 < some <= MAX_TEXT_LENGTH)
        what = (
            f"the text has {lengths[at]} characters, more than the {MAX_TEXT_LENGTH} allowed"
            if lengths[at]
            else "the text is empty"
        )
        raise ConfigError(f"{self._table.place(self.rows + at)}: {what}")
