"""Which messages of a batch: a bitmap, one bit a message."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.errors import BadBatchError

#: Of a byte; the first message has the highest bit.
_BITS, _FIRST_BIT = 8, 0x80
#: Positions of messages within their batch, ascending.
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


def has_offset(bitmap: bytes, offset: int) -> bool:
    """Whether a bitmap has that message, without unpacking the others."""
    byte, bit = divmod(offset, _BITS)
    return byte < len(bitmap) and bool(bitmap[byte] & (_FIRST_BIT >> bit))


def _require_fit(bitmap: bytes, size: int, stray: bool) -> None:
    """`stray`: a bit is set that stands for no message."""
    if len(bitmap) != -(-size // 8) or stray:
        raise BadBatchError("the offsets do not fit the size of the batch")
