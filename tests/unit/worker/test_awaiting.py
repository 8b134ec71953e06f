"""A worker waits for what may come, seldom says so, and can be told to end meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise

import pytest

from sms_pipeline.core.errors import (
    BrokerRefusedError,
    BrokerUnavailableError,
    LedgerUnavailableError,
    PipelineError,
    Terminated,
)
from sms_pipeline.testing import ManualClock
from sms_pipeline.worker.awaiting import REPEAT_SECONDS, Waiting, interruptible
from tests.unit.worker.fakes import aside

PATIENCE_SECONDS = 30


class _NoPauses:
    """Time passes at once."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def wait(self, timeout: float) -> bool:
        self._clock.advance(timeout)
        return False


class Place:
    """Where something is waited for."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.said: list[tuple[str, float]] = []
        self.waiting = Waiting(
            lambda text: self.said.append((text, self.clock.monotonic())),
            self.clock,
            _NoPauses(self.clock),
        )

    def until(self, seconds: float, error: Callable[[], PipelineError]) -> str:
        """Wait for what is away for so many seconds."""
        until = self.clock.monotonic() + seconds

        def call() -> str:
            if self.clock.monotonic() < until:
                raise error()
            return "there"

        return self.waiting.until_there(call)


def test_what_is_there_is_not_waited_for() -> None:
    place = Place()
    assert place.until(0, AssertionError) == "there"  # type: ignore[arg-type]
    assert place.said == []


def test_what_is_away_is_waited_for_and_said_again_seldom() -> None:
    place = Place()
    away = REPEAT_SECONDS * 2.5
    assert place.until(away, lambda: BrokerUnavailableError("no broker")) == "there"
    assert [text for text, _ in place.said] == ["Waiting: no broker"] * 3
    times = [at for _, at in place.said]
    assert all(late - early >= REPEAT_SECONDS for early, late in pairwise(times))


def test_something_else_that_is_away_is_said_at_once() -> None:
    place = Place()
    place.until(1, lambda: BrokerUnavailableError("no broker"))
    place.until(1, lambda: BrokerUnavailableError("no other broker"))
    assert [text for text, _ in place.said] == ["Waiting: no broker", "Waiting: no other broker"]


@pytest.mark.parametrize(
    "error",
    [
        BrokerRefusedError("wrong password"),
        # Its cause is not a database that is away
        LedgerUnavailableError("of another version"),
        PipelineError("something else"),
    ],
)
def test_what_will_not_change_is_not_waited_for(error: PipelineError) -> None:
    place = Place()
    with pytest.raises(type(error), match=str(error)):
        place.until(1e9, lambda: error)
    assert place.said == []


def test_sigterm_ends_the_wait_and_is_given_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), interruptible():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_are_left_alone_in_a_thread() -> None:
    def wait() -> object:
        with interruptible():
            return signal.getsignal(signal.SIGTERM)

    assert aside(wait).result(PATIENCE_SECONDS) is signal.getsignal(signal.SIGTERM)
