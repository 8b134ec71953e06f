"""Types of columns that refuse, on reading, what a ledger never writes.

SQLite stores a text in a column of integers without a word, and a damaged file can hold anything:
whoever reads it should be told which column that is, instead of meeting it somewhere later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Boolean, Dialect, Float, LargeBinary, String
from sqlalchemy.types import TypeDecorator, TypeEngine

from sms_pipeline.core.errors import DamagedLedgerError

#: The last second of the year 9999: no calendar goes on after that.
LATEST_MOMENT = 253_402_300_799.0
#: What PostgreSQL's BIGINT and SQLite hold.
_LEAST_INTEGER, _MOST_INTEGER = -(2**63), 2**63 - 1


class _Checked(TypeDecorator[Any]):
    """Reads a value of one kind, or nothing: joins and sums of no rows find NULL."""

    cache_ok = True
    impl: Any = String
    #: What it should be, for the error.
    kind = ""
    #: TABLE.COLUMN, set by the table.
    where = "a column"

    def __init__(self, stored_as: TypeEngine[Any] | None = None) -> None:
        super().__init__()
        if stored_as is not None:
            self.impl = stored_as

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """In place of that of the type it is stored as, which may fail in ways of its own."""

        def read(value: Any) -> Any:
            return None if value is None else self._read(value)

        return read

    def _read(self, value: Any) -> Any:
        raise NotImplementedError

    def _refuse(self, value: Any) -> DamagedLedgerError:
        return DamagedLedgerError(
            f"the ledger has a row that can't be read: {self.where} is {_shown(value)}, "
            f"not {self.kind}"
        )


def _shown(value: object) -> str:
    """Never the value of a text: it may be anybody's."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bytes | memoryview):
        return "binary"
    return str(value)


class Whole(_Checked):
    """A whole number; PostgreSQL sums big ones as decimals."""

    impl = BigInteger
    cache_ok = True
    kind = "a whole number"

    def __init__(
        self,
        stored_as: TypeEngine[Any] | None = None,
        least: int = _LEAST_INTEGER,
        most: int = _MOST_INTEGER,
        strict: bool = True,
    ) -> None:
        """Make the type.

        Args:
            stored_as: how wide it is stored.
            least: the database takes no less …
            most: … and no more.
            strict: read no other number either. Not for counts: the audit names what is wrong.
        """
        super().__init__(stored_as)
        self.least = least
        self.most = most
        self.strict = strict

    def _read(self, value: Any) -> int:
        if isinstance(value, Decimal) and value.is_finite() and value == int(value):
            value = int(value)
        if type(value) is not int:
            raise self._refuse(value)
        if self.strict and not self.least <= value <= self.most:
            raise self._refuse(value)
        return value


class Number(_Checked):
    """A number that is not infinite."""

    impl = Float
    cache_ok = True
    kind = "a number"

    def __init__(self) -> None:
        super().__init__(Float(53))

    def _read(self, value: Any) -> float:
        if type(value) not in (float, int) or not math.isfinite(value):
            raise self._refuse(value)
        return float(value)


class Moment(Number):
    """Seconds since the epoch, within what a calendar can show."""

    cache_ok = True
    kind = "a moment"

    def _read(self, value: Any) -> float:
        moment = super()._read(value)
        if not 0 <= moment <= LATEST_MOMENT:
            raise self._refuse(value)
        return moment


class Word(_Checked):
    """A text."""

    cache_ok = True
    kind = "a text"

    def _read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._refuse(value)
        return value


class Choice(_Checked):
    """One of a few words."""

    cache_ok = True

    def __init__(self, words: tuple[str, ...], length: int) -> None:
        super().__init__(String(length))
        self.words = words
        self.kind = f"one of {', '.join(words)}"

    def _read(self, value: Any) -> str:
        if value not in self.words:
            raise self._refuse(value)
        return str(value)


class Bits(_Checked):
    """Bytes."""

    impl = LargeBinary
    cache_ok = True
    kind = "binary"

    def _read(self, value: Any) -> bytes:
        if not isinstance(value, bytes | memoryview):
            raise self._refuse(value)
        return bytes(value)


class Flag(_Checked):
    """Yes or no; SQLite keeps it as 1 or 0."""

    impl = Boolean
    cache_ok = True
    kind = "yes or no"

    def _read(self, value: Any) -> bool:
        if value not in (0, 1):
            raise self._refuse(value)
        return bool(value)
