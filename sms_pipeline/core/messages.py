"""Messages as a pure function of (seed, index), and the batch: what one task carries."""

from __future__ import annotations

import base64
import binascii
import json
import string
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sms_pipeline.config.simulation import MAX_BATCH_SIZE, MAX_MESSAGES, PROFILE_NAME, RetryPolicy
from sms_pipeline.errors import BadBatchError

#: 64 characters, so that six bits of a random byte pick one without bias. No line break: the
#: columns of a batch are joined by it.
ALPHABET = string.ascii_letters + string.digits + " ."
#: Between the entries of a column.
SEPARATOR = "\n"
#: Celery's name of the one task.
TASK_NAME = "sms_pipeline.send_sms"

#: What the ledger's integer columns hold.
MAX_INTEGER = 2**31 - 1

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

#: North American numbers: area code and exchange 200 to 999, then four digits.
_FIRST_CODE, _CODES, _LINES = 200, 800, 10_000
_NUMBER_MASK = np.uint64(2**40 - 1)

PhoneFormat = Literal["xxx-xxx-xxxx", "e164"]


class _Phones:
    """Writes numbers of one format: the pieces of a number are looked up, not printed."""

    def __init__(self, area: str, exchange: str, line: str) -> None:
        codes = range(_FIRST_CODE, _FIRST_CODE + _CODES)
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
        random, exchange = _divide(random, _CODES)
        _, area = _divide(random, _CODES)
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


_PHONES: dict[PhoneFormat, _Phones] = {
    "xxx-xxx-xxxx": _Phones("{:03d}-", "{:03d}-", "{:04d}"),
    "e164": _Phones("+1{:03d}", "{:03d}", "{:04d}"),
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


Offsets = NDArray[np.intp]


def pack_offsets(offsets: Offsets, size: int) -> bytes:
    """A bitmap, one bit for each of the batch's `size` messages, set for those in `offsets`."""
    chosen = np.zeros(size, np.bool_)
    chosen[offsets] = True
    return np.packbits(chosen).tobytes()


def unpack_offsets(bitmap: bytes, size: int) -> Offsets:
    """The inverse of `pack_offsets`, ascending.

    Raises:
        BadBatchError: the bitmap belongs to a batch of another size.
    """
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8))
    _require_fit(bitmap, size, stray=bool(bits[size:].any()))
    return np.flatnonzero(bits[:size])


def bitmap_as_number(bitmap: bytes, size: int) -> int:
    """The messages of a bitmap as one bit each of a number, the last message lowest.

    Raises:
        BadBatchError: the bitmap belongs to a batch of another size.
    """
    number, unused = int.from_bytes(bitmap), len(bitmap) * 8 - size
    _require_fit(bitmap, size, stray=unused > 0 and number & ((1 << unused) - 1) != 0)
    return number >> unused


def _require_fit(bitmap: bytes, size: int, stray: bool) -> None:
    """`stray`: a bit is set that stands for no message."""
    if len(bitmap) != -(-size // 8) or stray:
        raise BadBatchError("the offsets do not fit the size of the batch")


class Batch(BaseModel):
    """One attempt at a contiguous range of messages, or at the remainder of one; the wire form."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    ledger: str = Field(min_length=1, max_length=64)
    run: int = Field(ge=1, le=MAX_INTEGER)
    number: int = Field(ge=0, le=MAX_INTEGER)
    first_index: int = Field(ge=0, le=MAX_MESSAGES)
    #: Messages of the whole batch, also where this attempt takes only a remainder.
    size: int = Field(ge=1, le=MAX_BATCH_SIZE)
    profile: str = Field(pattern=f"^{PROFILE_NAME.pattern}$")
    attempt: int = Field(ge=0, le=MAX_INTEGER)
    #: Seconds since the epoch at the first dispatch; the same in every attempt.
    queued_at: float = Field(ge=0)
    seed: int = Field(ge=0, lt=2**63)
    retry: RetryPolicy
    #: Seconds after `queued_at` until which a message may be sent; None = for ever.
    deadline: float | None = Field(default=None, gt=0)
    to: str
    text: str
    #: Base64 of the bitmap of the messages this attempt takes; None = the whole batch.
    offsets: str | None = None

    @model_validator(mode="after")
    def _columns_fit(self) -> Self:
        count = self.count
        if _entries(self.to) != count or _entries(self.text) != count:
            raise ValueError("the columns do not fit the number of messages")
        return self

    @property
    def key(self) -> tuple[int, int, int]:
        """What its settlement is known by: (run, batch number, attempt)."""
        return self.run, self.number, self.attempt

    @property
    def count(self) -> int:
        """Messages that this attempt takes."""
        return self.size if self.offsets is None else len(self.positions())

    def positions(self) -> Offsets:
        """Offsets within the batch of the messages that this attempt takes, ascending."""
        if self.offsets is None:
            return np.arange(self.size)
        return unpack_offsets(_from_base64(self.offsets), self.size)

    def remainder(self, left: Offsets) -> Batch:
        """The next attempt, at the messages whose offsets in the batch are `left`."""
        return self.at_attempt(self.attempt + 1, left)

    def at_attempt(self, attempt: int, left: Offsets) -> Batch:
        """A later attempt, at the messages whose offsets in the batch are `left`."""
        taken = np.searchsorted(self.positions(), left)
        return self.model_copy(
            update={
                "attempt": attempt,
                "to": _pick(self.to, taken),
                "text": _pick(self.text, taken),
                "offsets": base64.b64encode(pack_offsets(left, self.size)).decode("ascii"),
            }
        )

    def to_wire(self) -> dict[str, Any]:
        """JSON types only."""
        return self.model_dump()

    @classmethod
    def from_wire(cls, body: object) -> Batch:
        """Check a task's argument.

        Raises:
            BadBatchError: it is not a batch. The message names the field, never its content.
        """
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            # The name of an unknown field is content, too.
            is_ours = first["type"] != "extra_forbidden"
            field = (".".join(map(str, first["loc"])) if is_ours else "") or "the batch"
            raise BadBatchError(f"{field}: {first['msg']}") from None

    def describe(self) -> str:
        """What logs and Flower may show."""
        again = f", attempt {self.attempt + 1}" if self.attempt else ""
        return f"batch {self.number}: {self.count} SMS{again}"


def is_batch_of(body: object, ledger: str, run: int) -> bool:
    """Whether a message's body is a task with a batch of that run of that ledger."""
    try:
        ((batch,), *_) = json.loads(body)  # type: ignore[arg-type]
        return bool(batch["ledger"] == ledger and batch["run"] == run)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _entries(column: str) -> int:
    return int(np.count_nonzero(_is_break(_encode(column)))) + 1


def _pick(column: str, taken: Offsets) -> str:
    """The column with the entries at the positions `taken` only."""
    data = _encode(column)
    breaks = np.flatnonzero(_is_break(data))
    starts = np.concatenate(([0], breaks + 1))[taken].tolist()
    ends = np.concatenate((breaks, [len(data)]))[taken].tolist()
    picked = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    return SEPARATOR.encode().join(picked).decode("utf-8", _SURROGATES)


def _is_break(data: bytes) -> NDArray[np.bool_]:
    """Which bytes separate entries; `str.split` would make an object of every entry."""
    is_break: NDArray[np.bool_] = np.frombuffer(data, np.uint8) == ord(SEPARATOR)
    return is_break


#: JSON can spell halves of characters; a column with one is odd, but no reason to fail.
_SURROGATES = "surrogatepass"


def _encode(column: str) -> bytes:
    return column.encode("utf-8", _SURROGATES)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadBatchError("the offsets are not base64") from None
