"""Reads a provider's delivery log: CSV with a row for each attempt, also packed by gzip.

It keeps 17 bytes of a row: two times and a status, by profile.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.forecast.log_columns import (
    Columns,
    Status,
    choose_columns,
    plain_word,
    status_words,
    unknown_word,
)
from sms_pipeline.producer.table import csv_problem, delimiter_of, masked, readable, unpacked

#: No row is longer; a file without line ends must not fill the memory.
MAX_ROW_BYTES = 1_000_000
#: A column with more values is no profile, but perhaps a number of phones.
MAX_PROFILES = 100
#: Seconds since 1970; beyond it (the year 5138) they are milliseconds.
_LAST_SECOND = 1e11
#: The profile of a log that has no column for it, and of rows that leave it empty.
ONLY_PROFILE, NAMELESS = "fleet", "unknown"
#: Characters of a profile's name; a number may follow.
_NAME_LENGTH = 60
#: Stands for the end of an attempt whose receipt is missing.
_NEVER = float("nan")


class Attempts(NamedTuple):
    """The attempts of one profile, in the order of the log."""

    #: Seconds since the epoch; `ended` is not a number where the receipt is missing.
    sent: NDArray[np.float64]
    ended: NDArray[np.float64]
    #: Values of `Status`.
    status: NDArray[np.int8]


class DeliveryLog(NamedTuple):
    """What was read."""

    path: Path
    columns: Columns
    rows: int
    #: By the name of the profile, as a queue may have it.
    profiles: dict[str, Attempts]
    #: Names in the log that no queue can have, and what became of them.
    renamed: dict[str, str]


class _BadValueError(Exception):
    """A value of a row can't be used."""


def read_log(path: Path, columns: Sequence[str] = (), words: Sequence[str] = ()) -> DeliveryLog:
    """Read a log; `columns` and `words` are the values of --columns and --status.

    Raises:
        ConfigError: it can't be used; the message names the row.
    """
    known = status_words(words)
    lines = _Lines()
    with readable(path), _rows_named(path, lines), unpacked(path) as file:
        rows = lines.of(file)
        first = next(rows, "")
        table = csv.reader(chain([first], rows), delimiter=delimiter_of(first), strict=True)
        header = next(table)
        if not header:
            what = "must begin with a header row" if first else "is empty"
            raise ConfigError(f"{path}: {what}")
        chosen = _chosen(path, header, columns)
        found = _Collected(header, chosen, known)
        found.add_all(table)
    if not found.rows:
        raise ConfigError(f"{path}: has no rows after its header")
    return DeliveryLog(path, chosen, found.rows, found.attempts(), found.renamed())


def _chosen(path: Path, header: Sequence[str], columns: Sequence[str]) -> Columns:
    try:
        return choose_columns(header, columns)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


class _Lines:
    """The lines of a file, and how many were read."""

    def __init__(self) -> None:
        self.number = 0

    def of(self, file: BinaryIO) -> Iterator[str]:
        """The lines as text."""
        encoding = "utf-8-sig"
        while True:
            line = file.readline(MAX_ROW_BYTES)
            if not line:
                return
            self.number += 1
            if len(line) == MAX_ROW_BYTES:
                raise _BadValueError(f"is longer than {MAX_ROW_BYTES:,} bytes")
            yield line.decode(encoding)
            encoding = "utf-8"


