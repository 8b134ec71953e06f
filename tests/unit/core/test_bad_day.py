"""What the events of a bad day still do to the work of a profile."""

from __future__ import annotations

from typing import Any

import pytest

from sms_pipeline.core.bad_day import GOOD_DAY, BadDay, Stretch
from sms_pipeline.core.events import Spell

NOON = 43_200.0


def day(*spells: dict[str, Any], mean_time: float = 0.0, shape: float = 10_000.0) -> BadDay:
    """Spells whose times are seconds from now."""
    moved = [
        Spell(**{**one, "start": NOON + one["start"], "end": NOON + one["end"]}) for one in spells
    ]
    return BadDay.of(moved, NOON, mean_time, shape)


def test_on_a_good_day_work_takes_its_time() -> None:
    assert day() == GOOD_DAY
    assert GOOD_DAY.work(7.5) == GOOD_DAY.done_at(7.5) == GOOD_DAY.next_at(7.5) == 7.5
    assert (GOOD_DAY.slowdown(1), GOOD_DAY.failure_rate(1, 0.2)) == (1, 0.2)


def test_what_is_over_does_not_count() -> None:
    assert day(
        {"start": -20, "end": 0, "out": 1.0}, {"start": -20, "end": -5, "slowdown": 3.0}
    ) == (GOOD_DAY)


@pytest.mark.parametrize(
    ("seconds", "work"), [(0, 0), (4, 4), (10, 4), (14, 4), (16, 6), (19, 9), (21, 10), (29, 14)]
)
def test_work_stands_still_in_an_outage_and_goes_on_after_it(seconds: float, work: float) -> None:
    found = day({"start": 4, "end": 14, "out": 1.0}, {"start": 19, "end": 39, "slowdown": 2.0})
    assert found.work(seconds) == pytest.approx(work)
    assert found.done_at(work) == pytest.approx(4 if work == 4 else seconds)
    # Whoever has done so much goes on when the outage is over
    assert found.next_at(work) == pytest.approx(14 if work == 4 else seconds)


def test_what_is_done_is_done_at_once() -> None:
    found = day({"start": 0, "end": 10, "out": 1.0})
    assert (found.done_at(0), found.next_at(0)) == (0, 10)


def test_of_outages_at_the_same_time_the_larger_one_counts() -> None:
    found = day({"start": 0, "end": 10, "out": 0.5}, {"start": 5, "end": 10, "out": 0.25})
    assert found.work(10) == pytest.approx(5)


def test_of_slowdowns_at_the_same_time_the_last_one_counts() -> None:
    found = day({"start": 0, "end": 10, "slowdown": 2.0}, {"start": 5, "end": 10, "slowdown": 5.0})
    assert found.work(10) == pytest.approx(2.5 + 1)
    assert [found.slowdown(at) for at in (1, 6, 10)] == [2, 5, 1]


def test_senders_end_what_they_are_on() -> None:
    # Given messages of a second each: of those under way half a second is left, on average
    outage = day({"start": 2, "end": 10, "out": 1.0}, mean_time=1.0)
    assert outage.work(10) == pytest.approx(2.5, abs=0.01)
    slow = day({"start": 2, "end": 10, "slowdown": 4.0}, mean_time=1.0)
    assert slow.slowed == (Stretch(pytest.approx(2.5, abs=0.01), pytest.approx(12, abs=0.01), 4),)
    # And where send times differ much, more is left of the long ones
    wide = day({"start": 2, "end": 10, "out": 1.0}, mean_time=1.0, shape=1.0)
    assert wide.work(10) == pytest.approx(3)


def test_attempts_fail_more_at_some_times() -> None:
    found = day(
        {"start": -5, "end": 5, "failure_rate": 0.9}, {"start": 8, "end": 9, "failure_rate": 0.0}
    )
    assert list(found.failures(0.1)) == [
        (0, 5, 0.9),
        (5, 8, 0.1),
        (8, 9, 0.0),
        (9, float("inf"), 0.1),
    ]
