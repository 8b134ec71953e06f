"""Messages as a pure function of (seed, index)."""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: 64 characters, so that six bits of a random byte pick one without bias. No line break: the
#: columns of a batch are joined by it.
ALPHABET = string.ascii_letters + string.digits + " ."
#: Between the entries of a column.
SEPARATOR = "\n"
_BYTES_PER_WORD = 8
#: Philox makes four 64-bit words for each value of its counter.
_WORDS_PER_BLOCK = 4
#: The first word of a message holds its phone number and its length.
_HEADER_WORDS = 1
_LENGTH_SHIFT = np.uint64(40)
_SIX_BITS_OF_EACH_BYTE = np.uint64(0x3F3F_3F3F_3F3F_3F3F)
#: A code is a position in the alphabet; the one after the last is the separator.
_SEPARATOR_CODE = len(ALPHABET)
_CODE_TO_CHARACTER = (ALPHABET + SEPARATOR).encode().ljust(256, b"?")

#: Area codes and exchanges of North American numbers, and those of `any`; then four digits.
_AMERICAN_CODES, _ANY_CODES = range(200, 1_000), range(1_000)
_LINES = 10_000
_NUMBER_MASK = np.uint64(2**40 - 1)

PhoneFormat = Literal["xxx-xxx-xxxx", "e164", "any"]


class Phones:
    """Writes numbers of one format: the pieces of a number are looked up, not printed."""

    def __init__(self, area: str, exchange: str, line: str, codes: range = _AMERICAN_CODES) -> None:
        self._codes = len(codes)
        self._area = _pieces(area, codes)
        self._exchange = _pieces(exchange, codes)
        self._line = _pieces(line + SEPARATOR, range(_LINES))
        parts = (self._area, self._exchange, self._line)
        self._number = np.dtype([(f"part{i}", part.dtype) for i, part in enumerate(parts)])

    def write(self, header: NDArray[np.uint64]) -> str:
        """One number for each entry of `header`, joined by the separator."""
        # Floor division by a constant is many times faster than `divmod`.
        random = (header & _NUMBER_MASK).astype(np.int64)
        random, line = _divide(random, _LINES)
        random, exchange = _divide(random, self._codes)
        _, area = _divide(random, self._codes)
        numbers = np.empty(len(header), self._number)
        numbers["part0"] = self._area.take(area)
        numbers["part1"] = self._exchange.take(exchange)
        numbers["part2"] = self._line.take(line)
        return numbers.tobytes()[:-1].decode("ascii")


def _pieces(template: str, values: Iterable[int]) -> NDArray[np.void]:
    texts = [template.format(value).encode() for value in values]
    return np.frombuffer(b"".join(texts), f"V{len(texts[0])}")


def _divide(values: NDArray[np.int64], by: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    quotient = values // by
    return quotient, values - quotient * by


_PHONES: dict[PhoneFormat, Phones] = {
    "xxx-xxx-xxxx": Phones("{:03d}-", "{:03d}-", "{:04d}"),
    "e164": Phones("+1{:03d}", "{:03d}", "{:04d}"),
    "any": Phones("{:03d}-", "{:03d}-", "{:04d}", _ANY_CODES),
}


class Columns(NamedTuple):
    """The messages of a range: two newline-joined strings with one entry a message."""

    to: str
    text: str


def make_columns(
    seed: int, first_index: int, count: int, max_text_length: int, phone_format: PhoneFormat
) -> Columns:
    """Messages `first_index` … `first_index + count - 1` of the run with `seed`.

    Each message takes the same number of words of one Philox stream, so any range can be made
    alone and equals the same slice of the whole.
    """
    blocks = _blocks_per_message(max_text_length)
    generator = np.random.Philox(key=seed, counter=first_index * blocks)
    words = generator.random_raw(count * blocks * _WORDS_PER_BLOCK).reshape(count, -1)
    return Columns(_PHONES[phone_format].write(words[:, 0]), _texts(words, max_text_length))


def _blocks_per_message(max_text_length: int) -> int:
    words = _HEADER_WORDS + -(-max_text_length // _BYTES_PER_WORD)
    return -(-words // _WORDS_PER_BLOCK)


def _texts(words: NDArray[np.uint64], max_length: int) -> str:
    count = len(words)
    lengths = (words[:, 0] >> _LENGTH_SHIFT) % np.uint64(max_length) + np.uint64(1)
    codes = (words[:, _HEADER_WORDS:] & _SIX_BITS_OF_EACH_BYTE).view(np.uint8)
    padded = np.empty((count, max_length + 1), np.uint8)
    padded[:, :max_length] = codes[:, :max_length]
    padded[np.arange(count), lengths] = _SEPARATOR_CODE
    # The smallest type that holds a length: comparing bytes is many times faster than words.
    narrow = np.min_scalar_type(max_length)
    kept = np.arange(max_length + 1, dtype=narrow) <= lengths.astype(narrow)[:, None]
    return padded[kept].tobytes().translate(_CODE_TO_CHARACTER)[:-1].decode("ascii")
