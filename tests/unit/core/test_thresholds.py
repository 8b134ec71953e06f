"""How a run stands to its thresholds: kept, missed for good, or not yet known."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms_pipeline.core.checks import parse
from sms_pipeline.core.counts import Counts
from sms_pipeline.core.histogram import upper_bound
from sms_pipeline.core.thresholds import Evidence, Judgement, State, judge

HOLDING, MISSED, UNKNOWN = State.HOLDING, State.MISSED, State.UNKNOWN


#: What is given of the counts; all else is evidence beside them.
COUNTED = {one.name for one in fields(Counts)}


def judged(text: str, **values: Any) -> Judgement:
    """On a run of 1,000 messages."""
    of_counts = {name: values.pop(name) for name in list(values) if name in COUNTED}
    return judge(parse(text), Evidence(1_000, Counts(**of_counts), **values))


# Deciding

#: A run at which half of the thousand messages have ended.
HALF: dict[str, Any] = {"delivered": 490, "failed": 5, "expired": 3, "cancelled": 2}


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("failed < 1%", HOLDING),
        ("failed < 0.5%", MISSED),
        ("failed <= 0.5%", HOLDING),
        ("failed <= 4", MISSED),
        ("failed == 5", HOLDING),
        ("failed == 4", MISSED),
        ("failed == 6", UNKNOWN),
        ("failed == 506", MISSED),
        ("expired == 0", MISSED),
        ("cancelled < 10", HOLDING),
        ("delivered > 99%", MISSED),
        ("delivered >= 99%", UNKNOWN),
        ("delivered > 400", HOLDING),
    ],
)
def test_counts_only_grow_and_what_is_left_may_join_them(text: str, state: State) -> None:
    assert judged(text, **HALF).state is state


def test_at_the_end_every_count_is_decided() -> None:
    ended = {"delivered": 990, "failed": 10}
    assert judged("delivered >= 99%", **ended).state is HOLDING
    assert judged("failed < 1%", **ended).state is MISSED
    assert judged("failed == 11", **ended).state is MISSED


def test_share_of_failed_attempts_can_turn_until_the_end() -> None:
    attempts = {"attempts": 100, "retried": 20}
    assert judged("failed attempts < 10%", **attempts).state is UNKNOWN
    assert judged("failed attempts < 30%", **attempts).state is HOLDING
    assert judged("failed attempts < 10%", delivered=1_000, **attempts).state is MISSED
    assert judged("failed attempts < 20", **attempts).state is MISSED
    assert judged("failed attempts < 10%").state is UNKNOWN


@pytest.mark.parametrize(
    ("delivered", "delivery_seconds", "state"),
    [
        (100, 150.0, HOLDING),
        (100, 500.0, UNKNOWN),
        (100, 2_000.0, MISSED),
        (1_000, 2_000.0, MISSED),
    ],
)
def test_mean_is_missed_once_nothing_can_pull_it_down(
    delivered: int, delivery_seconds: float, state: State
) -> None:
    found = judged("mean delivery < 2s", delivered=delivered, delivery_seconds=delivery_seconds)
    assert found.state is state
    assert found.seen == delivery_seconds / delivered


@pytest.mark.parametrize(("slow", "state"), [(5, HOLDING), (49, UNKNOWN), (51, MISSED)])
def test_percentile_is_missed_once_too_many_were_late(slow: int, state: State) -> None:
    # Given a thousand messages, of which 5 % may take longer than a second
    fast, late = 40, 200
    assert upper_bound(fast) < 1 < upper_bound(late)
    found = judged(
        "p95 delivery < 1s", delivered=100 + slow, delivery_times={fast: 100, late: slow}
    )
    assert found.state is state


def test_percentile_is_judged_on_what_was_timed_at_the_end() -> None:
    times = {"delivered": 1_000, "delivery_times": {40: 1_000}}
    assert judged("p99 delivery < 1s", **times).state is HOLDING
    assert judged("p50 delivery > 1s", **times).state is MISSED


def test_mean_send_is_shown_live_and_judged_at_the_end() -> None:
    slow = {"attempts": 10, "send_seconds": 20.0}
    assert judged("mean send < 1s", **slow).state is UNKNOWN
    assert judged("mean send < 1s", delivered=1_000, **slow).state is MISSED


@pytest.mark.parametrize(("seconds", "state"), [(100.0, HOLDING), (120.0, MISSED)])
def test_time_does_not_run_back(seconds: float, state: State) -> None:
    assert judged("duration < 2m", seconds=seconds).state is state


@pytest.mark.parametrize(
    ("delivered", "seconds", "state"),
    [(0, 0.0, UNKNOWN), (300, 2.0, HOLDING), (100, 2.0, UNKNOWN), (100, 10.2, MISSED)],
)
def test_average_rate_is_missed_once_too_much_time_has_passed(
    delivered: int, seconds: float, state: State
) -> None:
    assert judged("average rate > 99/s", delivered=delivered, seconds=seconds).state is state


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({"delivered": 500, "seconds": 60.0}, UNKNOWN),
        ({"delivered": 500, "seconds": 121.0}, MISSED),
        ({"delivered": 995, "seconds": 200.0, "reached": {990: 100.0}}, HOLDING),
        ({"delivered": 995, "seconds": 200.0, "reached": {990: 130.0}}, MISSED),
        ({"delivered": 995, "seconds": 60.0}, UNKNOWN),
        ({"delivered": 500, "failed": 11, "seconds": 60.0}, MISSED),
        ({"delivered": 989, "failed": 11, "seconds": 60.0}, MISSED),
        ({"delivered": 990, "failed": 10, "seconds": 60.0}, UNKNOWN),
    ],
    ids=["not yet", "late", "in time", "too late", "unread", "out of reach", "never", "unread end"],
)
def test_reached_is_about_when_so_many_were_delivered(values: dict[str, Any], state: State) -> None:
    assert judged("reached 99% < 2m", **values).state is state


@pytest.mark.parametrize(("lost", "state"), [(None, UNKNOWN), (0, HOLDING), (1, MISSED)])
def test_what_was_lost_is_known_after_the_audit(lost: int | None, state: State) -> None:
    assert judged("lost == 0", delivered=1_000, lost=lost).state is state


def test_what_was_never_measured_is_not_kept_at_the_end() -> None:
    ended = {"cancelled": 1_000, "seconds": 5.0}
    for text in ("p95 delivery < 1h", "mean delivery < 1h", "p50 delivery > 0s"):
        assert judged(text, **ended).state is MISSED


COUNTS = st.integers(0, 30)


@given(
    now=st.tuples(COUNTS, COUNTS, COUNTS),
    later=st.tuples(COUNTS, COUNTS, COUNTS),
    metric=st.sampled_from(["delivered", "failed", "expired"]),
    comparison=st.sampled_from(["<", "<=", ">", ">=", "=="]),
    limit=st.integers(0, 100),
)
def test_what_is_missed_stays_missed(
    now: tuple[int, ...], later: tuple[int, ...], metric: str, comparison: str, limit: int
) -> None:
    names = ("delivered", "failed", "expired")
    check = parse(f"{metric} {comparison} {limit}")
    total = sum(now) + sum(later)
    end = [a + b for a, b in zip(now, later, strict=True)]
    before = judge(check, Evidence(total, Counts(**dict(zip(names, now, strict=True)))))
    after = judge(check, Evidence(total, Counts(**dict(zip(names, end, strict=True)))))
    assert after.state is not UNKNOWN
    if before.state is MISSED:
        assert after.state is MISSED


# Showing


@pytest.mark.parametrize(
    ("text", "values", "shown"),
    [
        ("failed < 1%", {"failed": 23}, "seen 2.30%"),
        ("delivered > 5k", {"delivered": 999}, "seen 999"),
        ("duration < 2m", {"seconds": 90.0}, "seen 1.50m"),
        ("duration < 2m", {"seconds": 3.9}, "seen 3.90s"),
        ("duration < 2h", {"seconds": 90.0}, "seen 1.50m"),
        ("duration < 900ms", {"seconds": 0.25}, "seen 250ms"),
        ("average rate > 1k/s", {"delivered": 1_000, "seconds": 0.5}, "seen 2,000/s"),
        ("p95 delivery < 1s", {}, "nothing seen"),
        ("reached 9% < 1s", {}, "not reached"),
    ],
)
def test_what_was_seen_is_shown_in_the_limits_unit_or_a_smaller_one(
    text: str, values: dict[str, Any], shown: str
) -> None:
    assert judged(text, **values).seen_text == shown


def test_json_has_the_check_its_state_and_what_was_seen() -> None:
    assert judged("failed < 1%", failed=23).to_json() == {
        "check": "failed < 1%", "state": "missed", "seen": 0.023,
    }  # fmt: skip
