"""How many parts an SMS takes, by 3GPP TS 23.038 and 23.040. Pure.

A text of only GSM characters takes 7 bits for each (a *septet*), any other text 16 bits for each
unit of UTF-16. What does not fit into one part is sent in several, which are shorter, since each
says which one it is. No character is split between two parts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.messages import SEPARATOR, Alphabet, make_columns
from sms_pipeline.core.simulation import Simulation

#: One septet each.
GSM_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: Two septets each: the escape, and another.
GSM_EXTENSION = "\f^{}\\[~]|€"


class _Room(NamedTuple):
    """Septets, or units of UTF-16, that fit into the only part and into each of several."""

    alone: int
    of_several: int


_SEPTETS, _UNITS = _Room(160, 153), _Room(70, 67)

_Numbers = NDArray[np.int64]
_Units = NDArray[np.uint16]
_Flags = NDArray[np.bool_]

#: The kinds of units: each is a bit of its own.
_BASIC, _EXTENSION, _FOREIGN = 0, 1, 2
_NUMBER_OF_UNITS = 2**16
_UTF16, _SURROGATES = "utf-16-le", "surrogatepass"
#: The bits that tell surrogates apart: two of them make one character.
_SURROGATE_MASK, _HIGH, _LOW = 0xFC00, 0xD800, 0xDC00


def _kinds() -> NDArray[np.uint8]:
    table = np.full(_NUMBER_OF_UNITS, _FOREIGN, np.uint8)
    table[[ord(character) for character in GSM_BASIC]] = _BASIC
    table[[ord(character) for character in GSM_EXTENSION]] = _EXTENSION
    return table


_KIND_OF = _kinds()
_BASIC_ASCII = "".join(filter(str.isascii, GSM_BASIC)).encode()


#: The mean over so many random texts is right to about 1 %.
_SAMPLE = 10_000


def parts_per_message(simulation: Simulation, seed: int) -> float | None:
    """How many parts the texts of a run take on average; None if nobody knows them any more.

    Of random texts the first 10,000 are counted, of those to a file of recipients all were.
    """
    if (mean := parts_per_recipient(simulation)) is not None:
        return mean
    if simulation.messages_from == "caller":
        return None
    if simulation.max_text_length <= _UNITS.alone:
        return 1.0
    count = min(simulation.num_messages, _SAMPLE)
    return _mean_of_sample(seed, count, simulation.max_text_length, simulation.alphabet)


def parts_per_recipient(simulation: Simulation) -> float | None:
    """How many parts the texts to a file of recipients take on average; None before it is read."""
    contents = simulation.recipients and simulation.recipients.contents
    return contents.parts / simulation.num_messages if contents else None


@lru_cache(maxsize=64)
def _mean_of_sample(seed: int, count: int, max_text_length: int, alphabet: Alphabet) -> float:
    columns = make_columns(seed, 0, count, max_text_length, "e164", alphabet)
    return float(count_parts(columns.text).mean())


def count_parts(column: str) -> _Numbers:
    """The parts of each text of a column; an empty text takes one."""
    column += SEPARATOR
    if column.isascii():
        data = column.encode("ascii")
        if not data.translate(None, _BASIC_ASCII):
            # Nearly all texts are so; only their lengths matter.
            return _filled(_lengths(np.frombuffer(data, np.uint8)), _SEPTETS)
    units = np.frombuffer(column.encode(_UTF16, _SURROGATES), np.uint16)
    lengths = _lengths(units)
    parts = np.ones(len(lengths), np.int64)
    # What is not longer than that fits into one part, whatever it is.
    long = lengths > _UNITS.alone
    if long.any():
        parts[long] = _count(_of_texts(units, lengths + 1, long), lengths[long])
    return parts


def _lengths(units: NDArray[np.integer[Any]]) -> _Numbers:
    """Of each text; behind every one stands a separator."""
    return np.diff(np.flatnonzero(units == ord(SEPARATOR)), prepend=-1) - 1


def _of_texts(places: NDArray[Any], lengths: _Numbers, chosen: _Flags) -> NDArray[Any]:
    """The places of the chosen texts; each text has `lengths` of them."""
    return places if chosen.all() else places[np.repeat(chosen, lengths)]


def _count(units: _Units, lengths: _Numbers) -> _Numbers:
    """The parts of texts, none of which is empty; behind every one stands a separator."""
    kinds, low = _KIND_OF.take(units), _low_surrogates(units)
    of_text = np.bitwise_or.reduceat(kinds, np.cumsum(lengths + 1) - lengths - 1)
    foreign, extended = (of_text & _FOREIGN) > 0, of_text == _EXTENSION
    parts = _filled(lengths, _SEPTETS)
    if extended.any():
        parts[extended] = _of_septets(_of_texts(kinds, lengths + 1, extended), lengths[extended])
    if foreign.any():
        halves = _of_texts(low, lengths + 1, foreign)
        parts[foreign] = _unsplit(halves, lengths[foreign], _UNITS)
    return parts


def _low_surrogates(units: _Units) -> _Flags:
    """Which units are the second half of a character."""
    kind = units & _SURROGATE_MASK
    second = np.zeros(len(units), np.bool_)
    second[1:] = (kind[1:] == _LOW) & (kind[:-1] == _HIGH)
    return second


def _of_septets(kinds: NDArray[np.uint8], lengths: _Numbers) -> _Numbers:
    """The parts of texts with characters of two septets."""
    septets = np.where(kinds == _EXTENSION, 2, 1)
    ends = np.cumsum(septets)
    second = np.zeros(ends[-1], np.bool_)
    second[ends[septets > 1] - 1] = True
    before = ends[np.cumsum(lengths + 1) - 1]
    return _unsplit(second, np.diff(before, prepend=0) - 1, _SEPTETS)


def _filled(lengths: _Numbers, room: _Room) -> _Numbers:
    """The parts where every place of a part can be used."""
    return np.where(lengths <= room.alone, 1, -(-lengths // room.of_several))


def _unsplit(is_second: _Flags, lengths: _Numbers, room: _Room) -> _Numbers:
    """The parts of texts, some of whose characters take two places.

    Args:
        is_second: by place: whether it belongs to the one before; behind every text is one more.
        lengths: of the texts, in places.
        room: how many places a part has.
    """
    parts = _filled(lengths, room)
    several = parts > 1
    if not (several.any() and is_second.any()):
        return parts
    ends = np.cumsum(lengths + 1)[several] - 1
    at, counted = ends - lengths[several], np.zeros(len(ends), np.int64)
    while (at < ends).any():
        counted += at < ends
        at = np.minimum(at + room.of_several, ends)
        at -= is_second[at]
    parts[several] = counted
    return parts