@contextmanager
def _rows_named(path: Path, lines: _Lines) -> Iterator[None]:
    """Says in one line what is wrong with a row, and with which."""
    try:
        yield
    except _BadValueError as error:
        raise ConfigError(f"{path}: row {lines.number}: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: row {lines.number}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    except csv.Error as error:
        raise ConfigError(
            f"{path}: row {lines.number}: is not CSV: {csv_problem(error)}"
        ) from error


class _Collected:
    """The attempts that were read, profile by profile."""

    def __init__(self, header: Sequence[str], columns: Columns, words: dict[str, Status]) -> None:
        self.rows = 0
        self._width = len(header)
        self._columns = columns
        self._words = words
        named = (columns.sent, columns.ended, columns.status, columns.profile or columns.sent)
        self._pick = itemgetter(*(header.index(name) for name in named))
        #: By the profile's name in the log.
        self._found: dict[str, tuple[array[float], array[float], array[int]]] = {}

    def add_all(self, table: Iterator[list[str]]) -> None:
        """Read row by row.

        Raises:
            _BadValueError: the row that was read last can't be used.
        """
        for row in table:
            if len(row) == self._width:
                self._add(*self._pick(row))
            elif row:
                raise _BadValueError(
                    f"the number of its fields is {len(row)}, that of the header {self._width}"
                )

    def _add(self, sent: str, ended: str, status: str, profile: str) -> None:
        began, end = self._time(self._columns.sent, sent), _NEVER
        if ended and not ended.isspace():
            end = self._time(self._columns.ended, ended)
        if end < began:
            raise _BadValueError(
                f"time goes backwards: {self._columns.ended!r} is {began - end:.10g} s before "
                f"{self._columns.sent!r} (a time without a zone counts as UTC)"
            )
        starts, ends, outcomes = self._of(profile)
        starts.append(began)
        ends.append(end)
        outcomes.append(self._status(status))
        self.rows += 1

    def _of(self, profile: str) -> tuple[array[float], array[float], array[int]]:
        if self._columns.profile is None:
            profile = ONLY_PROFILE
        found = self._found.get(profile)
        if found is None:
            if len(self._found) == MAX_PROFILES:
                raise _BadValueError(
                    f"column {self._columns.profile!r} has more than {MAX_PROFILES} values, so it "
                    "can't be the profile: name another by --columns profile=COLUMN"
                )
            found = self._found[profile] = array("d"), array("d"), array("b")
        return found

    def _time(self, column: str, text: str) -> float:
        seconds = _seconds(text)
        if seconds is not None and 0 <= seconds < _LAST_SECOND:
            return seconds
        if seconds is not None and seconds >= _LAST_SECOND:
            raise _BadValueError(f"{column!r} is not in seconds since 1970, but in smaller units")
        raise _BadValueError(
            f"{column!r} is no time: {masked(text)}; it must be ISO 8601, as in "
            "2026-11-26T08:15:00Z, or seconds since 1970"
        )

    def _status(self, word: str) -> Status:
        try:
            return self._words[word]
        except KeyError:
            plain = plain_word(word)
        if plain and plain not in self._words:
            raise _BadValueError(unknown_word(word, self._words))
        # The next row with this spelling finds it at once.
        self._words[word] = self._words[plain] if plain else Status.PENDING
        return self._words[word]

    def attempts(self) -> dict[str, Attempts]:
        """All that was read, by names that queues may have."""
        names = self._names()
        return {
            names[profile]: Attempts(
                np.frombuffer(starts, np.float64),
                np.frombuffer(ends, np.float64),
                np.frombuffer(outcomes, np.int8),
            )
            for profile, (starts, ends, outcomes) in sorted(self._found.items())
        }

    def renamed(self) -> dict[str, str]:
        """Profiles that the log calls otherwise."""
        return {old: new for old, new in self._names().items() if old != new}

    def _names(self) -> dict[str, str]:
        """By the name in the log, one that a queue may have; no two are the same."""
        found: dict[str, str] = {}
        for profile in sorted(self._found):
            name = re.sub(r"[^A-Za-z0-9_-]+", "-", profile).strip("-")[:_NAME_LENGTH] or NAMELESS
            taken = set(found.values())
            numbered = chain([name], (f"{name}-{number}" for number in range(2, MAX_PROFILES + 2)))
            found[profile] = next(one for one in numbered if one not in taken)
        return found


def _seconds(text: str) -> float | None:
    """Since the epoch; None if it is no time."""
    try:
        if text[4:5] != "-":
            return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
