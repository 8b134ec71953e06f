"""How long a run took to recover: from bins of delivered messages."""

from __future__ import annotations

import pytest

from sms_pipeline.core.recovery import time_to_recover


def bins(*stretches: tuple[int, int]) -> list[int]:
    """(seconds, messages a second), in bins of a second."""
    return [rate for seconds, rate in stretches for _ in range(seconds)]


@pytest.mark.parametrize(
    ("course", "seconds"),
    [
        # At once
        ([(20, 100), (10, 0), (30, 100)], 0.0),
        # In a jump, and step by step
        ([(20, 100), (10, 0), (7, 20), (30, 100)], 7.0),
        ([(20, 100), (10, 0), (4, 60), (6, 89), (30, 91)], 8.0),
        # A peak is no recovery
        ([(20, 100), (10, 0), (1, 300), (9, 20), (30, 100)], 10.0),
        # It was hardly felt
        ([(60, 100)], 0.0),
        # Not before the run ended
        ([(20, 100), (10, 0), (30, 50)], None),
        ([(20, 100), (10, 0), (3, 100)], None),
        # It must last for five seconds, and may end with them
        ([(20, 100), (10, 0), (4, 300)], None),
        ([(20, 100), (10, 0), (5, 90)], 0.0),
        ([(20, 100), (10, 0), (5, 89)], None),
        # Nothing to compare with
        ([(20, 0), (10, 0), (30, 100)], None),
    ],
)
def test_a_run_has_recovered_when_its_rate_is_back(
    course: list[tuple[int, int]], seconds: float | None
) -> None:
    found = time_to_recover(bins(*course), 1.0, start=20.0, end=30.0)
    assert found == (seconds if seconds is None else pytest.approx(seconds, abs=1.0))


def test_the_rate_before_is_that_of_the_last_half_minute() -> None:
    course = bins((100, 1_000), (30, 100), (10, 0), (30, 100))
    assert time_to_recover(course, 1.0, start=130.0, end=140.0) == 0.0


def test_what_was_delivered_from_the_very_first_is_part_of_the_rate_before() -> None:
    course = bins((1, 1_000), (9, 100), (10, 0), (30, 180))
    assert time_to_recover(course, 1.0, start=10.0, end=20.0) == 0.0
    assert time_to_recover(course[:-30] + [170] * 30, 1.0, start=10.0, end=20.0) is None


@pytest.mark.parametrize("width", [0.5, 2.0])
def test_bins_may_be_of_any_width(width: float) -> None:
    # Given a course in whole seconds, told in bins of another width
    course = bins((20, 100), (10, 0), (8, 20), (30, 100))
    told = [course[int(place * width)] for place in range(int(len(course) / width))]
    found = time_to_recover(told, width, start=20.0, end=30.0)
    assert found == pytest.approx(8, abs=width)


def test_wide_bins_are_looked_at_in_twos() -> None:
    # Given bins of ten seconds, of which one is full again by chance
    once, twice = ([100, 100, 0, 100, *then] for then in ([0] * 5, [90] * 5))
    assert time_to_recover(once, 10.0, start=20.0, end=30.0) is None
    # Then two of them must be, and no more
    assert time_to_recover(twice[:5], 10.0, start=20.0, end=30.0) == 0.0


def test_few_messages_are_looked_at_for_longer() -> None:
    # Given one message a second, and after the event five by chance, then none for long
    course = bins((60, 1), (10, 0), (5, 1), (40, 0), (100, 1))
    # Then chance is not taken for recovery
    found = time_to_recover(course, 1.0, start=60.0, end=70.0)
    assert found == pytest.approx(40, abs=6)


def test_an_event_at_the_very_start_has_nothing_before_it() -> None:
    assert time_to_recover(bins((60, 10)), 1.0, start=0.0, end=10.0) is None
    assert time_to_recover([], 1.0, start=0.0, end=10.0) is None
