"""How a run stands is said with the command that gets it going again."""

from __future__ import annotations

import re

import pytest

from sms_pipeline.core.progress import Findings, Progress, Tracker
from sms_pipeline.core.records import Control, Retrying, Steering, Step
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.run_state import RunState
from sms_pipeline.views.display import PlainView
from sms_pipeline.views.lines import update_line
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.states import (
    cure,
    cure_of,
    eta,
    lost_time,
    notices,
    time_left,
    waiting_retries,
)
from tests.unit import make
from tests.unit.make import NOON


def progress(seconds: float = 10, **values: object) -> Progress:
    """A run with messages in flight, so long after its start; no worker is online."""
    counts = make.counts("slow", dispatched=50, first_attempts=10, attempts=10, delivered=10)
    return Tracker().update(make.snapshot(counts, **values), 0, NOON + seconds)


@pytest.mark.parametrize(
    ("state", "unattended", "said"),
    [
        (RunState.PAUSED, [], "paused: go on with sms-pipeline continue 3"),
        (RunState.INTERRUPTED, ["slow"], "interrupted: go on with sms-pipeline resume 3"),
        (RunState.STALLED, [], "stalled: go on with sms-pipeline resume 3"),
        (
            RunState.STALLED,
            ["slow", "fast"],
            "stalled: start a worker: celery -A sms_pipeline worker --profile slow",
        ),
        (RunState.RUNNING, ["slow"], None),
        (RunState.CANCELLED, [], None),
        (RunState.DONE, [], None),
    ],
)
def test_every_state_that_needs_help_names_the_command(
    state: RunState, unattended: list[str], said: str | None
) -> None:
    assert cure_of(3, state, unattended) == said


def test_cure_is_that_of_the_run_as_it_stands() -> None:
    assert cure(progress(embedded=True)) == "interrupted: go on with sms-pipeline resume 1"
    cancelled = progress(embedded=True, control=Control.CANCELLED)
    assert cure(cancelled) == "cancelled: settle what is open with sms-pipeline resume 1"
    assert cure(progress(3_600)) == (
        "stalled: start a worker: celery -A sms_pipeline worker --profile slow"
    )
    assert cure(progress()) is None


def test_notices_begin_with_the_cure_and_say_nothing_twice() -> None:
    assert notices(progress(control=Control.PAUSED)) == [
        "the run is paused: go on with sms-pipeline continue 1",
        "profile slow: 40 messages waiting, no sender online",
    ]
    assert notices(progress()) == list(progress().warnings)


def test_state_is_in_the_line_and_in_the_json() -> None:
    stalled = progress(3_600)
    assert " stalled " in update_line(stalled)
    found = progress_json(stalled)
    assert (found["state"], found["cure"], found["done"]) == ("stalled", cure(stalled), False)


def test_lost_time_is_told_where_there_was_any() -> None:
    steps = (
        Step(Steering.PAUSED, NOON + 1),
        Step(Steering.CONTINUED, NOON + 3),
        Step(Steering.RESUMED, NOON + 9, idle_seconds=5.0),
    )
    assert dict(lost_time(progress(steps=steps))) == {
        "paused for": "2.0 s",
        "interrupted for": "5.0 s",
    }
    assert dict(lost_time(progress())) == {}


# Time left


def only_retries(messages: int, **values: object) -> Progress:
    """A run in which nothing but so many messages is left; they are due in 8 s."""
    done = 100 - messages
    counts = make.counts(
        "fast", dispatched=100, first_attempts=100, attempts=100, delivered=done, retried=messages
    )
    simulation = make.simulation(retry=RetryPolicy(backoff=10, jitter=0, max_attempts=2))
    found = Findings(retrying=[Retrying(0, "fast", 0, messages, NOON - 2)])
    snapshot = make.snapshot(counts, simulation=simulation, workers=(make.worker(),), **values)
    return Tracker(["w1"]).update(snapshot, 0, NOON, found)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (15, "15 messages wait for their retry, next in 8.0 s"),
        (1, "1 message waits for its retry, in 8.0 s"),
    ],
)
def test_a_run_that_only_waits_for_retries_says_so(
    messages: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = only_retries(messages)
    assert waiting_retries(waiting) == said
    assert re.fullmatch(rf"ETA 8\.[2-6] s \({said}\)", time_left(waiting))
    assert eta(waiting) in update_line(waiting)
    PlainView().show(waiting)
    assert f"    {said}\n" in capsys.readouterr().out


def test_time_left_is_not_told_while_nothing_moves() -> None:
    assert time_left(only_retries(3, control=Control.PAUSED)) == "paused, no ETA"
    assert time_left(progress(3_600)) == "stalled, no ETA"
    assert time_left(progress(embedded=True)) == "interrupted, no ETA"
    assert time_left(progress()) == "ETA -"
