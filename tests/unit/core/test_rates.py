"""The pace of a run follows from readings and their times alone."""

from __future__ import annotations

import pytest

from sms_pipeline.core.rates import HISTORY_LENGTH, RATE_SECONDS, Pace

#: Attempts at each message of these tests.
ATTEMPTS_EACH = 2


def paced(*readings: tuple[float, int]) -> Pace:
    """After readings of (time, finished messages)."""
    pace = Pace()
    for now, finished in readings:
        pace.observe(now, finished, finished * ATTEMPTS_EACH)
    return pace


def test_history_is_the_rate_of_each_second_however_often_it_reads() -> None:
    # Given 10 a second for two seconds, then 30 in one, read ten times a second
    finished = [*range(21), *range(23, 51, 3)]
    pace = paced(*((tick / 10, count) for tick, count in enumerate(finished)))
    assert pace.history == pytest.approx((10, 10, 30))


def test_history_of_a_reader_that_seldom_looks_has_the_mean_of_each_wait() -> None:
    assert paced((0, 0), (5, 100), (9, 100)).history == (20.0, 0.0)


def test_history_is_bounded_and_keeps_the_newest() -> None:
    pace = paced(*((second, second * second) for second in range(HISTORY_LENGTH + 10)))
    assert len(pace.history) == HISTORY_LENGTH
    assert pace.history[-1] == 2 * (HISTORY_LENGTH + 9) - 1


@pytest.mark.parametrize(
    ("readings", "rate"),
    [
        # Over all, while that is less than five seconds …
        ([(100, 0), (101, 10), (104, 40)], 10),
        # … then from the newest reading that is five seconds old.
        ([(100, 0), (101, 90), (105, 130)], 26),
        ([(100, 0), (101, 90), (106, 190)], 20),
        ([(100, 0), (101, 90), (102, 140), (106, 180)], 18),
        ([(100, 0), (101, 90), (102, 140), (107, 180)], 8),
        # The last wait, however long, for a reader that seldom looks.
        ([(100, 0), (130, 90), (200, 160)], 1),
        # None, when no time has passed.
        ([(100, 0), (100, 10)], 0),
    ],
)
def test_rates_are_taken_over_the_last_seconds(
    readings: list[tuple[float, int]], rate: float
) -> None:
    assert RATE_SECONDS == 5
    assert paced(*readings).rate == rate


@pytest.mark.parametrize(
    ("readings", "rate", "seconds"),
    [
        # Before the first was settled, senders had only begun.
        ([(100, 0), (101, 0), (102, 10), (104, 40)], 15, 2),
        ([(100, 0), (101, 90), (102, 140), (106, 180), (107, 190)], 10, 5),
        ([(100, 0), (101, 0)], 0, 0),
        ([(100, 0), (101, 10)], 0, 0),
    ],
)
def test_attempts_count_from_when_they_are_seen(
    readings: list[tuple[float, int]], rate: float, seconds: float
) -> None:
    pace = paced(*readings)
    assert (pace.attempts_rate, pace.attempts_seconds) == (rate * ATTEMPTS_EACH, seconds)


def test_attempts_that_finish_nothing_have_a_rate() -> None:
    pace = Pace()
    for second in range(3):
        pace.observe(second, 0, 7 * second)
    assert (pace.rate, pace.attempts_rate) == (0, 7)


def test_it_stands_still_since_the_last_change() -> None:
    assert paced((3, 0)).still_seconds == 0
    assert paced((3, 0), (5, 0)).still_seconds == 2
    assert paced((3, 0), (5, 1), (5.5, 1)).still_seconds == 0.5


def test_first_reading_has_no_rate() -> None:
    pace = paced((7, 50))
    assert (pace.rate, pace.attempts_rate, pace.history) == (0, 0, ())
