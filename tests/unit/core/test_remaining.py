"""How long a run will still take."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sms_pipeline.core.bad_day import BadDay, Stretch
from sms_pipeline.core.remaining import Ahead, Part, Waiting, attempts_each, seconds_left
from sms_pipeline.core.retry import RetryPolicy

#: Pauses of 1, 2, 4 … seconds, four attempts.
POLICY = RetryPolicy(jitter=0)
#: Settling, and handing a retry on, may take so long.
OVERHEAD = 0.2
SETTLING, HANDING_ON = 0.05, 0.08


def part(**values: Any) -> Part:
    given = {
        "untried": 0,
        "rate": 10.0,
        "mean_time": 0.5,
        "shape": 10_000.0,
        "failure_rate": 0.0,
        "batch_size": 1,
        **values,
    }
    return Part(**given)


def left(*parts: Part, undispatched: int = 0, **values: Any) -> float | None:
    return seconds_left(Ahead(undispatched, parts, **{"retry": POLICY, **values}))


def test_nothing_left_takes_no_time() -> None:
    assert left(part()) == 0.0


@pytest.mark.parametrize(
    "parts",
    [
        [part(untried=1, rate=0.0)],
        [part(waiting=(Waiting(1, 1, 0.0),), rate=0.0)],
        # The others can do nothing for it.
        [part(untried=1, rate=0.0), part(untried=5)],
    ],
)
def test_what_nobody_can_send_never_ends(parts: list[Part]) -> None:
    assert left(*parts) is None
    assert left(part(rate=0.0), undispatched=1) is None


def test_what_fails_for_ever_ends_at_the_deadline_or_never() -> None:
    hopeless = part(untried=5, failure_rate=1.0)
    unlimited = RetryPolicy(max_attempts=None, jitter=0)
    assert left(hopeless, part(), retry=unlimited) is None
    assert left(part(failure_rate=1.0), undispatched=1, retry=unlimited) is None
    assert left(hopeless, retry=unlimited, due_in=60.0) == pytest.approx(60, abs=20)
    # What is not dispatched yet goes to the other one.
    told = left(part(failure_rate=1.0), part(), undispatched=100, retry=unlimited)
    assert told == pytest.approx(10, abs=OVERHEAD + 0.5)


def test_without_failures_it_is_the_work() -> None:
    assert left(part(untried=100)) == pytest.approx(10, abs=OVERHEAD)


def test_of_the_batch_that_is_being_sent_half_has_ended() -> None:
    assert left(part(untried=100, batch_size=20)) == pytest.approx(10 - 1, abs=OVERHEAD)


def test_every_attempt_that_is_still_needed_counts() -> None:
    # 1 + 0.5 + 0.25 + 0.125 attempts each, which take longer than the pauses of the last one
    found = left(part(untried=1_000, failure_rate=0.5), retry=RetryPolicy(backoff=0))
    assert found == pytest.approx(1_000 * 1.875 / 10, rel=0.03)


def test_the_last_messages_wait_for_all_their_retries() -> None:
    # They fail again and again until they are out of attempts
    found = left(part(untried=1, failure_rate=1.0))
    assert found == pytest.approx(4 * 0.5 + 1 + 2 + 4, abs=4 * OVERHEAD)


def test_what_has_never_been_tried_is_shared_out_so_that_all_are_done_together() -> None:
    # 300 messages at 40 a second, though one profile has 60 already
    both = (part(untried=60, rate=20.0), part(rate=20.0))
    assert left(*both, undispatched=240) == pytest.approx(300 / 40, abs=OVERHEAD)
    # One that has more than its share takes its own time
    assert left(part(untried=600), part(rate=100.0), undispatched=10) == pytest.approx(
        60, abs=OVERHEAD
    )


def test_what_has_no_workers_is_taken_over_by_those_who_are_done() -> None:
    # Given senders with five and with twenty seconds of work, and thirty seconds of nobody's
    parts = part(untried=50), part(untried=200)
    assert left(*parts, adrift=300) == pytest.approx(27.5, abs=OVERHEAD)
    # And what is not enough for those who have more to do
    assert left(*parts, adrift=100) == pytest.approx(20, abs=OVERHEAD)
    # Then a limit to what is dispatched does not hold it up
    assert left(*parts, adrift=300, rate=1.0) == pytest.approx(27.5, abs=OVERHEAD)
    assert left(part(rate=0.0), adrift=1) is None


def test_whoever_is_done_looks_on_for_a_while_before_they_take_over() -> None:
    parts = part(untried=50), part(untried=200)
    assert left(*parts, adrift=300, taken_after=60.0) == pytest.approx(87.5, abs=OVERHEAD)
    # While the others are at work nobody waits for those who look on
    assert left(*parts, adrift=100, taken_after=60.0) == pytest.approx(20, abs=OVERHEAD)
    assert left(*parts, taken_after=60.0) == pytest.approx(20, abs=OVERHEAD)
    # And what expires meanwhile is at its end
    told = left(*parts, adrift=300, taken_after=60.0, due_in=40.0)
    assert told == pytest.approx(40, abs=OVERHEAD)
    # Nor does it matter that nobody has anything of their own
    assert left(part(), adrift=100, taken_after=60.0) == pytest.approx(70, abs=OVERHEAD)


def test_whoever_has_to_send_more_often_is_given_less() -> None:
    # 60 messages are tried again, and 100 are new: 160 attempts at 20 a second
    retrying = part(waiting=(Waiting(3, 60, 0.0),))
    assert left(retrying, part(), undispatched=100) == pytest.approx(160 / 20)
    # 600 messages take 900 attempts. In 3.3 seconds 990 are made, so there is room for another 60
    # such messages; others do 990 in that time
    failing = part(rate=300.0, mean_time=0.01, failure_rate=0.5, untried=600)
    found = left(
        failing, part(rate=300.0, mean_time=0.01), undispatched=60 + 990,
        retry=RetryPolicy(max_attempts=2, backoff=0),
    )  # fmt: skip
    assert found == pytest.approx(3.3, abs=OVERHEAD)


def test_senders_may_take_longer_than_a_second_for_a_message() -> None:
    # A message takes two seconds, and half of the first one is done
    found = left(part(rate=0.5, mean_time=2.0), undispatched=10)
    assert found == pytest.approx(20 - 1 + SETTLING)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2 + 4), (2, 4), (3, 0)])
def test_waiting_messages_have_only_the_attempts_before_them(attempt: int, seconds: int) -> None:
    waiting = (Waiting(attempt, 10, 8.0),)
    found = left(part(failure_rate=1.0, waiting=waiting))
    attempts = 4 - attempt
    assert found == pytest.approx(8 + attempts * 0.5 + seconds, abs=4 * OVERHEAD)


def test_messages_that_wait_take_all_attempts_that_are_expected_of_them() -> None:
    # Two are left to each, of which every other one needs the second
    waiting = (Waiting(1, 1_000, 0.0),)
    found = left(
        part(failure_rate=0.5, waiting=waiting), retry=RetryPolicy(max_attempts=3, backoff=0)
    )
    assert found == pytest.approx(1_000 * 1.5 / 10)


def test_a_pause_is_as_long_as_chance_makes_the_longest_of_many() -> None:
    # After 12 seconds at most, 6 on average; such a chance has a variance of 12 ** 2 / 12. The
    # longest of a thousand is 3.2 standard deviations above the mean
    policy = RetryPolicy(backoff=3, jitter=1)
    found = left(
        part(rate=1_000.0, failure_rate=1.0, waiting=(Waiting(2, 1_000, 0.0),)), retry=policy
    )
    pause = 6 + 3.2 * math.sqrt(12)
    assert found == pytest.approx(0.5 + pause + HANDING_ON + 0.5, abs=0.2)


@pytest.mark.parametrize(
    ("waiting", "first_done"),
    [
        # Alone, first attempts take 10 s. All of them fail and are made again 5.58 s later, so a
        # share of 1 - 5.58 / s comes back before they are done: s = 10 + 10 * share
        ((), 10 + math.sqrt(10**2 - 55.8)),
        # Ten others come back before that: s = 11 + 10 * share
        ((Waiting(1, 10, 0.0),), 10.5 + math.sqrt(10.5**2 - 55.8)),
    ],
)
def test_first_attempts_are_held_up_by_retries_that_come_back_before_they_are_made(
    waiting: tuple[Waiting, ...], first_done: float
) -> None:
    policy = RetryPolicy(max_attempts=2, backoff=5, jitter=0)
    found = left(part(untried=100, failure_rate=1.0, waiting=waiting), retry=policy)
    # The last first attempt fails, and is made again after the pause
    assert found == pytest.approx(first_done + 5 + HANDING_ON + 0.5, abs=0.05)


def test_retries_that_come_back_later_hold_nothing_up() -> None:
    policy = RetryPolicy(backoff=12, backoff_max=12, jitter=0)
    found = left(part(untried=100, failure_rate=1.0), retry=policy)
    assert found == pytest.approx(10 + 3 * (12 + HANDING_ON + 0.5), abs=0.05)


def test_when_first_attempts_end_is_no_matter_of_chance() -> None:
    even, uneven = (part(untried=100, mean_time=5.0, shape=shape) for shape in (10_000.0, 1.0))
    assert left(even) == left(uneven)


def test_after_eighty_attempts_nothing_is_expected_of_a_message() -> None:
    fewer, eighty, more = (
        left(part(untried=1, failure_rate=1.0), retry=RetryPolicy(max_attempts=most, backoff=0))
        for most in (79, 80, 90)
    )
    assert fewer != eighty == more


def test_more_messages_are_less_lucky() -> None:
    # One in two fails: of one message none is expected to fail thrice, of a hundred many do
    few, many = (
        left(part(rate=1_000.0, failure_rate=0.5, waiting=(Waiting(1, number, 0.0),)))
        for number in (1, 100)
    )
    assert few is not None and many is not None
    assert few < 3 < 2 + 4 < many


@pytest.mark.parametrize("shape", [1.0, 4.0, 100.0])
def test_the_slowest_of_many_takes_longer_the_more_they_differ(shape: float) -> None:
    # The last attempts of a thousand: the largest of them is 3.2 standard deviations above the mean
    waiting = (Waiting(3, 1_000, 0.0),)
    found = left(part(rate=1_000.0, mean_time=10.0, shape=shape, waiting=waiting))
    assert found == pytest.approx(10 + 3.2 * 10 / math.sqrt(shape), abs=0.5)


def test_no_pause_is_longer_than_the_longest() -> None:
    policy = RetryPolicy(backoff=8, backoff_max=10, jitter=0, max_attempts=3)
    found = left(part(untried=1, failure_rate=1.0), retry=policy)
    assert found == pytest.approx(3 * 0.5 + 8 + 10, abs=4 * OVERHEAD)


def test_without_a_limit_it_ends_when_hardly_anything_is_left() -> None:
    policy = RetryPolicy(max_attempts=None, backoff=0)
    found = left(part(untried=100, failure_rate=0.5), retry=policy)
    assert found == pytest.approx(20.0, rel=0.2)


def test_a_retry_stands_in_line_behind_what_waits() -> None:
    # The only message that failed is due at once, but all others have come before it
    behind = left(part(untried=100, waiting=(Waiting(1, 1, 0.0),)))
    assert behind == pytest.approx(10 + 0.5, abs=OVERHEAD)
    # But not behind what is dispatched later: its turn is after the 20 that wait
    slow = part(untried=20, mean_time=20.0, waiting=(Waiting(3, 1, 0.0),))
    assert left(slow, undispatched=80) == pytest.approx(2 + 20, abs=OVERHEAD)
    # Nor are others held up by those that come when all is done
    late = part(untried=100, waiting=(Waiting(3, 10, 10.0),))
    assert left(late) == pytest.approx(110 / 10)


def test_after_the_deadline_only_pauses_are_waited_for() -> None:
    assert left(part(untried=1_000), due_in=7.0) == pytest.approx(7, abs=OVERHEAD)
    # A message expires when its pause is over, and is not sent then
    late = part(failure_rate=1.0, waiting=(Waiting(2, 5, 9.0),))
    assert left(late, due_in=7.0) == pytest.approx(9, abs=OVERHEAD)
    assert left(late, due_in=9.0) == pytest.approx(9, abs=OVERHEAD)
    # One that fails just then is not tried again
    assert left(late, due_in=9.5) == pytest.approx(9 + 0.5, abs=OVERHEAD)
    assert left(part(waiting=(Waiting(1, 5, 3.0),)), due_in=0.0) == pytest.approx(3, abs=OVERHEAD)


@pytest.mark.parametrize(
    ("day", "seconds"),
    [
        # 100 messages at 10 a second
        (BadDay(stopped=(Stretch(0, 5, 1.0),)), 15),
        (BadDay(stopped=(Stretch(3, 8, 1.0),)), 15),
        (BadDay(stopped=(Stretch(3, 8, 0.5),)), 12.5),
        (BadDay(stopped=(Stretch(20, 90, 1.0),)), 10),
        (BadDay(slowed=(Stretch(0, 4, 4.0),)), 13),
        (BadDay(slowed=(Stretch(5, 900, 10.0),)), 55),
    ],
)
def test_a_bad_day_takes_the_time_that_it_costs(day: BadDay, seconds: float) -> None:
    assert left(part(untried=100, bad_day=day)) == pytest.approx(seconds, rel=0.02)
    # Whoever is given the rest, if there is only one
    rest = left(part(bad_day=day), undispatched=100)
    assert rest == pytest.approx(seconds, rel=0.02)


def test_others_get_the_rest_while_a_profile_is_stopped() -> None:
    stopped = part(bad_day=BadDay(stopped=(Stretch(0, 100, 1.0),)))
    assert left(stopped, part(), undispatched=200) == pytest.approx(20, abs=OVERHEAD)


def test_a_retry_waits_for_the_end_of_an_outage() -> None:
    day = BadDay(stopped=(Stretch(2, 9, 1.0),))
    waiting = (Waiting(1, 5, 4.0),)
    assert left(part(waiting=waiting, bad_day=day)) == pytest.approx(9 + 0.5, abs=OVERHEAD)


def test_an_attempt_that_starts_in_a_slow_time_takes_longer() -> None:
    day = BadDay(starting_slow=(Stretch(0, 9, 6.0),))
    waiting = (Waiting(1, 5, 4.0),)
    assert left(part(waiting=waiting, bad_day=day)) == pytest.approx(4 + 6 * 0.5, abs=OVERHEAD)
    # If it fails, the slow time is over after the pause: two others take as long as usual
    found = left(part(waiting=waiting, bad_day=day, failure_rate=1.0))
    paused = 2 + HANDING_ON + 4 + HANDING_ON
    assert found == pytest.approx(4 + 6 * 0.5 + paused + 0.5 + 0.5, abs=OVERHEAD)


def test_attempts_that_fail_in_a_bad_time_are_made_again() -> None:
    # Half of the messages are tried while all fail, and once more after a pause
    day = BadDay(failing=(Stretch(0, 10, 1.0),))
    found = left(part(untried=200, bad_day=day), retry=RetryPolicy(backoff=10, jitter=0))
    assert found == pytest.approx(20 + 10, rel=0.1)
    # It does not matter what comes when all is over
    late = BadDay(failing=(Stretch(500, 600, 1.0),))
    assert left(part(untried=200, bad_day=late)) == left(part(untried=200))
    # One that waits starts while all fail, and is made again when none does
    soon = BadDay(failing=(Stretch(0, 5, 1.0),))
    found = left(part(waiting=(Waiting(1, 1, 4.0),), bad_day=soon))
    assert found == pytest.approx(4 + 0.5 + 2 + HANDING_ON + 0.5 + SETTLING)


@pytest.mark.parametrize("start", [0, 20])
def test_until_the_first_of_them_come_back_senders_try_nothing_twice(start: float) -> None:
    # All that start in ten seconds fail, and come back four seconds later. So in the first four
    # 40 messages are tried, and in the others 30, each twice: 70 attempts more than messages
    day = BadDay(failing=(Stretch(start, start + 10, 1.0),))
    policy = RetryPolicy(backoff=4, jitter=0)
    found = left(part(bad_day=day), undispatched=300, retry=policy)
    assert found == pytest.approx((300 + 70) / 10, abs=0.05)


def test_an_attempt_that_fails_in_a_bad_time_is_followed_by_usual_ones() -> None:
    # 1 + (1 + 0.5 + 0.25) attempts each
    day = BadDay(failing=(Stretch(0, 100, 1.0),))
    found = left(part(untried=1_000, failure_rate=0.5, bad_day=day), retry=RetryPolicy(backoff=0))
    assert found == pytest.approx(1_000 * 2.75 / 10, abs=2)


def test_messages_that_failed_in_a_bad_time_are_out_of_it_after_their_pause() -> None:
    # The first third of the messages fails, as if all of them were tried after 1.8 seconds
    day = BadDay(failing=(Stretch(0, 3, 1.0),))
    found = left(part(untried=100, bad_day=day), retry=RetryPolicy(backoff=60, jitter=0))
    assert found == pytest.approx(1.8 + 60 + HANDING_ON + 0.5, abs=0.1)


@pytest.mark.parametrize(
    ("rate", "most", "attempts"),
    [(0.0, 4, 1), (0.5, 4, 1.875), (1.0, 4, 4), (0.5, math.inf, 2), (0.5, 0, 0)],
)
def test_attempts_at_one_message(rate: float, most: float, attempts: float) -> None:
    assert attempts_each(rate, most) == attempts


def test_a_rate_holds_up_what_is_not_dispatched_yet() -> None:
    paced = left(part(), undispatched=100, rate=5.0)
    assert paced == pytest.approx(20 + 0.5, abs=OVERHEAD)
    # Senders that are slower than that decide themselves, and so does a deadline
    assert left(part(), undispatched=100, rate=50.0) == left(part(), undispatched=100)
    assert left(part(), undispatched=100, rate=5.0, due_in=8.0) == pytest.approx(8, abs=OVERHEAD)
    # What was dispatched before is worked off meanwhile
    assert left(part(untried=150), undispatched=100, rate=5.0) == pytest.approx(25, abs=OVERHEAD)


def test_what_is_dispatched_last_has_the_senders_for_itself() -> None:
    # One a second is dispatched; the last is taken to end after half of its half a second
    early = part(rate=2.0, waiting=(Waiting(3, 1, 30.0),))
    found = left(early, undispatched=40, rate=1.0)
    assert found == pytest.approx(40 + 0.25 + SETTLING)
    # But it is too late after the deadline
    found = left(part(), undispatched=39, rate=5.0, due_in=8.0)
    assert found == pytest.approx(8 + SETTLING)
    # And without senders it never ends
    assert left(part(rate=0.0), undispatched=10, rate=5.0) is None
