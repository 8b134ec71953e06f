"""Reads tables that are too large for the memory: CSV, also packed by gzip, and Parquet.

No error repeats a value: whatever column it is from, it may be a phone number.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

import numpy as np

from sms_pipeline.config.reading import shown
from sms_pipeline.core.counts import how_many
from sms_pipeline.core.errors import ConfigError, MissingPackagesError

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_DELIMITERS = ",;\t|"
#: Rows that are held at once, or characters.
CHUNK_ROWS, BLOCK = 10_000, 250_000
#: Rows that the csv module makes at once. With 10,000 it takes three times as long: Python then
#: looks for garbage among their lists.
_PART_ROWS = 500
#: No line is longer, in characters; a file without line ends must not fill the memory.
MAX_LINE = 1_000_000
#: Longest part of a name that an error repeats.
_SHOWN_LENGTH = 40

#: A list with the values of each column, all equally long.
Chunk = Sequence[Sequence[str]]


class Table(Protocol):
    """A file with rows and named columns."""

    @property
    def names(self) -> Sequence[str]:
        """Of the columns."""

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """The rows of these columns, from the first on.

        Raises:
            ConfigError: the rest can't be read; the message names file and line.
        """

    def place(self, row: int) -> str:
        """Where a row is, for an error, as in `people.csv: line 3`; 0 is the first."""


def open_table(path: Path, nulls: bool = False) -> Table:
    """The table in a file.

    Args:
        path: of the file.
        nulls: whether a value may be missing, where a file knows that; it is read as empty.

    Raises:
        ConfigError: there is none.
        MissingPackagesError: it needs a package that is not installed.
    """
    with readable(path):
        if not path.is_file():
            # A pipe can be read only once, and a device might never end.
            raise ConfigError(f"{shown(path)}: can't be read: {_no_file(path)}")
        with path.open("rb") as file:
            start = file.read(len(_PARQUET))
    return _ParquetTable(path, nulls) if start == _PARQUET else _CsvTable(path)


def require_pyarrow(path: Path, doing: str) -> None:
    """Refuse Parquet where its package is missing; `doing` says what was to be done.

    Raises:
        MissingPackagesError: it is.
    """
    if find_spec("pyarrow") is None:
        raise MissingPackagesError(
            f"{shown(path)}: {doing} Parquet needs pyarrow; "
            f"install it with: {sys.executable} -m pip install pyarrow"
        )


def _no_file(path: Path) -> str:
    return "it is no file" if path.exists() else "there is no such file"


def positions(path: Path, names: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Where the columns are among the names of a header.

    Raises:
        ConfigError: one is not there, or is there twice.
    """
    for column in columns:
        if column not in names:
            has = ", ".join(masked(name) for name in names[:_LISTED_COLUMNS])
            more = ", …" if len(names) > _LISTED_COLUMNS else ""
            raise ConfigError(
                f"{shown(path)}: has no column {column!r}; its header has {has}{more}"
            )
        if names.count(column) > 1:
            raise ConfigError(f"{shown(path)}: has two columns {column!r}; rename one")
    return [names.index(column) for column in columns]


_LISTED_COLUMNS = 10


