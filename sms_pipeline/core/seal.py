"""Chains of hashes over what writers record, and the seal over a run. Pure.

Each writer links what it writes in one transaction to what it wrote before:

    digest = SHA-256(digest before ‖ SHA-256(rows of the transaction))

The first digest stands for the ledger, the run and the writer. So a row that is changed, removed or
put in afterwards breaks the chain of its writer, and the seal, which covers the ends of all chains,
is that of one set of records only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

Value = int | float | str | bytes | None
#: (writer, place in its chain)
Place = tuple[str, int]


class Link(NamedTuple):
    """One transaction of a writer: its number, from 1, and the digest of all until then."""

    writer: str
    place: int
    digest: str


def encode(values: Iterable[Value]) -> bytes:
    """Values as bytes that only these values have: each with its kind, texts with their length."""
    return b"".join(map(_encoded, values))


def _encoded(value: Value) -> bytes:
    if value is None:
        return b"n;"
    if isinstance(value, float):
        # -0.0 is stored as 0.0.
        return b"f%s;" % (value + 0.0).hex().encode()
    if isinstance(value, int):
        return b"i%d;" % value
    if isinstance(value, str):
        value = value.encode()
        return b"s%d:%s;" % (len(value), value)
    return b"b%d:%s;" % (len(value), value)


def encode_indexes(indexes: Sequence[int]) -> bytes:
    """Numbers of messages, in ascending order, eight bytes each."""
    return np.sort(np.asarray(indexes, "<i8")).tobytes()


def digest_of(*values: Value) -> str:
    """Of values, 64 hexadecimal digits."""
    return hashlib.sha256(encode(values)).hexdigest()


def first_link(ledger: str, run: int, run_digest: str, writer: str) -> Link:
    """Where the chain of a writer begins: before its first transaction."""
    return Link(writer, 0, digest_of("chain", ledger, run, run_digest, writer))


def next_link(before: Link, rows: Iterable[bytes]) -> Link:
    """The link that a transaction with these rows, encoded, adds."""
    content = hashlib.sha256()
    for row in rows:
        content.update(row)
    return _linked(before, content.hexdigest())


def _linked(before: Link, content: str) -> Link:
    return Link(before.writer, before.place + 1, digest_of(before.digest, content))


class Contents:
    """What was found of each link, row by row, to hold against the links."""

    def __init__(self) -> None:
        self._found: dict[Place, _Content] = {}

    def add(self, place: Place, name: str, row: bytes) -> None:
        """Add a row, encoded; rows of a link come in the order in which they were written."""
        content = self._found.setdefault(place, _Content(name))
        content.hash.update(row)
        content.rows += 1

    def against(self, links: Iterable[Link], first: Callable[[str], Link]) -> Iterator[str]:
        """Where the links say something else.

        Args:
            links: by writer and place.
            first: where the chain of a writer begins.
        """
        ends: dict[str, Link] = {}
        for link in links:
            before = ends.get(link.writer) or first(link.writer)
            ends[link.writer] = link
            content = self._found.pop((link.writer, link.place), None)
            wrote = f"what {link.writer} wrote as number {link.place}"
            if link.place != before.place + 1:
                yield f"{wrote} is there, but not what it wrote as number {before.place + 1}"
            elif content is None:
                yield f"{wrote} is gone"
            elif _linked(before, content.hash.hexdigest()) != link:
                yield f"{wrote} ({content}) was changed afterwards"
        for (writer, number), content in sorted(self._found.items()):
            yield f"{writer} never wrote as number {number} what is there ({content})"


class _Content:
    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self.hash = hashlib.sha256()

    def __str__(self) -> str:
        return self.name if self.rows == 1 else f"{self.name} and {self.rows - 1:,} more"


def seal_over(parts: Iterable[Iterable[Value]]) -> str:
    """One digest over rows, in this order."""
    seal = hashlib.sha256()
    for part in parts:
        seal.update(encode(part))
    return seal.hexdigest()
