"""The pace of a run follows from readings and their times alone."""

from __future__ import annotations

import math

import pytest

from sms_pipeline.core.rates import HISTORY_LENGTH, RATE_SECONDS, Pace


def paced(*readings: tuple[float, int], capacity: float = 20.0, per_message: int = 1) -> Pace:
    """After readings of (time, finished messages)."""
    pace = Pace()
    for now, finished in readings:
        pace.observe(now, finished, {"fast": finished * per_message}, {"fast": capacity})
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
def test_rate_is_taken_over_the_last_seconds(
    readings: list[tuple[float, int]], rate: float
) -> None:
    assert RATE_SECONDS == 5
    assert paced(*readings).rate == rate


def test_it_stands_still_since_the_last_change() -> None:
    assert paced((3, 0)).still_seconds == 0
    assert paced((3, 0), (5, 0)).still_seconds == 2
    assert paced((3, 0), (5, 1), (5.5, 1)).still_seconds == 0.5


def test_efficiency_is_what_was_attempted_of_what_could_be() -> None:
    assert paced((0, 0), (2, 30)).efficiency("fast", over_all=False) == 30 / 40
    assert paced((0, 0), (2, 30), per_message=2).efficiency("fast", over_all=False) == 60 / 40
    # A fraction of a message is enough to tell
    assert paced((0, 0), (0.25, 1), capacity=2.0).efficiency("fast", over_all=False) == 2.0


def test_efficiency_of_now_is_that_of_the_last_seconds() -> None:
    # Given 10 of 20 a second for 10 s, then 15 of 20 a second for another 10 s
    finished = [*range(0, 100, 10), *range(100, 251, 15)]
    pace = paced(*((float(second), count) for second, count in enumerate(finished)))
    assert pace.efficiency("fast", over_all=False) == 15 / 20
    assert pace.efficiency("fast", over_all=True) == 250 / 400


def test_profile_that_joins_later_is_measured_from_then_on() -> None:
    pace = Pace()
    pace.observe(0, 0, {}, {})
    pace.observe(1, 0, {}, {"late": 10.0})
    assert pace.efficiency("late", over_all=True) == 0
    pace.observe(2, 5, {"late": 5}, {"late": 10.0})
    assert pace.efficiency("late", over_all=True) == 5 / 20


def test_two_readings_at_one_moment_change_nothing() -> None:
    # Given senders without limit, for no time at all
    pace = Pace()
    for _ in range(2):
        pace.observe(0, 0, {"fast": 0}, {"fast": math.inf})
    pace.observe(2, 10, {"fast": 10}, {"fast": 10.0})
    assert pace.efficiency("fast", over_all=True) == 10 / 20


def test_efficiency_now_forgets_what_is_long_over() -> None:
    # Given full speed for 10 s, then none for longer than the rate looks back
    readings = [(float(second), min(20 * second, 200)) for second in range(21)]
    pace = paced(*readings)
    assert readings[-1][0] - 10 > RATE_SECONDS
    assert pace.efficiency("fast", over_all=False) == 0
    assert pace.efficiency("fast", over_all=True) == 0.5


def test_efficiency_counts_only_the_time_in_which_senders_were_online() -> None:
    pace = Pace()
    pace.observe(0, 0, {"fast": 0}, {})
    pace.observe(4, 0, {"fast": 0}, {})
    pace.observe(6, 20, {"fast": 20}, {"fast": 10.0})
    assert pace.efficiency("fast", over_all=True) == 1.0


def test_what_was_made_while_senders_were_online_is_measured_by_that_time() -> None:
    # Given senders that are busy for 4 s, gone for 3 s, and busy for another 4 s
    pace = Pace()
    finished = [0, 10, 20, 30, 40, 40, 40, 40, 50, 60, 70, 80]
    for now, count in enumerate(finished):
        online = now <= 4 or now > 7
        pace.observe(now, count, {"fast": count}, {"fast": 10.0} if online else {})
        # Then at every moment they made what they could, while they could
        assert pace.efficiency("fast", over_all=True) == (1.0 if now else None)
    assert pace.efficiency("fast", over_all=False) == 1.0


@pytest.mark.parametrize("capacity", [0.0, math.inf])
def test_efficiency_of_no_sender_and_of_senders_without_limit_is_unknown(capacity: float) -> None:
    pace = paced((0, 0), (1, 10), (2, 20), capacity=capacity)
    assert pace.efficiency("fast", over_all=True) is None


def test_nothing_is_known_of_a_profile_that_was_never_seen() -> None:
    assert paced((0, 0), (1, 10)).efficiency("slow", over_all=False) is None


def test_first_reading_has_no_rate() -> None:
    pace = paced((7, 50))
    assert (pace.rate, pace.history, pace.efficiency("fast", over_all=True)) == (0, (), None)
