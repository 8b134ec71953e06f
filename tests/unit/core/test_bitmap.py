"""Which messages of a batch: a bitmap says the same however it is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.bitmap import bitmap_as_number, pack_offsets, unpack_offsets
from sms_pipeline.core.errors import BadBatchError


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 100))
def test_bitmap_holds_the_offsets(data: st.DataObject, size: int) -> None:
    offsets = sorted(data.draw(st.sets(st.integers(0, size - 1))))
    assert unpack_offsets(pack_offsets(offsets, size), size).tolist() == offsets


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 100))
def test_bitmap_is_a_number_with_a_bit_for_each_offset(data: st.DataObject, size: int) -> None:
    offsets = data.draw(st.sets(st.integers(0, size - 1)))
    number = bitmap_as_number(pack_offsets(sorted(offsets), size), size)
    assert {offset for offset in range(size) if number >> (size - 1 - offset) & 1} == offsets
    assert number < 1 << size


@pytest.mark.parametrize("bitmap", [b"", b"\0", b"\0\0\0", b"\xff\xff"])
def test_bitmap_of_another_size_is_refused(bitmap: bytes) -> None:
    for read in (unpack_offsets, bitmap_as_number):
        with pytest.raises(BadBatchError, match=r"^the offsets do not fit the size"):
            read(bitmap, 10)


@pytest.mark.parametrize("size", range(1, 18))
def test_bit_that_stands_for_no_message_is_refused(size: int) -> None:
    in_whole_bytes = -(-size // 8) * 8
    for stray in range(size, in_whole_bytes):
        for read in (unpack_offsets, bitmap_as_number):
            with pytest.raises(BadBatchError):
                read(pack_offsets([stray], in_whole_bytes), size)
