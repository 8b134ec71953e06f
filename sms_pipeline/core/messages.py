"""Messages as a pure function of (seed, index)."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: 64 characters, so that six bits of a random byte pick one without bias. No line break: the
#: columns of a batch are joined by it.
ALPHABET = string.ascii_letters + string.digits + " ."
#: Of random texts: `plain`, all that GSM knows (two of them count twice), Cyrillic, or one of the
#: last two for each text. All have as many characters as `plain`.
Alphabet = Literal["plain", "gsm-7", "ucs-2", "mixed"]
_GSM_7 = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPR .,!?'\"%&@£ÄÖäöüàèñ€["
_UCS_2 = "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЭЮЯ ,.!"
#: Between the entries of a column.
SEPARATOR = "\n"
#: Stands for a line break inside an entry.
LINE_BREAK = "\r"
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

#: The top bit of the header is free: it tells the alphabets of mixed texts apart.
_ALPHABET_SHIFT = np.uint64(63)
#: Codes of both wide alphabets, one after the other, as units of UTF-16.
_CODES = _SEPARATOR_CODE + 1
_WIDE = np.array([ord(c) for c in _GSM_7 + SEPARATOR + _UCS_2 + SEPARATOR], np.uint16)

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


def joined(entries: Sequence[str]) -> str:
    """A column of these entries; their line breaks, of whatever kind, become `LINE_BREAK`."""
    column = SEPARATOR.join(entries)
    if LINE_BREAK in column or column.count(SEPARATOR) >= len(entries):
        column = SEPARATOR.join(on_one_line(entry) for entry in entries)
    return column


def on_one_line(entry: str) -> str:
    """With `LINE_BREAK` for line breaks of whatever kind."""
    return entry.replace("\r\n", LINE_BREAK).replace("\n", LINE_BREAK)


def split(column: str) -> list[str]:
    """The entries of a column, with their line breaks."""
    entries = column.split(SEPARATOR)
    if LINE_BREAK in column:
        return [entry.replace(LINE_BREAK, "\n") for entry in entries]
    return entries


def make_columns(
    seed: int,
    first_index: int,
    count: int,
    max_text_length: int,
    phone_format: PhoneFormat,
    alphabet: Alphabet = "plain",
) -> Columns:
    """Messages `first_index` … `first_index + count - 1` of the run with `seed`.

    Each message takes the same number of words of one Philox stream, so any range can be made
    alone and equals the same slice of the whole.
    """
    blocks = _blocks_per_message(max_text_length)
    generator = np.random.Philox(key=seed, counter=first_index * blocks)
    words = generator.random_raw(count * blocks * _WORDS_PER_BLOCK).reshape(count, -1)
    to = _PHONES[phone_format].write(words[:, 0])
    return Columns(to, _texts(words, max_text_length, alphabet))


def _blocks_per_message(max_text_length: int) -> int:
    words = _HEADER_WORDS + -(-max_text_length // _BYTES_PER_WORD)
    return -(-words // _WORDS_PER_BLOCK)


def _texts(words: NDArray[np.uint64], max_length: int, alphabet: Alphabet) -> str:
    count = len(words)
    lengths = (words[:, 0] >> _LENGTH_SHIFT) % np.uint64(max_length) + np.uint64(1)
    codes = (words[:, _HEADER_WORDS:] & _SIX_BITS_OF_EACH_BYTE).view(np.uint8)
    padded = np.empty((count, max_length + 1), np.uint8)
    padded[:, :max_length] = codes[:, :max_length]
    padded[np.arange(count), lengths] = _SEPARATOR_CODE
    # The smallest type that holds a length: comparing bytes is many times faster than words.
    narrow = np.min_scalar_type(max_length)
    kept = np.arange(max_length + 1, dtype=narrow) <= lengths.astype(narrow)[:, None]
    if alphabet == "plain":
        return padded[kept].tobytes().translate(_CODE_TO_CHARACTER)[:-1].decode("ascii")
    is_foreign = np.repeat(_is_foreign(words[:, 0], alphabet), lengths.astype(np.int64) + 1)
    codes = padded[kept] + is_foreign * np.uint8(_CODES)
    return _WIDE.take(codes).tobytes().decode("utf-16-le")[:-1]


def _is_foreign(header: NDArray[np.uint64], alphabet: Alphabet) -> NDArray[np.bool_]:
    """Which texts are Cyrillic."""
    if alphabet == "mixed":
        return (header >> _ALPHABET_SHIFT) > 0
    return np.full(len(header), alphabet == "ucs-2")