def masked(value: str) -> str:
    """A value that an error may repeat: whatever column it is from, it shows no phone number."""
    hidden = re.sub(r"\d", "#", " ".join(value.split()))
    return repr(hidden if len(hidden) <= _SHOWN_LENGTH else hidden[: _SHOWN_LENGTH - 1] + "…")


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, without the gzip that may be around them."""
    with path.open("rb") as file:
        if not file.peek(len(_GZIP)).startswith(_GZIP):
            yield file
            return
        with gzip.open(file) as inner:
            yield inner  # type: ignore[misc]


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Says in one line why a file can't be read.

    Raises:
        ConfigError: it can't.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{shown(path)}: the packed file is damaged or cut off") from error
    except OSError as error:
        raise ConfigError(f"{shown(path)}: can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{shown(path)}: can't be read: {error}") from error


#: What the csv module says, and what a user can do something about.
_CSV_PROBLEMS = {
    "new-line character": "a line ends with a carriage return only",
    "unexpected end": "a quote is not closed",
    "field larger": "a quote is not closed",
    "expected after": "something follows a closing quote",
}


def delimiter_of(header: str) -> str:
    """What most likely separates the fields of a table with this first line."""
    return max(_DELIMITERS, key=header.count)


def csv_problem(error: csv.Error) -> str:
    """What is wrong with a line, in words for whoever wrote it."""
    found = (what for words, what in _CSV_PROBLEMS.items() if words in str(error))
    return next(found, str(error))


class _CsvTable:
    """See `Table`. Empty lines are no rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._delimiter = self._find_delimiter()
        with self._text() as text, self._csv(text) as reader:
            self.names: list[str] = next(filter(None, reader), [])
        if not self.names:
            raise ConfigError(f"{shown(path)}: is empty; it must begin with a header row")

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """See `Table.chunks`."""
        places = positions(self._path, self.names, columns)
        with self._text() as text:
            first, rest = yield from self._plain(text, places)
            yield from self._quoted(text, rest, first, places)

    def place(self, row: int) -> str:
        """See `Table.place`."""
        with self._text() as text, self._csv(text) as reader:
            # The header is the first.
            next(islice(filter(None, reader), row + 1, None), None)
            return f"{shown(self._path)}: line {reader.line_num}"

    def _plain(
        self, text: io.TextIOWrapper, places: Sequence[int]
    ) -> Generator[Chunk, None, tuple[int, str]]:
        """The rows up to the first line that takes a reader of CSV; splitting is much faster.

        Returns how many there were, -1 if not even the header was plain, and what was read beyond.
        """
        width, rows = len(self.names), 0
        rest = text.readline(MAX_LINE)
        if self._split(rest, width) is None:
            return -1, rest
        rest = ""
        while block := text.read(BLOCK):
            end = block.rfind("\n") + 1
            lines, rest = rest + block[:end], block[end:] if end else rest + block
            if not end:
                return rows, rest
            fields = self._split(lines, width)
            if fields is None:
                return rows, lines + rest
            yield [fields[at::width] for at in places]
            rows += len(fields) // width
        return rows, rest

    def _split(self, lines: str, width: int) -> list[str] | None:
        """The fields of whole lines, one after the other; None if they need a closer look."""
        if "\r" in lines:
            lines = lines.replace("\r\n", "\n")
        if '"' in lines or "\r" in lines or not lines.endswith("\n"):
            return None
        data = np.frombuffer(lines.encode(), np.uint8)
        is_end = data == ord("\n")
        ends = is_end[is_end | (data == ord(self._delimiter))]
        if len(ends) % width:
            return None
        by_row = ends.reshape(-1, width)
        if not by_row[:, -1].all() or by_row[:, :-1].any():
            return None
        if width == 1 and (lines.startswith("\n") or "\n\n" in lines):
            return None
        return lines[:-1].replace("\n", self._delimiter).split(self._delimiter)

    def _quoted(
        self, text: io.TextIOWrapper, rest: str, first: int, places: Sequence[int]
    ) -> Iterator[Chunk]:
        """The rows of `rest` and of what is not read yet; -1 is the header."""
        picks = [itemgetter(at) for at in places]
        with self._csv(text, rest) as reader:
            rows = filter(None, reader)
            if first < 0:
                next(rows, None)
                first = 0
            columns: list[list[str]] = [[] for _ in picks]
            while part := list(islice(rows, min(_PART_ROWS, CHUNK_ROWS))):
                if set(map(len, part)) != {len(self.names)}:
                    self._refuse_ragged(first, part)
                for column, pick in zip(columns, picks, strict=True):
                    column.extend(map(pick, part))
                first += len(part)
                if len(columns[0]) >= CHUNK_ROWS:
                    yield columns
                    columns = [[] for _ in picks]
            if columns[0]:
                yield columns

    def _refuse_ragged(self, first: int, chunk: Sequence[Sequence[str]]) -> NoReturn:
        width = len(self.names)
        at, row = next((at, row) for at, row in enumerate(chunk) if len(row) != width)
        raise ConfigError(
            f"{self.place(first + at)}: has {how_many(len(row), 'field')}, "
            f"but the header has {width}"
        )

    def _find_delimiter(self) -> str:
        with readable(self._path), unpacked(self._path) as file:
            line = file.readline(MAX_LINE).decode(errors="replace")
        return delimiter_of(line)

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        with readable(self._path), unpacked(self._path) as file:
            try:
                # A byte order mark is no part of the first name.
                yield io.TextIOWrapper(file, "utf-8-sig", newline="")
            except UnicodeDecodeError as error:
                raise ConfigError(
                    f"{shown(self._path)}: line {self._undecodable()}: is not UTF-8 text; save the "
                    "file as UTF-8"
                ) from error

    @contextmanager
    def _csv(self, text: io.TextIOWrapper, before: str = "") -> Iterator[Any]:
        """A reader of `before` and of what is not read yet; it knows how many lines it has read."""
        start = io.StringIO(before + text.readline(MAX_LINE), newline="")
        lines = chain(start, iter(partial(text.readline, MAX_LINE), ""))
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        try:
            yield reader
        except csv.Error as error:
            raise self._not_csv(error) from error

    def _not_csv(self, error: csv.Error) -> ConfigError:
        """Reads again from the start, to count the lines."""
        line = 0
        with readable(self._path), unpacked(self._path) as file:
            text = io.TextIOWrapper(file, "utf-8-sig", newline="")
            lines = iter(partial(text.readline, MAX_LINE), "")
            reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
            with suppress(csv.Error):
                deque(reader, maxlen=0)
            line = reader.line_num
        where = f"{shown(self._path)}: line {line}"
        return ConfigError(f"{where}: is not CSV: {csv_problem(error)}")

    def _undecodable(self) -> int:
        """The number of the first line that is no text."""
        with unpacked(self._path) as file:
            for number, line in enumerate(iter(partial(file.readline, MAX_LINE), b""), start=1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        return 1


class _ParquetTable:
    """See `Table`."""

    def __init__(self, path: Path, nulls: bool) -> None:
        require_pyarrow(path, "reading")
        self._path = path
        self._nulls = nulls
        with self._file() as file:
            self.names = list(file.schema_arrow.names)

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """See `Table.chunks`."""
        import pyarrow as pa

        positions(self._path, self.names, columns)
        first = 0
        with self._file() as file:
            for batch in file.iter_batches(CHUNK_ROWS, columns=list(dict.fromkeys(columns))):
                for name in columns:
                    if batch[name].null_count and not self._nulls:
                        at = batch[name].is_null().to_pylist().index(True)
                        raise ConfigError(f"{self.place(first + at)}: column {name!r} has no value")
                texts = (batch[name].cast(pa.string()).fill_null("") for name in columns)
                yield [column.to_pylist() for column in texts]
                first += batch.num_rows

    def place(self, row: int) -> str:
        """See `Table.place`."""
        return f"{shown(self._path)}: row {row + 1}"

    @contextmanager
    def _file(self) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with readable(self._path):
            try:
                with pq.ParquetFile(self._path) as file:
                    yield file
            except pa.ArrowException as error:
                what = str(error).splitlines()[0]
                raise ConfigError(
                    f"{shown(self._path)}: is not Parquet that can be read: {masked(what)}"
                ) from error
