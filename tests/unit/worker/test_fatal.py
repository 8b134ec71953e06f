"""A process that has lost a part of itself ends, and says which."""

from __future__ import annotations

import logging

import pytest

from sms_pipeline.core.errors import EXIT_FAILURE
from sms_pipeline.worker.fatal import fatal
from tests.unit.worker.fakes import Exited


@pytest.mark.parametrize(
    "error", [ValueError("lost"), SystemExit("lost"), KeyboardInterrupt("lost")]
)
def test_any_error_ends_the_process(
    error: BaseException,
    exits: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    flushed: list[list[int]] = []
    monkeypatch.setattr(logging, "shutdown", lambda: flushed.append(list(exits)))
    with pytest.raises(Exited), fatal("clock"):
        raise error
    assert exits == [EXIT_FAILURE]
    assert "clock died" in caplog.text
    assert "lost" in caplog.text
    # What was said is written before the process ends, which flushes nothing.
    assert flushed == [[]]


def test_nothing_happens_to_a_process_whose_parts_end_well(exits: list[int]) -> None:
    with fatal("clock"):
        pass
    assert exits == []
