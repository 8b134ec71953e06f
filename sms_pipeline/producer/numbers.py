"""Phone numbers as people write them, in E.164: +, country, number; at most 15 digits.

`phonenumbers` knows the rules of all countries and is slow: 42,500 numbers a second. So it is asked
once for all numbers that differ in their last digits only.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import phonenumbers
from numpy.typing import NDArray

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.messages import SEPARATOR

#: What people write between digits, hard spaces and dashes of all kinds among it.
_BETWEEN = dict.fromkeys(map(ord, " \t().-/\u00a0\u202f\u2010\u2011\u2012\u2013"))
#: Hardly a rule of any country depends on these last digits …
_TAIL = 4
#: … where a number is that long, its country included.
_LONG = 11
#: But on them depend some rules for numbers that begin so, up to `_APART` before the last digits.
_APART = 2
_EXCEPTIONS = """
12465 18766 21681 220445 256206 26464 26779 27203 27243 27520 305005 35021 35052 351609 351639
351659 351669 35545 35650 35651 35652 35680 37123 37281 37282 38770 38934 38943 38945 38946 38947
38973 38974 38979 44120 44125 44127 44129 44136 44138 44140 44142 44146 44148 44152 44156 44160
44162 441624 44164 44165 44169 44172 44175 44183 44188 44190 44193 44194 44196 44199 443440 448440
50327 50328 50665 56219 56233 573333 576010 61851 61891 68630 68662 68665 81007 85368 88046 880722
880742 88075 880752 88077 880792 880822 880823 880903 880923 880952 88622 886400 958008 96287 97442
994900 995500 995505 995510 995511 995515 995517 995520 995522 995530 995533 995540 995544 995552
995575 995590
"""
_TAIL_MATTERS = frozenset(_EXCEPTIONS.split())
#: Of starts at most so many are remembered: they take 150 MB.
_MOST_KNOWN = 1_000_000
#: Typed characters, of which nothing can come.
_MAX_TYPED = 40


class Reject(IntEnum):
    """Why a row can't be used; negative, so that it fits where a number would be."""

    EMPTY = -1
    NO_NUMBER = -2
    NO_COUNTRY = -3
    SHORT = -4
    LONG = -5
    UNUSED = -6
    SUPPRESSED = -7
    DUPLICATE = -8

    @property
    def reason(self) -> str:
        """In words."""
        return _REASONS[self]


_REASONS = {
    Reject.EMPTY: "no number",
    Reject.NO_NUMBER: "not a phone number",
    Reject.NO_COUNTRY: "no country: neither +, nor --country",
    Reject.SHORT: "too short",
    Reject.LONG: "too long",
    Reject.UNUSED: "no such number range",
    Reject.SUPPRESSED: "on the suppression list",
    Reject.DUPLICATE: "number of an earlier row",
}
_IMPOSSIBLE = {
    phonenumbers.ValidationResult.TOO_SHORT: Reject.SHORT,
    phonenumbers.ValidationResult.TOO_LONG: Reject.LONG,
}
_UNPARSABLE = {
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: Reject.NO_COUNTRY,
    phonenumbers.NumberParseException.TOO_SHORT_NSN: Reject.SHORT,
    phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD: Reject.SHORT,
    phonenumbers.NumberParseException.TOO_LONG: Reject.LONG,
}

Numbers = NDArray[np.int64]


class Reader:
    """Reads numbers; those without a + are of one country."""

    def __init__(self, country: str | None) -> None:
        """
        Raises:
            ConfigError: there is no such country.
        """
        if country is not None and country.upper() not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigError(
                f"option --country: must be two letters, as US or DE, got {country!r}"
            )
        self._country = country.upper() if country else None
        #: By what is typed but for the last digits: the number with zeros there, or a `Reject`;
        #: None where the last digits matter.
        self._known: dict[str, int | None] = {}

    def read(self, typed: Sequence[str]) -> Numbers:
        """Each number in E.164 as an integer, or a `Reject`."""
        plain = SEPARATOR.join(typed).translate(_BETWEEN)
        texts = plain.split(SEPARATOR)
        if len(texts) != len(typed):
            # A line break inside a number: somebody's quotes went wrong.
            texts = [text.translate(_BETWEEN) if SEPARATOR not in text else "?" for text in typed]
        return np.fromiter(map(self._number, texts), np.int64, len(texts))

    def _number(self, text: str) -> int:
        start, tail = text[:-_TAIL], text[-_TAIL:]
        if not (start and tail.isdecimal() and tail.isascii()) or len(text) > _MAX_TYPED:
            return self._asked(text) if text else Reject.EMPTY
        base = self._known.get(start, 0)
        if base == 0:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            base = self._known[start] = self._base(text, tail)
        if base is None:
            return self._asked(text)
        return base if base < 0 else base + int(tail)

    def _base(self, text: str, tail: str) -> int | None:
        parsed = self._parsed(text)
        if isinstance(parsed, Reject):
            return None
        digits = str(_written(parsed))
        if len(digits) < _LONG or digits[: -_TAIL - _APART] in _TAIL_MATTERS:
            return None
        number = _judged(parsed)
        if number < 0:
            # Without a + another tail may make other digits those of the country.
            return number if text.startswith("+") else None
        return number - int(tail)

    def _asked(self, text: str) -> int:
        parsed = self._parsed(text)
        return parsed if isinstance(parsed, Reject) else _judged(parsed)

    def _parsed(self, text: str) -> phonenumbers.PhoneNumber | Reject:
        if not text.removeprefix("+").isdecimal():
            # It would make digits of letters, and pass over what stands behind them.
            return Reject.NO_NUMBER
        try:
            return phonenumbers.parse(text, self._country)
        except phonenumbers.NumberParseException as error:
            return _UNPARSABLE.get(error.error_type, Reject.NO_NUMBER)


def _judged(parsed: phonenumbers.PhoneNumber) -> int:
    if phonenumbers.is_valid_number(parsed):
        return _written(parsed)
    possible = phonenumbers.is_possible_number_with_reason(parsed)
    return _IMPOSSIBLE.get(possible, Reject.UNUSED)


def _written(parsed: phonenumbers.PhoneNumber) -> int:
    return int(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def e164(numbers: Sequence[int]) -> list[str]:
    """As text."""
    return [f"+{number}" for number in numbers]
