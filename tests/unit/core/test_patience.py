"""Trying again, with growing pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from sms_pipeline.core.errors import LedgerUnavailableError, StoppingError
from sms_pipeline.core.patience import Pauses, patiently

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


def test_pauses_are_drawn_from_the_whole_of_what_is_allowed() -> None:
    # Given so many draws that all of them in one tenth of the range would be a miracle
    fleet = [Waits() for _ in range(300)]
    for waits in fleet:
        patiently(unreachable(7), LedgerUnavailableError, PAUSES, waits, nothing)
    for limit, pauses in zip(
        [0.2, 0.4, 0.8, 1.6, 3.2, 5.0],
        list(zip(*(one.seconds for one in fleet), strict=True))[1:],
        strict=True,
    ):
        tenth = (limit - PAUSES.first) / 10
        assert min(pauses) < PAUSES.first + tenth
        assert max(pauses) > limit - tenth


def test_first_pause_is_the_shortest() -> None:
    waits = Waits()
    patiently(unreachable(1), LedgerUnavailableError, PAUSES, waits, nothing)
    assert waits.seconds == [PAUSES.first]


def test_call_that_succeeds_is_made_once_and_nobody_waits() -> None:
    waits = Waits()
    calls = []
    assert (
        patiently(lambda: calls.append(1), LedgerUnavailableError, PAUSES, waits, nothing) is None
    )
    assert (calls, waits.seconds) == ([1], [])


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
    # Given that it is told to stop during the third pause
    waits, told = Waits(set_after=3), list[str]()
    with pytest.raises(StoppingError, match=r"^told to stop"):
        patiently(
            unreachable(8),
            LedgerUnavailableError,
            PAUSES,
            waits,
            lambda error, _seconds: told.append(str(error)),
        )
    # Then there is no fourth try, and every failure was told before
    assert len(waits.seconds) == len(told) == 3


def test_other_errors_are_not_repeated() -> None:
    def call() -> None:
        raise ValueError("another")

    waits, told = Waits(), list[BaseException]()
    with pytest.raises(ValueError, match=r"^another$"):
        patiently(call, LedgerUnavailableError, PAUSES, waits, lambda error, _: told.append(error))
    assert (waits.seconds, told) == ([], [])


def test_whether_an_error_passes_may_be_asked() -> None:
    # Given an error that passes, then one of the same kind that does not
    errors = [LedgerUnavailableError("busy"), LedgerUnavailableError("wrong password")]

    def call() -> None:
        raise errors.pop(0)

    def passes(error: BaseException) -> bool:
        return "busy" in str(error)

    with pytest.raises(LedgerUnavailableError, match="wrong password"):
        patiently(call, passes, PAUSES, Waits(), nothing)
    assert errors == []
