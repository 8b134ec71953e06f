"""The smallest fleet that meets a time."""

from __future__ import annotations

import pytest

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.forecast.plan import IN_HAND, Goal, make_plan
from tests.unit import make

#: Two hundred seconds of one sender.
WORK = make.simulation(
    num_messages=2_000,
    senders=(make.profile("a", count=4, failure_rate=0), make.profile("b", failure_rate=0)),
)


def test_as_many_senders_as_the_work_takes_and_hardly_more() -> None:
    plan = make_plan(WORK, Goal(0.99, 20.0))
    assert plan.chosen and plan.chosen.reached
    assert plan.chosen.workers is None
    assert sum(plan.chosen.senders.values()) == pytest.approx(200 / 20, abs=2)
    assert 17.0 < plan.chosen.reached.high <= 20.0 / (1 + IN_HAND)
    half, double = plan.beside["half"], plan.beside["double"]
    assert half.reached and double.reached
    assert half.reached.middle > plan.chosen.reached.middle > double.reached.middle


def test_the_mix_is_kept_or_one_profile_grows() -> None:
    mixed, grown = make_plan(WORK, Goal(0.99, 10.0)), make_plan(WORK, Goal(0.99, 10.0), "b")
    assert mixed.chosen and grown.chosen
    assert mixed.chosen.senders["a"] / mixed.chosen.senders["b"] == pytest.approx(4, rel=0.2)
    assert grown.chosen.senders["a"] == 4
    assert grown.chosen.senders["b"] > 12


def test_a_fleet_that_is_larger_than_needed_shrinks() -> None:
    little = WORK.model_copy(update={"num_messages": 200})
    plan = make_plan(little, Goal(0.99, 60.0))
    assert plan.chosen
    assert plan.chosen.senders == {"a": 1, "b": 1}


def test_no_fleet_is_faster_than_the_pauses_of_its_retries() -> None:
    patient = RetryPolicy(max_attempts=5, backoff=60, jitter=0)
    waiting = make.simulation(
        num_messages=300, senders=(make.profile(failure_rate=0.5),), retry=patient
    )
    plan = make_plan(waiting, Goal(0.9, 60.0))
    assert plan.chosen is None
    assert plan.limits[0].without == "if retries did not wait"
    assert make_plan(waiting, Goal(0.4, 60.0)).chosen


def test_a_share_that_is_never_delivered_is_not_planned_for() -> None:
    hopeless = make.simulation(
        senders=(make.profile(failure_rate=0.5),), retry=RetryPolicy(max_attempts=1)
    )
    plan = make_plan(hopeless, Goal(0.99, 3_600.0))
    assert plan.chosen is None
    assert plan.largest.reached is None


def test_what_one_process_can_not_do_takes_several_workers() -> None:
    huge = make.simulation(num_messages=4_000_000, senders=(make.profile(failure_rate=0),))
    plan = make_plan(huge, Goal(0.9, 4.0))
    assert plan.chosen
    assert plan.chosen.workers


def test_there_must_be_such_a_profile() -> None:
    with pytest.raises(ConfigError, match="unknown profile 'c'"):
        make_plan(WORK, Goal(0.99, 20.0), "c")
