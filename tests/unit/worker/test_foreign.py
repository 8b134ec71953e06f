"""What becomes of a batch of another ledger, and of the worker that receives it."""

from __future__ import annotations

from typing import Any

import pytest

from sms_pipeline.worker.foreign import MOST_RETURNS, Fate, fate_of, returns_of


@pytest.mark.parametrize(
    ("returns", "at_home", "fate"),
    [
        (0, False, Fate.BACK_AND_END),
        (MOST_RETURNS - 1, False, Fate.BACK_AND_END),
        (0, True, Fate.BACK),
        (MOST_RETURNS - 1, True, Fate.BACK),
        (MOST_RETURNS, True, Fate.ASIDE),
        (MOST_RETURNS, False, Fate.ASIDE),
    ],
)
def test_it_goes_back_a_few_times_and_then_aside(returns: int, at_home: bool, fate: Fate) -> None:
    assert fate_of(returns, at_home) is fate


@pytest.mark.parametrize(
    ("headers", "redelivered", "returns"),
    [
        ({"x-delivery-count": 2}, True, 2),
        ({"x-delivery-count": 1, "x-acquired-count": 4}, True, 4),
        # The count of a quorum queue, not whether it was delivered again
        ({"x-delivery-count": 0}, True, 0),
        ({}, False, 0),
        ({}, True, MOST_RETURNS),
        ({"x-delivery-count": "2"}, False, 0),
    ],
)
def test_returns_are_read_from_what_the_broker_tells(
    headers: dict[str, Any], redelivered: bool, returns: int
) -> None:
    assert returns_of(headers, redelivered) == returns
