"""Freed memory is kept where the system's allocator can do that."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from sms_pipeline.broker import memory

#: A batch's text, encoded: what is allocated and freed for each.
BATCH_BYTES = 300_000


def test_blocks_of_the_size_of_a_batch_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[int, int] = {}
    libc = SimpleNamespace(mallopt=limits.__setitem__)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    memory.keep_freed_memory()
    # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    assert limits.keys() == {-1, -3}
    assert BATCH_BYTES < limits[-3] < limits[-1]


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_other_systems_keep_what_they_like(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def load(name: object) -> SimpleNamespace:
        if error is OSError:
            raise OSError
        return SimpleNamespace()

    monkeypatch.setattr(ctypes, "CDLL", load)
    memory.keep_freed_memory()
