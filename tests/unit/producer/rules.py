"""What the rules of all countries say of numbers that differ in their last digits only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import phonenumbers
from phonenumbers.phonemetadata import PhoneMetadata

DIGITS = "0123456789"
_TOKEN = re.compile(r"\(\?:|\[[^]]+\]|\\d|\{[^}]+\}|.")
_KINDS = (
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip"),
    *("personal_number", "pager", "uan", "voicemail"),
)

#: What is still to come: digits, or one of several ways.
Way = tuple["frozenset[str] | tuple[Way, ...]", ...]
State = frozenset[Way]


def where_tails_matter(tail: int, least: int) -> set[str]:
    """Beginnings after which not all `tail` digits are as good, of numbers with `least` or more."""
    return {
        f"{code}{start}"
        for code, patterns, length in _rules()
        if len(str(code)) + length >= least
        for start in _uneven(frozenset().union(*map(_parsed, patterns)), length - tail, tail)
    }


def _rules() -> Iterator[tuple[int, list[str], int]]:
    """The code of a country, and its patterns for numbers of a length: for any, and for valid."""
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        for region in regions:
            rules: Any = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
            some = rules.general_desc
            kinds = [kind for name in _KINDS if (kind := getattr(rules, name))]
            kinds = [kind for kind in kinds if kind.national_number_pattern]
            for length in some.possible_length:
                fit = [one for one in kinds if length in (one.possible_length or (length,))]
                yield code, [some.national_number_pattern], length
                yield code, [one.national_number_pattern for one in fit], length


@cache
def _parsed(pattern: str) -> State:
    return frozenset(_ways(_TOKEN.findall(pattern)[::-1]))


def _ways(tokens: list[str]) -> tuple[Way, ...]:
    ways: list[Way] = [()]
    while tokens and tokens[-1] != ")":
        read = tokens.pop()
        if read == "|":
            ways.append(())
        elif read in ("(", "(?:"):
            inner = _ways(tokens)
            tokens.pop()
            ways[-1] += _repeated((inner,), tokens)
        else:
            digits = frozenset(digit for digit in DIGITS if re.fullmatch(read, digit))
            ways[-1] += _repeated((digits,), tokens)
    return tuple(ways)


def _repeated(one: Way, tokens: list[str]) -> Way:
    least = most = 1
    if tokens and tokens[-1] == "?":
        least = len(tokens.pop()) - 1
    elif tokens and tokens[-1].startswith("{"):
        numbers = [int(number) for number in tokens.pop()[1:-1].split(",")]
        least, most = numbers[0], numbers[-1]
    further: Way = ()
    for _ in range(most - least):
        further = (((), one + further),)
    return one * least + further


@cache
def _after(state: State, digit: str) -> State:
    left, waiting = set[Way](), list(state)
    while waiting:
        first, *rest = waiting.pop() or (frozenset[str](),)
        if isinstance(first, tuple):
            waiting += [(*way, *rest) for way in first]
        elif digit in first:
            left.add(tuple(rest))
    return frozenset(left)


def _may_end(way: Way) -> bool:
    return all(isinstance(one, tuple) and any(map(_may_end, one)) for one in way)


@cache
def _of_all(state: State, tail: int) -> bool | None:
    """Whether all of so many digits may follow, or none; None if some may."""
    if not tail:
        return any(map(_may_end, state))
    found = {_of_all(_after(state, digit), tail - 1) for digit in DIGITS}
    return found.pop() if len(found) == 1 else None


@cache
def _uneven(state: State, length: int, tail: int) -> tuple[str, ...]:
    if not state or length < 0:
        return ()
    if not length:
        return ("",) if _of_all(state, tail) is None else ()
    return tuple(
        digit + start
        for digit in DIGITS
        for start in _uneven(_after(state, digit), length - 1, tail)
    )
