"""Makes a clean file of recipients: numbers in E.164, each once, none of those to be left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.config.reading import shown
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.recipients import NUMBER_COLUMN
from sms_pipeline.producer.numbers import Numbers, Reader, Reject, e164
from sms_pipeline.producer.recipients import Stamp, Tell
from sms_pipeline.producer.table import Chunk, Table, open_table, positions
from sms_pipeline.producer.writing import open_sink

Progress = Callable[[str], Tell | None]
#: Where it is said which rows were left out.
_REJECT_COLUMNS = ("row", "number", "reason")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What came of a file."""

    rows: int
    kept: int
    rejected: Counter[Reject]
    #: Rows of the suppression lists that are no number.
    unread: dict[Path, int]


def clean(
    file: Path,
    output: Path,
    column: str = NUMBER_COLUMN,
    country: str | None = None,
    suppress: Sequence[Path] = (),
    rejects: Path | None = None,
    progress: Progress = lambda _: None,
) -> Cleaned:
    """Write the rows of `file` that can be sent to to `output`, with their other columns.

    Args:
        file: the recipients, as somebody has handed them over.
        output: where to; the format is that of its name.
        column: the numbers; it is called `to` in `output`.
        country: of the numbers that do not begin with +.
        suppress: files with numbers that must not be written to.
        rejects: where to write which rows were left out, and why.
        progress: makes what is told how far it is, from what it does.

    Raises:
        ConfigError: a file can't be read or written.
        MissingPackagesError: one is Parquet, and its package is not installed.
    """
    _require_apart(file, output, rejects, *suppress)
    stamp, table, reader = Stamp.of(file), open_table(file, nulls=True), Reader(country)
    (at,) = positions(file, table.names, [column])
    names = [NUMBER_COLUMN if place == at else name for place, name in enumerate(table.names)]
    if len(set(names)) < len(names):
        raise ConfigError(f"{shown(file)}: two columns would have the same name; rename one")
    unread, barred = dict[Path, int](), list[Numbers]()
    for path in suppress:
        named = _column_of(path, column, reader)
        found = _numbers(open_table(path, nulls=True), named, reader, progress("suppress"))
        barred.append(found[found > 0])
        unread[path] = int((found < 0).sum())
    numbers = _numbers(table, column, reader, progress("reading"))
    if not len(numbers):
        raise ConfigError(f"{shown(file)}: has no rows after its header")
    _suppress(numbers, barred)
    _drop_repeated(numbers)
    chunks = _read_again(file, stamp, table, len(numbers))
    _write(chunks, names, at, numbers, output, rejects, progress("writing"))
    rejected = Counter(Reject(int(number)) for number in numbers[numbers < 0])
    return Cleaned(len(numbers), int((numbers > 0).sum()), rejected, unread)


def _require_apart(file: Path, output: Path, rejects: Path | None, *suppress: Path) -> None:
    """Nothing that is read may be written over."""
    read = {path.resolve() for path in (file, *suppress)}
    written = [path.resolve() for path in (output, rejects) if path]
    if read & set(written) or len(set(written)) < len(written):
        raise ConfigError("each file that is read or written must be another one")


def _column_of(path: Path, column: str, reader: Reader) -> str:
    """A suppression list may call its numbers otherwise than the recipients, or have only them."""
    names = open_table(path).names
    if len(names) == 1 and int(reader.read(names)[0]) not in (Reject.EMPTY, Reject.NO_NUMBER):
        # Whoever is named there would get a message.
        raise ConfigError(f"{shown(path)}: begins with a number; write 'to' on a line above it")
    candidates = (column, NUMBER_COLUMN, *(names if len(names) == 1 else ()))
    return next((name for name in candidates if name in names), column)


def _numbers(table: Table, column: str, reader: Reader, tell: Tell | None) -> Numbers:
    found, rows = list[Numbers](), 0
    for (typed,) in table.chunks([column]):
        found.append(reader.read(typed))
        rows += len(typed)
        if tell:
            tell(rows)
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _suppress(numbers: Numbers, barred: Sequence[Numbers]) -> None:
    if barred:
        numbers[np.isin(numbers, np.concatenate(barred))] = Reject.SUPPRESSED


def _drop_repeated(numbers: Numbers) -> None:
    """Of rows with the same number the first stays."""
    order = np.argsort(numbers, kind="stable")
    in_order = numbers[order]
    again = np.zeros(len(numbers), np.bool_)
    again[1:] = (in_order[1:] == in_order[:-1]) & (in_order[1:] > 0)
    numbers[order[again]] = Reject.DUPLICATE


def _read_again(file: Path, stamp: Stamp | None, table: Table, rows: int) -> Iterator[Chunk]:
    """All of so many rows, as long as nobody writes to the file."""
    left = rows
    _require_same(file, Stamp.of(file) == stamp)
    for chunk in table.chunks(table.names):
        left -= len(chunk[0])
        _require_same(file, left >= 0 and Stamp.of(file) == stamp)
        yield chunk
    _require_same(file, left == 0 and Stamp.of(file) == stamp)


def _require_same(file: Path, same: bool) -> None:
    if not same:
        raise ConfigError(f"{shown(file)}: was changed while it was read; try again")


def _write(
    chunks: Iterator[Chunk],
    names: Sequence[str],
    at: int,
    numbers: Numbers,
    output: Path,
    rejects: Path | None,
    tell: Tell | None,
) -> None:
    with open_sink(output, names) as kept, open_sink(rejects, _REJECT_COLUMNS) as left_out:
        first = 0
        for chunk in chunks:
            mine = numbers[first : first + len(chunk[0])]
            kept.add(_kept(chunk, mine, at))
            if rejects:
                left_out.add(list(_left_out(chunk[at], mine, first)))
            first += len(chunk[0])
            if tell:
                tell(first)


def _kept(chunk: Chunk, numbers: Numbers, at: int) -> Chunk:
    good = np.flatnonzero(numbers > 0)
    written = e164(numbers[good].tolist())
    if len(good) == len(numbers):
        return [written if place == at else column for place, column in enumerate(chunk)]
    rows = good.tolist()
    return [
        written if place == at else [column[row] for row in rows]
        for place, column in enumerate(chunk)
    ]


def _left_out(typed: Sequence[str], numbers: Numbers, first: int) -> Iterator[Sequence[str]]:
    bad: NDArray[np.intp] = np.flatnonzero(numbers < 0)
    rows = bad.tolist()
    yield [str(first + row + 1) for row in rows]
    yield [typed[row] for row in rows]
    yield [Reject(int(numbers[row])).reason for row in rows]
