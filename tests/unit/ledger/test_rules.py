"""Each rule of the protocol says something of the one record that breaks it, and of no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sms_pipeline.core.failover import Failover
from sms_pipeline.core.records import CANCELLER, Control, Failure, Run, Settlement, Steering, Step
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.ledger.rules import (
    CLOCKS_DIFFER_SECONDS,
    Standing,
    of_batch,
    of_chain,
    of_failures,
    of_run,
)
from tests.unit import make
from tests.unit.make import EACH, NOON

LATE = NOON + 2 * CLOCKS_DIFFER_SECONDS
EARLY = NOON - 2 * CLOCKS_DIFFER_SECONDS
WORKERS = frozenset({("w1", "fast"), ("w1", "guest")})
ONCE, TWICE = RetryPolicy(max_attempts=1), RetryPolicy(max_attempts=2)


def run(control: Control = Control.RUNNING, **simulation: Any) -> Run:
    configured = make.simulation(**{"num_messages": 10, "batch_size": 10, **simulation})
    return Run(1, NOON, 7, 10, configured, control=control)


def standing(control: Control = Control.RUNNING, **simulation: Any) -> Standing:
    return Standing(run(control, **simulation), WORKERS)


def problems_of(settled: Settlement, of: Standing) -> list[str]:
    return list(of_chain(of, make.row(1), [settled]))


# Batches that keep the rules


def test_chain_of_retries_in_order_has_no_problems() -> None:
    first = make.honest(1, delivered=7, retried=3, remainder=make.bitmap(0, 1, 2))
    last = make.honest(
        1,
        attempt=1,
        messages=3,
        delivered=2,
        failed=1,
        taken=make.bitmap(0, 1, 2),
        settled_at=NOON + 2,
    )
    assert not list(of_chain(standing(retry=TWICE), make.row(1), [first, last]))
    failure = Failure(2, 0, "fast", "failed", 2, NOON + 2)
    assert not list(of_failures(make.row(1), [first, last], [failure]))


def test_batch_of_a_profile_that_a_worker_brought_is_known() -> None:
    assert not list(of_batch(standing(), make.row(1, profile="guest"), []))


def test_rest_of_a_cancelled_run_may_be_of_any_size() -> None:
    cancelled = Settlement.cancellation((1, 0, 0), "fast", CANCELLER, 10, NOON)
    claimed = make.row(1, published_at=None)
    of = standing(Control.CANCELLED, batch_size=3)
    assert not list(of_batch(of, claimed, [cancelled]))
    assert not list(of_chain(of, claimed, [cancelled]))


# Runs


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (Run(1, NOON, 7, 9, run().simulation), "has 9 messages, but 10 are configured"),
        (Run(1, NOON, 8, 10, run(seed=7).simulation), "has seed 8, but 7 is configured"),
        (run(Control.PAUSED), "is paused, but by its steps it would be running"),
    ],
)
def test_run_is_as_configured_and_as_steered(changed: Run, problem: str) -> None:
    (found,) = of_run(changed, [])
    assert problem in found


GOES_ON = Step(Steering.CONTINUED, NOON + 3)
PAUSED, CANCELLED = Step(Steering.PAUSED, NOON + 1), Step(Steering.CANCELLED, NOON + 2)


@pytest.mark.parametrize(
    ("steps", "control", "problem"),
    [
        ([PAUSED._replace(at=EARLY)], Control.PAUSED, "600 s before it was started"),
        ([PAUSED._replace(idle_seconds=-1.0)], Control.PAUSED, "after -1 s of rest"),
        (
            [CANCELLED, Step(Steering.CONTINUED, NOON + 3)],
            Control.RUNNING,
            "after it was cancelled",
        ),
        (
            [PAUSED._replace(at=LATE), Step(Steering.CONTINUED, NOON)],
            Control.RUNNING,
            "was continued 600 s before it was paused",
        ),
    ],
)
def test_steps_are_legal_and_in_order(steps: list[Step], control: Control, problem: str) -> None:
    (found,) = of_run(run(control), steps)
    assert problem in found
    assert not list(of_run(run(Control.CANCELLED), [PAUSED, CANCELLED]))


# Batches


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"profile": "nobody"}, "nobody knows the profile 'nobody'"),
        ({"size": 11}, "11 messages, but 10 are allowed"),
        ({"queued_at": EARLY, "published_at": NOON}, "queued 600 s before the run was started"),
        ({"published_at": EARLY}, "published 600 s before it was queued"),
    ],
)
def test_batch_is_known_small_and_in_order(changes: dict[str, Any], problem: str) -> None:
    assert not list(of_batch(standing(), make.row(1), []))
    (found,) = of_batch(standing(), make.row(1, **changes), [])
    assert problem in found


# Attempts


@pytest.mark.parametrize("name", ["delivered", "failed", "expired", "cancelled", "retried"])
def test_no_count_is_below_zero(name: str) -> None:
    found = problems_of(make.honest(1, **{name: -1}), standing(Control.CANCELLED, deadline=1.0))
    assert any(f"{name} is -1" in one for one in found)


@pytest.mark.parametrize(
    ("changes", "simulation", "problem"),
    [
        ({"attempt": 2}, {"retry": TWICE}, "only 2 attempts are allowed"),
        ({"attempt": 1}, {"retry": ONCE}, "only 1 attempt is allowed"),
        ({"delivered": 9, "failed": 1}, {"retry": TWICE}, "but another attempt was allowed"),
        (
            {"attempt": 1, "delivered": 9, "retried": 1},
            {"retry": TWICE},
            "but no other attempt is allowed",
        ),
        ({"delivered": 9, "expired": 1}, {}, "but the run has no deadline"),
        (
            {"delivered": 9, "expired": 1},
            {"deadline": 1_000.0},
            "1 message expired before the deadline",
        ),
        (
            {"profile": "slow"},
            {"failover": None},
            "made by 'slow', but meant for 'fast', and nobody may take over",
        ),
        ({"worker": "w2"}, {}, "settled by 'w2', which never joined for 'fast'"),
        ({"worker": CANCELLER}, {}, "settles only what no worker ever saw"),
        ({"settled_at": EARLY}, {}, "settled 600 s before its batch was queued"),
        ({"send_seconds": -1.0}, {}, "send_seconds is -1"),
        ({"transit_seconds": EACH}, {}, "can't make them differ by more than 0 s"),
    ],
)
def test_attempt_may_come_to_no_more(
    changes: dict[str, Any], simulation: dict[str, Any], problem: str
) -> None:
    of = standing(**simulation)
    assert not problems_of(make.honest(1), of)
    found = problems_of(make.honest(1, **changes), of)
    assert any(problem in one for one in found), found


def test_nothing_is_delivered_past_the_deadline() -> None:
    of = standing(deadline=1.0)
    assert not problems_of(make.honest(1), of)
    (found,) = problems_of(make.honest(1, delivery_seconds=11.0, transit_seconds=11.0), of)
    assert "10 messages took 11 s, past the deadline" in found


@pytest.mark.parametrize(
    ("control", "changes", "problem"),
    [
        (Control.RUNNING, {}, "10 messages cancelled, but the run never was"),
        (Control.CANCELLED, {"cancelled": 9}, "9 messages cancelled, but not all 10"),
        (Control.CANCELLED, {"send_seconds": 3.0}, "cancelled, but 3 s were spent on it"),
    ],
)
def test_only_a_cancelled_run_has_cancelled_messages(
    control: Control, changes: dict[str, Any], problem: str
) -> None:
    values = {"delivered": 0, "cancelled": 10, "send_seconds": 0.0, **changes}
    assert problem in " ".join(problems_of(make.honest(1, **values), standing(control)))


def test_attempts_are_settled_one_after_the_other() -> None:
    first = make.honest(1, delivered=9, retried=1, settled_at=LATE)
    second = make.honest(1, attempt=1, messages=1, delivered=1, settled_at=NOON)
    (found,) = of_chain(standing(retry=TWICE), make.row(1), [first, second])
    assert found == "batch 0, attempt 2: settled 600 s before the attempt before it"


@pytest.mark.parametrize("unattended", [None, 10.0])
def test_others_make_an_attempt_only_where_they_may(unattended: float | None) -> None:
    # Given a run whose second attempts are meant for `slow`
    failover = Failover(attempts=1, to="slow", unattended=unattended)
    of = Standing(run(retry=TWICE, failover=failover), WORKERS | {("w1", "slow")})
    first = make.honest(1, delivered=9, retried=1, remainder=make.bitmap(0))
    second = make.honest(1, attempt=1, messages=1, delivered=1, settled_at=NOON + 2)
    assert not list(of_chain(of, make.row(1), [first, replace(second, profile="slow")]))
    # When `fast` makes them, then it has taken over, or it may not
    found = " ".join(of_chain(of, make.row(1), [first, second]))
    said = "attempt 2: made by 'fast', but meant for 'slow', and nobody may take over"
    assert (said in found) is (unattended is None)
    assert (found == "") is (unattended is not None)


# Messages that were not reached


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"profile": "slow"}, "by 'slow', but 'fast' made its last attempt"),
        ({"attempts": 2}, "after 2 attempts, the last of which is not settled"),
        ({"failed_at": NOON}, "at another time than attempt 1 was settled"),
        ({"message_index": 5}, "after 1 attempt, the last of which did not end it"),
    ],
)
def test_message_that_is_listed_was_ended_by_that_attempt(
    changes: dict[str, Any], problem: str
) -> None:
    # Given an attempt that left message 5 to the next one
    settled = make.honest(1, delivered=8, failed=1, retried=1, remainder=make.bitmap(5))
    listed = Failure(3, 0, "fast", "failed", 1, settled.settled_at)
    assert not list(of_failures(make.row(1), [settled], [listed]))
    (found,) = of_failures(make.row(1), [settled], [replace(listed, **changes)])
    assert problem in found


@pytest.mark.parametrize("index", [100, 109])
def test_message_that_was_left_is_found_from_the_first_to_the_last(index: int) -> None:
    batch = make.row(1, first_index=100)
    remainder = make.bitmap(index - 100)
    settled = make.honest(1, delivered=8, failed=1, retried=1, remainder=remainder)
    listed = Failure(index, 0, "fast", "failed", 1, settled.settled_at)
    (found,) = of_failures(batch, [settled], [listed])
    assert "the last of which did not end it" in found


@pytest.mark.parametrize("index", [99, 110])
def test_message_of_another_batch_is_named_elsewhere(index: int) -> None:
    settled = make.honest(1, delivered=9, failed=1, taken=make.bitmap())
    listed = Failure(index, 0, "fast", "failed", 1, settled.settled_at)
    assert not list(of_failures(make.row(1, first_index=100), [settled], [listed]))


def test_each_message_that_is_listed_wrongly_is_named() -> None:
    settled = make.honest(1, delivered=9, failed=1)
    right = Failure(3, 0, "fast", "failed", 1, settled.settled_at)
    wrong = [replace(right, attempts=2), replace(right, profile="slow")]
    assert len(list(of_failures(make.row(1), [settled], wrong))) == 2
