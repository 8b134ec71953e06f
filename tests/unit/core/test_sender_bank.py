"""The sender bank is first-in first-out list scheduling, whenever it is stepped."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.sender_bank import FEW, HORIZON_SECONDS, SenderBank

#: Binary fractions add up without rounding, so every comparison here is exact. The finer ones
#: are many to the bank's horizon, the coarser ones beyond it.
TIMES = st.one_of(
    st.integers(0, 24).map(lambda n: n / 128), st.integers(0, 24).map(lambda n: n / 8)
)
DURATIONS = st.lists(st.one_of(st.just(0.0), TIMES), min_size=1, max_size=12)
FOREVER = 1e9


class Submit(NamedTuple):
    """Messages that arrive."""

    durations: list[float]
    #: Seconds after the arrival until which they may be started.
    patience: float = math.inf


class Step(NamedTuple):
    """Time that passes before the bank is stepped."""

    seconds: float


PATIENT = DURATIONS.map(Submit)
#: Some come too late, even for a sender that is idle.
IMPATIENT = st.builds(Submit, DURATIONS, TIMES.map(lambda seconds: seconds - 0.125))
STEP = TIMES.map(Step)
SCHEDULES = st.lists(st.one_of(PATIENT, STEP), max_size=16)
SCHEDULES_WITH_DEADLINES = st.lists(st.one_of(PATIENT, IMPATIENT, STEP), max_size=16)


class Played(NamedTuple):
    """A submission, with what became of it."""

    arrival: float
    give_up_at: float
    durations: list[float]
    finish_times: list[float]

    def starts(self) -> list[float]:
        return [
            end - duration
            for end, duration in zip(self.finish_times, self.durations, strict=True)
            if not math.isnan(end)
        ]

    def spans(self) -> list[tuple[float, float]]:
        return list(zip(self.starts(), self.finish_times, strict=False))


def play(senders: int, actions: Sequence[Submit | Step]) -> list[Played]:
    """What becomes of `actions`, whether senders take messages one after another or not."""
    in_turn, as_array = (_play(SenderBank(senders, few=few), actions) for few in (FEW, 0))
    np.testing.assert_equal(in_turn, as_array)
    return in_turn


def _play(bank: SenderBank, actions: Sequence[Submit | Step]) -> list[Played]:
    """Run a bank through `actions`, then on from event to event until it is idle."""
    now = 0.0
    submitted: list[tuple[float, Submit]] = []
    finished: dict[object, list[float]] = {}

    def step() -> None:
        for one in bank.step(now):
            assert one.key not in finished, "finished twice"
            finished[one.key] = one.finish_times.tolist()
            assert np.nanmax([*one.finish_times, -math.inf]) <= now, "finished before its end"
        assert bank.next_event() > now, "something due was left undone"

    for action in actions:
        if isinstance(action, Submit):
            durations = np.array(action.durations)
            bank.submit(len(submitted), now, durations, now + action.patience)
            submitted.append((now, action))
        else:
            now += action.seconds
            step()
    while (event := bank.next_event()) < math.inf:
        now = max(now, event)
        step()
    assert bank.waiting == 0
    assert sorted(finished) == list(range(len(submitted)))
    return [
        Played(arrival, arrival + submit.patience, submit.durations, finished[key])
        for key, (arrival, submit) in enumerate(submitted)
    ]


def model(senders: int, submissions: Sequence[Played]) -> list[list[float]]:
    """List scheduling as in a textbook: each message goes to the sender that is free first."""
    free_at = [-math.inf] * senders
    finish_times = []
    for arrival, give_up_at, durations, _ in submissions:
        ends = []
        for duration in durations:
            start = max(free_at[0], arrival)
            if start > give_up_at:
                ends.append(math.nan)
                continue
            heapq.heapreplace(free_at, start + duration)
            ends.append(start + duration)
        finish_times.append(ends)
    return finish_times


def in_flight_at_most(submissions: Sequence[Played]) -> int:
    spans = [span for played in submissions for span in played.spans() if span[0] < span[1]]
    # At one moment, ends come before starts.
    moments = sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), SCHEDULES_WITH_DEADLINES)
def test_bank_equals_the_textbook_schedule(senders: int, actions: list[Submit | Step]) -> None:
    played = play(senders, actions)
    assert np.array_equal(
        np.concatenate([[0.0], *(one.finish_times for one in played)]),
        np.concatenate([[0.0], *model(senders, played)]),
        equal_nan=True,
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), SCHEDULES)
def test_schedule_does_not_depend_on_the_ticks(senders: int, actions: list[Submit | Step]) -> None:
    # Given the same arrivals, once with the steps drawn and once with many more of them
    finer: list[Submit | Step] = []
    for action in actions:
        if isinstance(action, Step):
            finer += [Step(action.seconds / 4)] * 4
        else:
            finer.append(action)
    assert play(senders, actions) == play(senders, finer)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), SCHEDULES)
def test_never_more_messages_in_flight_than_senders(
    senders: int, actions: list[Submit | Step]
) -> None:
    assert in_flight_at_most(play(senders, actions)) <= senders


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), SCHEDULES)
def test_first_come_first_served(senders: int, actions: list[Submit | Step]) -> None:
    starts = [start for played in play(senders, actions) for start in played.starts()]
    assert starts == sorted(starts)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), SCHEDULES_WITH_DEADLINES)
def test_no_message_starts_after_it_is_given_up(senders: int, actions: list[Submit | Step]) -> None:
    for played in play(senders, actions):
        assert all(played.arrival <= start <= played.give_up_at for start in played.starts())


@settings(max_examples=50, deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=50))
def test_one_busy_sender_needs_the_sum_of_the_durations(durations: list[float]) -> None:
    (played,) = play(1, [Submit(durations)])
    assert played.finish_times == np.cumsum(durations).tolist()


def test_next_message_starts_at_its_senders_end_however_late_the_step() -> None:
    # Given one sender with two messages of one second, and a first step at 10 s
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([1.0, 1.0]))
    # When it is stepped once, late
    (finished,) = bank.step(10.0)
    # Then both ended when they would have ended with a step at every moment
    assert finished.finish_times.tolist() == [1.0, 2.0]


def test_message_does_not_start_before_it_arrives() -> None:
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([1.0]))
    bank.submit("b", 5.0, np.array([1.0]))
    ends = {finished.key: finished.finish_times.tolist() for finished in bank.step(10.0)}
    assert ends == {"a": [1.0], "b": [6.0]}


def test_sender_stays_free_until_the_message_arrives() -> None:
    bank = SenderBank(1)
    bank.submit("a", 5.0, np.array([1.0]))
    assert bank.step(4.0) == []
    assert (bank.busy(4.0), bank.waiting, bank.next_event()) == (0, 1, 5.0)


def test_submissions_are_returned_in_the_order_of_their_ends() -> None:
    bank = SenderBank(3)
    for key, duration in (("long", 3.0), ("short", 1.0), ("middle", 2.0)):
        bank.submit(key, 0.0, np.array([duration]))
    assert [finished.key for finished in bank.step(FOREVER)] == ["short", "middle", "long"]


def test_zero_durations_end_at_once_on_a_free_sender() -> None:
    bank = SenderBank(2)
    bank.submit("a", 4.0, np.zeros(1_000))
    (finished,) = bank.step(4.0)
    assert finished.finish_times.tolist() == [4.0] * 1_000
    assert bank.busy(4.0) == 0
    assert bank.next_event() == math.inf


def test_zero_durations_wait_for_a_sender_when_all_are_busy() -> None:
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([2.0]))
    bank.submit("b", 1.0, np.zeros(3))
    # However many they are, one entry stands for them
    assert bank.waiting == 1 + 1
    ends = {finished.key: finished.finish_times.tolist() for finished in bank.step(5.0)}
    assert ends == {"a": [2.0], "b": [2.0] * 3}


def test_messages_no_sender_got_to_in_time_are_given_up() -> None:
    # Given one sender that is busy for 3 s, and two messages that wait for 1 s at most
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([3.0]))
    bank.submit("late", 0.0, np.array([1.0, 1.0]), give_up_at=1.0)
    bank.submit("b", 0.0, np.array([1.0]))
    # When the sender is free, then they are passed over and the next in line is played
    ends = {finished.key: finished.finish_times.tolist() for finished in bank.step(FOREVER)}
    assert ends["a"] == [3.0]
    assert np.isnan(ends["late"]).all()
    assert ends["b"] == [4.0]


def test_who_waits_is_given_up_at_the_deadline_and_not_later() -> None:
    # Given a sender that is busy for 3 s, and a message that may wait for 1 s
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([3.0]))
    bank.submit("late", 0.0, np.array([1.0]), give_up_at=1.0)
    # Then nothing happens before its deadline
    assert bank.step(0.0) == []
    assert bank.next_event() == 1.0
    assert bank.step(1.0 - 1e-9) == []
    # When its deadline is there, it is given up at that very moment
    (finished,) = bank.step(1.0)
    assert finished.key == "late"
    assert np.isnan(finished.finish_times).all()
    assert (bank.waiting, bank.next_event()) == (0, 3.0)


def test_message_that_can_start_at_its_deadline_is_sent() -> None:
    # Given one sender that gets free, and one that is idle, just at the deadline
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([1.0]))
    bank.submit("b", 0.0, np.array([1.0, 1.0]), give_up_at=1.0)
    bank.submit("c", 5.0, np.array([1.0]), give_up_at=5.0)
    ends = {finished.key: finished.finish_times.tolist() for finished in bank.step(FOREVER)}
    # Then the first is in time, and the one behind it is not
    assert ends["b"][0] == 2.0
    assert math.isnan(ends["b"][1])
    assert ends["c"] == [6.0]


def test_some_of_a_submission_can_be_sent_and_the_others_given_up() -> None:
    bank = SenderBank(2)
    bank.submit("a", 0.0, np.array([1.0, 4.0, 2.0, 2.0, 2.0]), give_up_at=2.0)
    # When the deadline comes, what a sender has is sent to its end, and only that
    assert bank.step(2.0) == []
    assert (bank.waiting, bank.busy(2.0)) == (0, 2)
    (finished,) = bank.step(4.0)
    assert np.array_equal(finished.finish_times, [1.0, 4.0, 3.0, np.nan, np.nan], equal_nan=True)


def test_deadline_is_kept_also_with_others_in_line_that_have_none() -> None:
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([3.0]))
    bank.submit("first late", 0.0, np.array([1.0]), give_up_at=1.0)
    bank.submit("second late", 0.0, np.array([1.0]), give_up_at=2.0)
    bank.submit("patient", 0.0, np.array([1.0]))
    events = []
    while (event := bank.next_event()) < math.inf:
        events += [(event, finished.key) for finished in bank.step(event)]
    assert events == [(1.0, "first late"), (2.0, "second late"), (3.0, "a"), (4.0, "patient")]


def test_submissions_that_end_at_one_moment_are_returned_as_they_came() -> None:
    bank = SenderBank(9)
    for key in range(9):
        bank.submit(key, 0.0, np.array([1.0]))
    assert [finished.key for finished in bank.step(1.0)] == list(range(9))


def test_sender_that_gets_free_just_where_the_bank_looks_ahead_to_is_not_missed() -> None:
    # Given a bank that has looked for who gets free before a moment, and one who does just then
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([HORIZON_SECONDS, 1.0]))
    bank.step(0.0)
    assert (bank.waiting, bank.next_event()) == (1, HORIZON_SECONDS)
    bank.step(HORIZON_SECONDS)
    assert (bank.waiting, bank.next_event()) == (0, HORIZON_SECONDS + 1)


def test_counts_of_busy_senders_and_waiting_messages() -> None:
    bank = SenderBank(3)
    bank.submit("a", 0.0, np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (bank.senders, bank.busy(0.0), bank.waiting) == (3, 0, 5)
    bank.step(0.0)
    assert (bank.busy(0.0), bank.waiting) == (3, 2)
    bank.step(2.5)
    assert (bank.busy(2.5), bank.waiting) == (3, 0)


@pytest.mark.parametrize(("now", "event"), [(0.0, 1.0), (1.0, 3.0), (3.0, math.inf)])
def test_next_event_is_the_next_moment_that_changes_anything(now: float, event: float) -> None:
    bank = SenderBank(1)
    bank.submit("a", 0.0, np.array([1.0, 2.0]))
    assert bank.next_event() == 0.0
    bank.step(now)
    assert bank.next_event() == event


@pytest.mark.parametrize("give_up_at", [9.0, math.inf])
def test_next_event_is_whatever_comes_first(give_up_at: float) -> None:
    # Given two senders, of which one gets free before the submission ends
    bank = SenderBank(2)
    bank.submit("a", 0.0, np.array([1.0, 3.0]))
    bank.submit("b", 0.0, np.array([5.0]), give_up_at)
    bank.step(0.0)
    assert bank.next_event() == 1.0
    # And an end before the next arrival
    bank.submit("c", 8.0, np.array([1.0]), give_up_at)
    bank.step(1.0)
    assert bank.next_event() == 3.0
    bank.step(3.0)
    assert bank.next_event() == 6.0
    bank.step(6.0)
    assert bank.next_event() == 8.0


def test_what_waits_of_the_first_in_line_takes_so_long_at_all_senders() -> None:
    bank = SenderBank(2)
    assert bank.sending_seconds() == 0
    bank.submit("first", 0.0, np.array([1.0, 1.0, 3.0, 4.0]))
    bank.submit("next", 0.0, np.array([50.0]))
    assert bank.sending_seconds() == 4.5
    bank.step(0.0)
    assert bank.sending_seconds() == 3.5
    bank.step(10.0)
    assert bank.sending_seconds() == 0


def test_senders_that_are_few_and_those_that_are_one_more_do_the_same() -> None:
    ends = []
    for few in (2, 3):
        bank = SenderBank(3, few=few)
        bank.submit("all", 0.0, np.array([1.0, 2.0, 2.0, 1.0, 1.0, 1.0]))
        ends.append([bank.step(now) for now in (0.0, 1.0, 2.0, 3.0)])
    assert [[len(found) for found in one] for one in ends] == [[0, 0, 0, 1]] * 2


def test_many_senders_and_messages_are_one_vectorised_step() -> None:
    durations = np.random.default_rng(1).gamma(16, 1 / 16, 20_000)
    bank = SenderBank(5_000)
    bank.submit("a", 0.0, durations)
    (finished,) = bank.step(FOREVER)
    free_at = [0.0] * 5_000
    expected = []
    for duration in durations.tolist():
        expected.append(free_at[0] + duration)
        heapq.heapreplace(free_at, expected[-1])
    assert finished.finish_times.tolist() == expected


def test_a_late_step_puts_hardly_more_senders_in_order_than_punctual_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_order = SenderBank._in_order
    ordered: list[int] = []

    def counted(bank: SenderBank, senders: np.ndarray) -> np.ndarray:
        ordered.append(len(senders))
        return in_order(bank, senders)

    monkeypatch.setattr(SenderBank, "_in_order", counted)
    durations = np.random.default_rng(1).gamma(16, 1 / 16, 200)

    def work(times: list[float]) -> int:
        bank = SenderBank(10_000)
        for key in range(500):
            bank.submit(key, 0.0, durations)
        ordered.clear()
        for now in times:
            bank.step(now)
        return sum(ordered)

    punctual = work([tick / 100 for tick in range(500)])
    assert work([0.0, 4.99]) <= 2 * punctual
    assert work([4.99]) <= 2 * punctual


# Who wants to be told of each message


def test_each_message_is_told_once_it_has_ended_and_only_once() -> None:
    bank = SenderBank(1)
    submission = bank.submit("a", 0.0, np.array([1.0, 2.0, 4.0]))
    told = []
    for now in (0.5, 1.0, 3.5, 7.0, 9.0):
        bank.step(now)
        told.append(submission.newly_ended(now).tolist())
    assert told == [[], [0], [1], [2], []]


def test_messages_that_take_no_time_are_all_told_at_once() -> None:
    bank = SenderBank(1)
    busy = bank.submit("a", 0.0, np.array([1.0]))
    submission = bank.submit("b", 0.0, np.zeros(3))
    bank.step(0.5)
    assert submission.newly_ended(0.5).tolist() == []
    bank.step(1.0)
    assert (busy.newly_ended(1.0).tolist(), submission.newly_ended(1.0).tolist()) == (
        [0],
        [0, 1, 2],
    )
    assert submission.newly_ended(2.0).tolist() == []


def test_what_was_given_up_is_never_told() -> None:
    bank = SenderBank(1)
    submission = bank.submit("a", 0.0, np.array([5.0, 5.0]), give_up_at=1.0)
    bank.step(20.0)
    assert submission.newly_ended(20.0).tolist() == [0]
