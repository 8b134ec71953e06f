"""The sender bank when senders are stopped, slowed down, or busy apart from a message."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.sender_bank import FEW, SenderBank
from sms_pipeline.core.submission import Finished, Outage, Terms

#: Binary fractions add up without rounding.
TIMES = st.integers(0, 40).map(lambda n: n / 16)
LENGTHS = st.integers(1, 40).map(lambda n: n / 16)
OUTAGES = st.lists(
    st.builds(lambda start, length: Outage(start, start + length), TIMES, LENGTHS), max_size=3
).map(tuple)
FOREVER = 1e9


class Submit(NamedTuple):
    """Messages that arrive: their durations, and for how long each keeps its sender busy."""

    durations: list[float]
    occupied: list[float] | None
    patience: float


class Step(NamedTuple):
    """Time that passes before the bank is stepped."""

    seconds: float


PAIRS = st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=8)
SUBMITS = st.builds(
    lambda pairs, has_lanes, patience: Submit(
        [one for one, _ in pairs], [two for _, two in pairs] if has_lanes else None, patience
    ),
    PAIRS,
    st.booleans(),
    st.one_of(st.just(math.inf), TIMES),
)
SCHEDULES = st.lists(st.one_of(SUBMITS, TIMES.map(Step)), max_size=14)


class Played(NamedTuple):
    """A submission, and what the bank made of it."""

    arrival: float
    submit: Submit
    finished: Finished


def play(
    senders: int, actions: Sequence[Submit | Step], outages: tuple[Outage, ...]
) -> list[Played]:
    """What becomes of `actions`, whether senders take messages one after another or not."""
    in_turn, as_array = (_play(SenderBank(senders, few=few), actions, outages) for few in (FEW, 0))
    np.testing.assert_equal(in_turn, as_array)
    return in_turn


def _play(
    bank: SenderBank, actions: Sequence[Submit | Step], outages: tuple[Outage, ...]
) -> list[Played]:
    """Run a bank through `actions`, then on from event to event until it is idle."""
    now = 0.0
    submitted: list[tuple[float, Submit]] = []
    finished: dict[object, Finished] = {}
    for action in actions:
        if isinstance(action, Step):
            now += action.seconds
            finished |= {one.key: one for one in bank.step(now)}
            continue
        occupied = None if action.occupied is None else np.array(action.occupied)
        terms = Terms(occupied=occupied, outages=outages, timed=True)
        give_up_at = now + action.patience
        bank.submit(len(submitted), now, np.array(action.durations), give_up_at, terms)
        submitted.append((now, action))
    while (event := bank.next_event()) < math.inf:
        now = max(now, event)
        finished |= {one.key: one for one in bank.step(now)}
        assert bank.next_event() > now, "something due was left undone"
    return [Played(at, submit, finished[key]) for key, (at, submit) in enumerate(submitted)]


def textbook(
    senders: int, played: Sequence[Played], outages: Sequence[Outage]
) -> list[list[tuple[float, float]]]:
    """(start, end) of each message: it goes to the sender that is free first.

    Who would start in an outage starts at its end.
    """
    free_at = [-math.inf] * senders
    found = []
    for arrival, (durations, occupied, patience), _ in played:
        spans = []
        for number, duration in enumerate(durations):
            start = _postponed(max(free_at[0], arrival), outages)
            if start > arrival + patience:
                spans.append((math.nan, math.nan))
                continue
            busy = duration if occupied is None else occupied[number]
            heapq.heapreplace(free_at, start + busy)
            spans.append((start, start + duration))
        found.append(spans)
    return found


def _postponed(start: float, outages: Sequence[Outage]) -> float:
    while ends := [one.end for one in outages if one.start <= start < one.end]:
        start = max(ends)
    return start


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 5), SCHEDULES, OUTAGES)
def test_the_schedule_is_that_of_the_textbook(
    senders: int, actions: list[Submit | Step], outages: tuple[Outage, ...]
) -> None:
    played = play(senders, actions, outages)
    expected = textbook(senders, played, outages)
    for one, spans in zip(played, expected, strict=True):
        assert one.finished.start_times is not None
        seen = list(zip(one.finished.start_times, one.finished.finish_times, strict=True))
        assert np.array_equal(np.array(seen), np.array(spans), equal_nan=True)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), SCHEDULES, OUTAGES)
def test_nothing_starts_in_an_outage(
    senders: int, actions: list[Submit | Step], outages: tuple[Outage, ...]
) -> None:
    for one in play(senders, actions, outages):
        starts = one.finished.start_times
        assert starts is not None
        assert not any(((starts >= gap.start) & (starts < gap.end)).any() for gap in outages)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), SCHEDULES, OUTAGES)
def test_the_schedule_does_not_depend_on_the_ticks(
    senders: int, actions: list[Submit | Step], outages: tuple[Outage, ...]
) -> None:
    finer: list[Submit | Step] = []
    for action in actions:
        finer += [Step(action.seconds / 4)] * 4 if isinstance(action, Step) else [action]
    once, again = play(senders, actions, outages), play(senders, finer, outages)
    for one, other in zip(once, again, strict=True):
        assert np.array_equal(
            one.finished.finish_times, other.finished.finish_times, equal_nan=True
        )


@pytest.mark.parametrize(("share", "stopped"), [(0.5, 2), (0.1, 0), (0.13, 1), (1.0, 4)])
def test_an_outage_stops_a_share_of_the_senders(share: float, stopped: int) -> None:
    # Given four senders with more to do than they can, a second each
    bank = SenderBank(4)
    terms = Terms(outages=(Outage(10.0, 20.0, share),), timed=True)
    bank.submit("all", 0.0, np.ones(1_000), terms=terms)
    # When time passes
    starts = ends_of(bank)
    # Then so many fewer start in each second of the outage, and all before and after it
    for second in range(40):
        inside = ((starts >= second) & (starts < second + 1)).sum()
        assert inside == (4 - stopped if 10 <= second < 20 else 4)


def ends_of(bank: SenderBank) -> np.ndarray:
    (finished,) = bank.step(FOREVER)
    assert finished.start_times is not None
    return finished.start_times


def test_what_comes_in_the_middle_of_an_outage_waits_for_its_end() -> None:
    bank = SenderBank(2)
    bank.step(12.0)
    bank.submit("late", 12.0, np.ones(2), terms=Terms(outages=(Outage(10.0, 20.0),), timed=True))
    assert bank.next_event() <= 12.0
    bank.step(12.0)
    assert bank.next_event() == 20.0
    assert ends_of(bank).tolist() == [20.0, 20.0]


def test_an_outage_that_is_over_stops_nobody() -> None:
    bank = SenderBank(1)
    bank.submit("after", 20.0, np.ones(1), terms=Terms(outages=(Outage(10.0, 20.0),), timed=True))
    assert ends_of(bank).tolist() == [20.0]


def test_an_outage_of_a_run_that_has_ended_stops_nobody() -> None:
    # Given a run that ended before its outage begins
    bank = SenderBank(1)
    bank.submit("ended", 0.0, np.ones(1), terms=Terms(outages=(Outage(10.0, 20.0),)))
    bank.step(5.0)
    # When another run has messages during it, then they are sent
    bank.submit("other", 5.0, np.full(20, 1.0), terms=Terms(timed=True))
    assert ends_of_last(bank, "other").tolist() == [5.0 + n for n in range(20)]


def ends_of_last(bank: SenderBank, key: str) -> np.ndarray:
    (found,) = [one.start_times for one in bank.step(FOREVER) if one.key == key]
    assert found is not None
    return found


def test_messages_of_other_runs_wait_as_well() -> None:
    bank = SenderBank(1)
    bank.submit("struck", 0.0, np.ones(12), terms=Terms(outages=(Outage(10.0, 20.0),)))
    bank.submit("other", 0.0, np.ones(2), terms=Terms(timed=True))
    assert ends_of_last(bank, "other").tolist() == [22.0, 23.0]


def test_what_starts_while_it_is_slow_takes_longer() -> None:
    bank = SenderBank(1)
    slow = lambda starts: np.where((starts >= 2) & (starts < 4), 3.0, 1.0)  # noqa: E731
    bank.submit("all", 0.0, np.ones(5), terms=Terms(slowdown=slow, timed=True))
    (finished,) = bank.step(FOREVER)
    assert finished.finish_times.tolist() == [1.0, 2.0, 5.0, 6.0, 7.0]


def test_a_sender_is_free_before_its_message_has_arrived() -> None:
    bank = SenderBank(1)
    terms = Terms(occupied=np.full(3, 0.5), timed=True)
    bank.submit("all", 0.0, np.array([10.0, 2.0, 0.0]), terms=terms)
    (finished,) = bank.step(FOREVER)
    assert finished.start_times is not None
    assert finished.start_times.tolist() == [0.0, 0.5, 1.0]
    assert finished.finish_times.tolist() == [10.0, 2.5, 1.0]


def test_messages_that_wait_longer_than_they_are_valid_are_given_up() -> None:
    bank = SenderBank(1)
    bank.submit("all", 1.0, np.ones(5), terms=Terms(validity=2.0))
    (finished,) = bank.step(FOREVER)
    assert finished.gave_up_at == 3.0
    assert np.array_equal(finished.finish_times, [2, 3, 4, np.nan, np.nan], equal_nan=True)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.5, 40), st.integers(1, 4), st.lists(st.integers(1, 300), min_size=1, max_size=6))
def test_no_second_sees_more_parts_than_may_be_passed(
    rate: float, senders: int, sizes: list[int]
) -> None:
    # Given senders with a limit, and messages of one part that take no time to the network
    lanes = math.ceil(rate)
    bank = SenderBank(senders * lanes)
    for key, size in enumerate(sizes):
        terms = Terms(occupied=np.full(size, lanes / rate), timed=True)
        bank.submit(key, 0.0, np.zeros(size), terms=terms)
    # When all have been sent
    ends = np.sort(np.concatenate([one.finish_times for one in bank.step(FOREVER)]))
    # Then no second, wherever it begins, has more ends than the limit, rounded up
    before = np.searchsorted(ends, ends, side="left")
    within = np.searchsorted(ends, ends + 1 - 1e-9, side="left") - before
    assert within.max() <= senders * lanes
    # … and they took as long as the limit says
    assert ends[-1] >= (sum(sizes) / senders - lanes) / rate - 1e-6
