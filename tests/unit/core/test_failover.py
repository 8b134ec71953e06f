"""Who plays an attempt, and what goes from profile to profile with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.counts import total
from sms_pipeline.core.errors import BadBatchError, ConfigError
from sms_pipeline.core.failover import Failover, HandOver, hand_overs, profile_of
from sms_pipeline.core.playable import require_playable
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.views.meaning import meaning_lines
from tests.unit import make

TWICE = Failover(attempts=2, to="backup")


def test_without_the_profile_that_takes_over_nothing_goes_to_another_one() -> None:
    assert TWICE.without("backup") == Failover()
    assert TWICE.without("fast") == TWICE


@pytest.mark.parametrize(
    ("failover", "attempt", "profile"),
    [
        (None, 0, "fast"),
        (None, 9, "fast"),
        (Failover(), 9, "fast"),
        (TWICE, 0, "fast"),
        (TWICE, 1, "fast"),
        (TWICE, 2, "backup"),
        (TWICE, 3, "backup"),
    ],
)
def test_attempts_go_to_another_profile_after_so_many(
    failover: Failover | None, attempt: int, profile: str
) -> None:
    assert profile_of("fast", attempt, failover) == profile
    assert profile_of("backup", attempt, failover) == "backup"


def test_remainder_goes_to_the_profile_whose_turn_it_is_and_knows_where_it_came_from() -> None:
    batch = make.batch(10, failover=TWICE)
    second = batch.remainder(np.array([2, 3, 4]))
    third = second.remainder(np.array([3, 4]))
    fourth = third.remainder(np.array([4]))
    assert [one.profile for one in (batch, second, third, fourth)] == [
        "fast", "fast", "backup", "backup",
    ]  # fmt: skip
    assert {one.home for one in (batch, second, third, fourth)} == {"fast"}
    assert Batch.from_wire(third.to_wire()) == third


@pytest.mark.parametrize(
    "changes",
    [{"profile": "slow"}, {"profile": "fast"}, {"attempt": 1}, {"failover": None}],
)
def test_an_attempt_of_a_profile_whose_turn_it_is_not_is_no_batch(changes: dict[str, Any]) -> None:
    third = make.batch(10, failover=TWICE).at_attempt(2, np.arange(10)).to_wire()
    assert Batch.from_wire(third).profile == "backup"
    with pytest.raises(BadBatchError, match="not one of its profile"):
        Batch.from_wire({**third, **changes})


def test_what_the_own_profile_plays_is_not_handed_over() -> None:
    assert [*hand_overs("fast", TWICE, 0, "fast", 10, 4)] == []
    assert [*hand_overs("fast", TWICE, 2, "backup", 4, 2)] == []
    assert [*hand_overs("backup", TWICE, 1, "backup", 4, 2)] == []


def test_what_is_taken_over_goes_there_and_what_is_left_goes_back() -> None:
    assert [*hand_overs("slow", Failover(), 0, "fast", 10, 4)] == [
        HandOver("slow", "fast", 10, 10),
        HandOver("fast", "slow", 4, 0),
    ]
    assert [*hand_overs("slow", Failover(), 1, "fast", 4, 0)] == [HandOver("slow", "fast", 4, 0)]


def test_what_has_failed_often_enough_goes_on_to_the_other_profile() -> None:
    assert [*hand_overs("fast", TWICE, 1, "fast", 10, 4)] == [HandOver("fast", "backup", 4, 0)]
    # Where that one has taken it over, it is there already
    assert [*hand_overs("fast", TWICE, 1, "backup", 10, 4)] == [HandOver("fast", "backup", 10, 0)]


def test_what_is_in_flight_is_where_it_was_handed_to() -> None:
    # 10 of 30 were taken over: 4 failed and went back, the others are delivered
    slow = make.counts("slow", dispatched=30, first_attempts=10, handed_away=10, handed_in=4)
    fast = make.counts("fast", handed_in=10, handed_away=4, attempts=10, delivered=6, retried=4)
    assert (slow.in_flight, slow.backlog, slow.retrying) == (24, 20, 4)
    assert (fast.in_flight, fast.backlog, fast.retrying) == (0, 0, 0)
    both = total([slow, fast])
    assert (both.in_flight, both.handed_in, both.handed_away) == (24, 14, 14)


# What a user says


@pytest.mark.parametrize("value", [False, None])
def test_it_can_be_switched_off(value: object) -> None:
    assert Simulation(failover=value).failover is None  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{}, {"failover": True}, {"failover": {}}])
def test_by_default_only_what_is_unattended_is_taken_over(values: dict[str, Any]) -> None:
    assert Simulation(**values).failover == Failover(attempts=None, to=None, unattended=10)


@pytest.mark.parametrize(
    ("failover", "others", "problem"),
    [
        ({"attempts": 2}, {}, "attempts needs to"),
        ({"to": "slow"}, {}, "to needs attempts"),
        ({"attempts": 0, "to": "slow"}, {}, "greater than or equal to 1"),
        ({"unattended": 0}, {}, "greater than 0"),
        ({"attempts": 2, "to": "slwo"}, {}, "no profile is called 'slwo'; there are fast, slow"),
        (
            {"attempts": 1, "to": "fast"},
            {"senders": (make.profile(),)},
            "'fast' is the only profile; there is no other one",
        ),
        (
            {"attempts": 3, "to": "slow"},
            {"retry": RetryPolicy(max_attempts=3)},
            "failover.attempts is 3, but retry.max_attempts is 3, so nothing would go to 'slow'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    failover: dict[str, Any], others: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        make.simulation(failover=failover, **others)


def test_a_run_whose_failing_profile_hands_over_comes_to_an_end() -> None:
    senders = (make.profile("dead", failure_rate=1), make.profile("backup"))
    endless = RetryPolicy(max_attempts=None)
    to = {"attempts": 1, "to": "backup"}
    assert Simulation(senders=senders, retry=endless, failover=to)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="could never end"):
        Simulation(senders=senders, retry=endless)


def test_validate_tells_what_is_otherwise_than_by_default() -> None:
    assert "failover" not in "\n".join(meaning_lines(make.simulation()))
    told = meaning_lines(make.simulation(failover={"attempts": 2, "to": "slow"}))
    assert "  after 2 failed attempts a message goes to slow" in told
    off = meaning_lines(make.simulation(failover=False))
    assert "  no failover: what a profile without workers has waits for them" in off


def test_batches_that_come_from_others_must_be_short_enough_too() -> None:
    senders = (make.profile("fast", count=1_000), make.profile("weak", count=1, mean_time=1))
    values: dict[str, Any] = {"senders": senders, "num_messages": 1_000_000}
    require_playable(make.simulation(**values))
    with pytest.raises(ConfigError, match=r"'weak': 1 sender at 1 s needs .* batch of 5000"):
        require_playable(make.simulation(failover={"attempts": 1, "to": "weak"}, **values))
