"""The sender bank with urgent messages: they go first, and stop nothing that is under way."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.sender_bank import FEW, SenderBank
from sms_pipeline.core.submission import Terms

#: Binary fractions add up without rounding. The finer ones are many to the bank's horizon.
TIMES = st.one_of(
    st.integers(0, 24).map(lambda n: n / 128), st.integers(0, 24).map(lambda n: n / 8)
)
#: Nobody can say what was first of what happens at one moment, so urgent messages come between.
BETWEEN = 1 / 1024
DURATIONS = st.lists(TIMES.filter(bool), min_size=1, max_size=12)


class Submit(NamedTuple):
    """Messages that arrive."""

    durations: list[float]
    urgent: bool
    #: Seconds after the arrival until which they may be started.
    patience: float = math.inf


class Step(NamedTuple):
    """Time that passes before the bank is stepped."""

    seconds: float


SUBMITS = st.builds(Submit, DURATIONS, st.booleans(), st.one_of(st.just(math.inf), TIMES))
SCHEDULES = st.lists(st.one_of(SUBMITS, TIMES.map(Step)), max_size=16)


def arrivals_of(actions: Sequence[Submit | Step]) -> list[tuple[float, Submit]]:
    now, found = 0.0, []
    for action in actions:
        if isinstance(action, Step):
            now += action.seconds
        else:
            now += BETWEEN * action.urgent
            found.append((now, action))
    return found


def play(senders: int, actions: Sequence[Submit | Step]) -> list[list[float]]:
    """What becomes of `actions`, whether senders take messages one after another or not."""
    in_turn, as_array = (_play(SenderBank(senders, few=few), actions) for few in (FEW, 0))
    np.testing.assert_equal(in_turn, as_array)
    return in_turn


def _play(bank: SenderBank, actions: Sequence[Submit | Step]) -> list[list[float]]:
    """When the messages of each submission end; NaN for those that were given up."""
    now, number = 0.0, 0
    ends: dict[object, list[float]] = {}
    for action in actions:
        if isinstance(action, Step):
            now += action.seconds
            ends |= {one.key: one.finish_times.tolist() for one in bank.step(now)}
        else:
            now += BETWEEN * action.urgent
            terms = Terms(urgent=action.urgent)
            bank.submit(number, now, np.array(action.durations), now + action.patience, terms)
            number += 1
    while (event := bank.next_event()) < math.inf:
        now = max(now, event)
        ends |= {one.key: one.finish_times.tolist() for one in bank.step(now)}
    return [ends[key] for key in range(number)]


def model(senders: int, submitted: Sequence[tuple[float, Submit]]) -> list[list[float]]:
    """From message to message: the sender that is free first takes the first of all in line."""
    free_at = [-math.inf] * senders
    ends: list[list[float]] = [[] for _ in submitted]
    waiting = [
        (arrival, number, duration)
        for number, (arrival, submit) in enumerate(submitted)
        for duration in submit.durations
    ]
    while waiting:
        now = max(free_at[0], min(arrival for arrival, *_ in waiting))
        there = [one for one in waiting if one[0] <= now]
        chosen = min(there, key=lambda one: (not submitted[one[1]][1].urgent, one[1]))
        waiting.remove(chosen)
        arrival, number, duration = chosen
        if now > arrival + submitted[number][1].patience:
            ends[number].append(math.nan)
            continue
        heapq.heapreplace(free_at, now + duration)
        ends[number].append(now + duration)
    return ends


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 6), SCHEDULES)
def test_free_senders_take_urgent_messages_first(
    senders: int, actions: list[Submit | Step]
) -> None:
    np.testing.assert_equal(play(senders, actions), model(senders, arrivals_of(actions)))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), SCHEDULES)
def test_the_schedule_does_not_depend_on_the_ticks(
    senders: int, actions: list[Submit | Step]
) -> None:
    finer = [
        part
        for action in actions
        for part in ([action] if isinstance(action, Submit) else [Step(action.seconds / 4)] * 4)
    ]
    np.testing.assert_equal(play(senders, actions), play(senders, finer))


def test_what_is_under_way_is_not_interrupted() -> None:
    bank = SenderBank(1)
    bank.submit("bulk", 0.0, np.array([1.0, 1.0]))
    bank.step(0.5)
    bank.submit("urgent", 0.5, np.array([1.0]), terms=Terms(urgent=True))
    ends = {one.key: one.finish_times.tolist() for one in bank.step(3.0)}
    assert ends == {"bulk": [1.0, 3.0], "urgent": [2.0]}


def test_who_was_free_before_it_came_is_taken() -> None:
    bank = SenderBank(1)
    bank.submit("bulk", 0.0, np.array([1.0, 1.0]))
    # No step until long after: the sender was free at 1, when only bulk messages waited.
    bank.submit("urgent", 1.5, np.array([1.0]), terms=Terms(urgent=True))
    ends = {one.key: one.finish_times.tolist() for one in bank.step(3.0)}
    assert ends == {"bulk": [1.0, 2.0], "urgent": [3.0]}
