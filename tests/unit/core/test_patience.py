"""Trying again, with growing pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from sms_pipeline.core.patience import Pauses, patiently
from sms_pipeline.errors import LedgerUnavailableError, StoppingError

PAUSES = Pauses(first=0.1, longest=5.0)


class Waits(threading.Event):
    """Notes how long it was waited for, and never lets anyone wait."""

    def __init__(self, set_after: int | None = None) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._set_after = set_after

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0)
        return len(self.seconds) == self._set_after


def unreachable(times: int) -> Callable[[], str]:
    """A call that fails so many times, then succeeds."""
    left = [times]

    def call() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise LedgerUnavailableError("away")
        return "here"

    return call


def nothing(_error: BaseException, _seconds: float) -> None:
    """Whoever is told does nothing."""


def test_call_is_repeated_until_it_succeeds_after_growing_pauses() -> None:
    waits = Waits()
    assert patiently(unreachable(9), LedgerUnavailableError, PAUSES, waits, nothing) == "here"
    limits = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert len(waits.seconds) == len(limits)
    assert all(0.1 <= pause <= limit for pause, limit in zip(waits.seconds, limits, strict=True))


def test_a_fleet_does_not_come_back_in_step() -> None:
    fleet = [Waits() for _ in range(20)]
    for waits in fleet:
        patiently(unreachable(9), LedgerUnavailableError, PAUSES, waits, nothing)
    assert len({waits.seconds[-1] for waits in fleet}) == len(fleet)


def test_every_failure_is_told_with_the_pause_that_follows() -> None:
    waits, told = Waits(), list[tuple[str, float]]()

    def tell(error: BaseException, seconds: float) -> None:
        told.append((str(error), seconds))

    patiently(unreachable(3), LedgerUnavailableError, PAUSES, waits, tell)
    assert told == [("away", seconds) for seconds in waits.seconds]


def test_patience_ends_when_told_to_stop() -> None:
    waits = Waits(set_after=3)
    with pytest.raises(StoppingError):
        patiently(unreachable(8), LedgerUnavailableError, PAUSES, waits, nothing)
    assert len(waits.seconds) == 3


def test_other_errors_are_not_repeated() -> None:
    def call() -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        patiently(call, LedgerUnavailableError, PAUSES, Waits(), nothing)
