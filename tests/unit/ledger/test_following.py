"""Reading again and again: an outage is told once, or raised where nobody is to be told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest

from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.ledger.following import readings
from sms_pipeline.testing.clock import ManualClock

AWAY = LedgerUnavailableError


class Script:
    """What each reading finds: a value, or an outage."""

    def __init__(self, *results: int | Exception) -> None:
        self._results = iter(results)

    def __call__(self) -> int:
        result = next(self._results)
        if isinstance(result, Exception):
            raise result
        return result


def ends_after(count: int) -> Callable[[float], bool]:
    """Like the `wait` of an event that is set during that wait."""
    waits = iter(range(1, count + 1))
    return lambda _: next(waits) == count


def test_first_reading_is_at_once_and_the_next_after_each_wait() -> None:
    clock = ManualClock()
    found = readings(Script(1, 2, 3), 0.5, clock.sleep)
    seen = [(reading, clock.monotonic()) for reading in islice(found, 3)]
    assert seen == [(1, 0), (2, 0.5), (3, 1)]


@pytest.mark.parametrize("waits", [1, 2, 3])
def test_readings_end_when_the_wait_says_so(waits: int) -> None:
    assert list(readings(Script(1, 2, 3), 1, ends_after(waits))) == [1, 2, 3][:waits]


def test_readings_end_during_an_outage_as_well() -> None:
    told: list[Exception] = []
    script = Script(1, AWAY("gone"), AWAY("gone"))
    assert list(readings(script, 1, ends_after(3), told.append)) == [1]
    assert len(told) == 1


def test_each_outage_is_told_once_and_readings_go_on_after_it() -> None:
    # Given two outages, each longer than one reading
    clock = ManualClock()
    told: list[str] = []
    script = Script(
        AWAY("first"), AWAY("still"), 1, 2, AWAY("second"), AWAY("still"), AWAY("still"), 3
    )
    # When all is read
    found = readings(script, 1, clock.sleep, lambda error: told.append(str(error)))
    # Then nothing is lost but time
    assert [(reading, clock.monotonic()) for reading in islice(found, 3)] == [
        (1, 2),
        (2, 3),
        (3, 7),
    ]
    assert told == ["first", "second"]


def test_outage_is_raised_when_nobody_is_to_be_told() -> None:
    clock = ManualClock()
    found = readings(Script(1, AWAY("gone")), 1, clock.sleep)
    assert next(found) == 1
    with pytest.raises(LedgerUnavailableError, match="gone"):
        next(found)


def test_other_errors_are_raised_whoever_is_to_be_told() -> None:
    told: list[Exception] = []
    with pytest.raises(ValueError, match="a bug"):
        next(readings(Script(ValueError("a bug")), 1, ManualClock().sleep, told.append))
    assert told == []
