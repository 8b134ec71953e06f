"""How a run stands to its thresholds: kept, missed for good, or not yet known."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms_pipeline.core.checks import parse
from sms_pipeline.core.counts import Counts
from sms_pipeline.core.histogram import count_buckets, upper_bound
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.core.thresholds import Evidence, Judgement, State, judge

HOLDING, MISSED, UNKNOWN = State.HOLDING, State.MISSED, State.UNKNOWN


#: What is given of the counts; all else is evidence beside them.
COUNTED = {one.name for one in fields(Counts)}


def judged(text: str, **values: Any) -> Judgement:
    """On a run of 1,000 messages."""
    of_counts = {name: values.pop(name) for name in list(values) if name in COUNTED}
    slowest = max(of_counts.get("delivery_times", {}), default=0)
    of_counts.setdefault("longest_delivery", upper_bound(slowest))
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
        ("failed == 505", UNKNOWN),
        ("failed == 506", MISSED),
        ("expired == 0", MISSED),
        ("cancelled < 10", HOLDING),
        ("delivered > 99%", MISSED),
        ("delivered >= 99%", UNKNOWN),
        ("delivered >= 990", UNKNOWN),
        ("delivered > 990", MISSED),
        ("delivered > 400", HOLDING),
        ("delivered <= 490", HOLDING),
    ],
)
def test_counts_only_grow_and_what_is_left_may_join_them(text: str, state: State) -> None:
    assert judged(text, **HALF).state is state


def test_at_the_end_every_count_is_decided() -> None:
    ended = {"delivered": 990, "failed": 10}
    assert judged("delivered >= 99%", **ended).state is HOLDING
    assert judged("failed < 1%", **ended).state is MISSED
    assert judged("failed == 11", **ended).state is MISSED
    assert judged("failed == 10", **ended).state is HOLDING


# What can still turn: where a value stands now is not where it must end.


@pytest.mark.parametrize(
    ("text", "now", "state", "seen"),
    [
        # A mean of what was attempted so far; what follows may be of any length, even of none.
        ("mean send < 3s", {"attempts": 10, "send_seconds": 20.0}, HOLDING, 2.0),
        ("mean send < 1s", {"attempts": 10, "send_seconds": 20.0}, UNKNOWN, 2.0),
        ("mean send <= 0s", {"attempts": 10, "send_seconds": 20.0}, UNKNOWN, 2.0),
        ("mean send < 0s", {"attempts": 10, "send_seconds": 20.0}, MISSED, 2.0),
        ("mean send > 1s", {"attempts": 10, "send_seconds": 20.0}, HOLDING, 2.0),
        ("mean send > 1h", {"attempts": 10, "send_seconds": 20.0}, UNKNOWN, 2.0),
        ("mean send < 1s", {}, UNKNOWN, None),
        ("mean delivery > 1h", {"delivered": 2, "delivery_seconds": 3.0}, UNKNOWN, 1.5),
        ("mean delivery < 1h", {}, UNKNOWN, None),
        # Messages a second: at best all the others end now, at worst never.
        ("average rate > 149/s", {"delivered": 250, "failed": 50, "seconds": 2.0}, HOLDING, 150),
        ("average rate > 150/s", {"delivered": 250, "failed": 50, "seconds": 2.0}, UNKNOWN, 150),
        ("average rate >= 500/s", {"delivered": 250, "failed": 50, "seconds": 2.0}, UNKNOWN, 150),
        ("average rate > 500/s", {"delivered": 250, "failed": 50, "seconds": 2.0}, MISSED, 150),
        ("average rate < 151/s", {"delivered": 250, "failed": 50, "seconds": 2.0}, HOLDING, 150),
        ("average rate < 1/s", {"delivered": 250, "failed": 50, "seconds": 2.0}, UNKNOWN, 150),
        ("average rate <= 0/s", {"delivered": 250, "failed": 50, "seconds": 2.0}, UNKNOWN, 150),
        ("average rate < 0/s", {"delivered": 250, "failed": 50, "seconds": 2.0}, MISSED, 150),
        # What expired or was cancelled has no part in it, neither now nor at best.
        ("average rate > 450/s", {"expired": 60, "cancelled": 40, "seconds": 2.0}, MISSED, 0),
        ("average rate >= 450/s", {"expired": 60, "cancelled": 40, "seconds": 2.0}, UNKNOWN, 0),
        ("average rate > 1M/s", {}, UNKNOWN, None),
        ("average rate <= 0/s", {}, UNKNOWN, None),
        # Attempts: there can be any number more of them, and all or none of those can fail.
        ("failed attempts < 25", {"attempts": 90, "retried": 20, "failed": 3}, HOLDING, 23),
        ("failed attempts < 23", {"attempts": 90, "retried": 20, "failed": 3}, MISSED, 23),
        ("failed attempts > 5k", {"attempts": 90, "retried": 20, "failed": 3}, UNKNOWN, 23),
        ("failed attempts == 5k", {"attempts": 90, "retried": 20, "failed": 3}, UNKNOWN, 23),
        ("failed attempts <= 0%", {"attempts": 50, "retried": 20}, UNKNOWN, 0.4),
        ("failed attempts < 0%", {"attempts": 50, "retried": 20}, MISSED, 0.4),
        ("failed attempts >= 100%", {"attempts": 50, "retried": 20}, UNKNOWN, 0.4),
        ("failed attempts > 100%", {"attempts": 50, "retried": 20}, MISSED, 0.4),
        # Times only grow.
        ("duration > 1h", {"seconds": 5.0}, UNKNOWN, 5.0),
        ("duration >= 5s", {"seconds": 5.0}, HOLDING, 5.0),
        ("p95 delivery > 1h", {}, UNKNOWN, None),
    ],
)
def test_what_is_seen_may_still_turn(
    text: str, now: dict[str, Any], state: State, seen: float | None
) -> None:
    found = judged(text, **now)
    assert (found.state, found.seen) == (state, seen)


@pytest.mark.parametrize(
    ("text", "values", "state", "seen"),
    [
        ("mean send < 3s", {"attempts": 1_000, "send_seconds": 2_000.0}, HOLDING, 2.0),
        ("mean send < 1s", {"attempts": 1_000, "send_seconds": 2_000.0}, MISSED, 2.0),
        ("mean send > 1h", {"attempts": 1_000, "send_seconds": 2_000.0}, MISSED, 2.0),
        ("average rate >= 500/s", {"seconds": 2.0}, HOLDING, 500),
        ("average rate > 500/s", {"seconds": 2.0}, MISSED, 500),
        ("average rate < 500/s", {"seconds": 2.0}, MISSED, 500),
        ("average rate < 501/s", {"seconds": 2.0}, HOLDING, 500),
        ("failed attempts > 5k", {"attempts": 1_100, "retried": 100}, MISSED, 100),
        ("failed attempts == 100", {"attempts": 1_100, "retried": 100}, HOLDING, 100),
        ("duration > 1h", {"seconds": 5.0}, MISSED, 5.0),
        ("duration < 6s", {"seconds": 5.0}, HOLDING, 5.0),
        # What was never measured satisfies nothing.
        ("average rate < 1M/s", {}, MISSED, None),
        ("mean send < 1h", {}, MISSED, None),
        ("reached 99% < 1h", {"delivered": 0, "expired": 1_000}, MISSED, None),
    ],
)
def test_at_the_end_nothing_can_turn(
    text: str, values: dict[str, Any], state: State, seen: float | None
) -> None:
    found = judged(text, **{"delivered": 1_000, **values})
    assert (found.state, found.seen) == (state, seen)


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


@pytest.mark.parametrize(
    ("text", "times", "cancelled", "state"),
    [
        # What is left may still end as soon as can be told, and not sooner.
        ("p50 delivery < 1ms", {}, 0, UNKNOWN),
        ("p50 delivery < 0s", {}, 0, MISSED),
        # It joins those that were as fast.
        ("p50 delivery < 1s", {0: 300, 200: 500}, 0, UNKNOWN),
        ("p50 delivery < 1s", {0: 300, 200: 501}, 0, MISSED),
        # Of 999 messages, those that were not cancelled, 499 are less than a half.
        ("p50 delivery < 1s", {200: 499}, 1, UNKNOWN),
        ("p50 delivery < 1s", {200: 500}, 1, MISSED),
        ("p95 delivery > 24h", {200: 500}, 0, UNKNOWN),
    ],
)
def test_percentile_at_best_counts_all_that_is_left_as_fast(
    text: str, times: dict[int, int], cancelled: int, state: State
) -> None:
    values = {"delivered": sum(times.values()), "cancelled": cancelled, "delivery_times": times}
    assert judged(text, **values).state is state


def test_percentile_is_judged_on_what_was_timed_at_the_end() -> None:
    times = {"delivered": 1_000, "delivery_times": {40: 1_000}}
    assert judged("p99 delivery < 1s", **times).state is HOLDING
    assert judged("p50 delivery > 1s", **times).state is MISSED


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("p95 on phone < 3s", MISSED),
        ("p50 on phone < 3s", HOLDING),
        ("p50 on phone < 1s", UNKNOWN),
        ("p99 on phone > 3s", HOLDING),
        ("without receipt < 10%", HOLDING),
        ("without receipt < 9.9%", HOLDING),
        ("without receipt < 5%", MISSED),
        ("without receipt == 50", HOLDING),
        ("without receipt > 10%", UNKNOWN),
    ],
)
def test_receipts_are_judged_as_they_are_known(text: str, state: State) -> None:
    # Given half of the thousand messages, delivered: 150 were long on their way, 50 never come
    on_phone = OnPhone(450, 50, 0.0, 60.0, {80: 300, 120: 150})
    assert judged(text, delivered=500, on_phone=on_phone).state is state


def test_receipts_are_judged_on_those_that_come_at_the_end() -> None:
    on_phone = OnPhone(900, 100, 0.0, 60.0, {80: 890, 120: 10})
    ended = {"delivered": 1_000, "on_phone": on_phone}
    assert judged("p95 on phone < 3s", **ended).state is HOLDING
    assert judged("p99 on phone < 3s", **ended).state is MISSED
    assert judged("without receipt > 10%", **ended).state is MISSED


@pytest.mark.parametrize("messages", [1, 50, 950, 1_000])
def test_no_percentile_is_longer_than_the_longest(messages: int) -> None:
    # Given messages that took 3 s each, which is within a bucket that ends at 3.28 s
    (bucket,) = count_buckets(np.array([3.0]))
    on_phone = OnPhone(messages, 0, 3.0 * messages, 3.0, {bucket: messages})
    timed = {"delivered": messages, "delivery_times": {bucket: messages}, "longest_delivery": 3.0}
    for text in ("p95 delivery < 3.05s", "p95 on phone < 3.05s"):
        found = judged(text, on_phone=on_phone, **timed)
        assert found.state is HOLDING, text
        assert found.seen == pytest.approx(3.0, rel=0.01)


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
        ({"delivered": 500, "failed": 10, "seconds": 60.0}, UNKNOWN),
        ({"delivered": 500, "failed": 11, "seconds": 60.0}, MISSED),
        ({"delivered": 989, "failed": 11, "seconds": 60.0}, MISSED),
        ({"delivered": 990, "failed": 10, "seconds": 60.0}, UNKNOWN),
    ],
    ids=[
        "not yet",
        "late",
        "in time",
        "too late",
        "unread",
        "just in reach",
        "out of reach",
        "never",
        "unread end",
    ],
)
def test_reached_is_about_when_so_many_were_delivered(values: dict[str, Any], state: State) -> None:
    assert judged("reached 99% < 2m", **values).state is state


@pytest.mark.parametrize(("count", "state"), [(None, UNKNOWN), (0, HOLDING), (1, MISSED)])
@pytest.mark.parametrize("metric", ["lost", "doubled"])
def test_what_was_lost_or_doubled_is_known_after_the_audit(
    metric: str, count: int | None, state: State
) -> None:
    for delivered in (500, 1_000):
        found = judged(f"{metric} == 0", delivered=delivered, **{metric: count})
        assert (found.state, found.seen) == (state, count)


def test_what_was_never_measured_is_not_kept_at_the_end() -> None:
    ended = {"cancelled": 1_000, "seconds": 5.0}
    for text in ("p95 delivery < 1h", "mean delivery < 1h", "p50 delivery > 0s"):
        assert judged(text, **ended).state is MISSED


COUNTS = st.integers(0, 30)


@settings(max_examples=100, deadline=None)
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
        # What is shown is on the same side of the limit as what was seen
        ("duration <= 30s", {"seconds": 30.003}, "seen 30.003s"),
        ("duration < 2m", {"seconds": 119.999}, "seen 1.99998m"),
        ("duration < 30s", {"seconds": 30.0}, "seen 30.00s"),
        ("average rate >= 100/s", {"delivered": 999, "seconds": 10.0}, "seen 99.9/s"),
        ("mean send < 50ms", {"attempts": 3, "send_seconds": 0.1495}, "seen 49.8ms"),
        ("average rate > 1k/s", {"delivered": 1_000, "seconds": 0.5}, "seen 2,000/s"),
        ("p95 delivery < 1s", {}, "nothing seen"),
        ("reached 9% < 1s", {}, "share not reached"),
    ],
)
def test_what_was_seen_is_shown_in_the_limits_unit_or_a_smaller_one(
    text: str, values: dict[str, Any], shown: str
) -> None:
    assert judged(text, **values).seen_text == shown


@pytest.mark.parametrize(
    ("text", "values", "state", "seen"),
    [
        ("failed  <  1%", {"failed": 23}, "missed", 0.023),
        ("failed attempts < 40%", {"attempts": 3, "retried": 1}, "holding", 0.333333),
        ("mean send < 1s", {}, "not yet known", None),
        ("lost == 0", {}, "not yet known", None),
    ],
)
def test_json_has_the_check_its_state_and_what_was_seen(
    text: str, values: dict[str, Any], state: str, seen: float | None
) -> None:
    check = " ".join(text.split())
    assert judged(text, **values).to_json() == {"check": check, "state": state, "seen": seen}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HOLDING, State.PASSED),
        (State.PASSED, State.PASSED),
        (MISSED, MISSED),
        (UNKNOWN, MISSED),
    ],
)
def test_at_the_end_a_threshold_is_passed_or_missed(before: State, after: State) -> None:
    stood = Judgement(parse("failed < 1%"), before, 0.5, abort=True)
    assert stood.at_the_end() == replace(stood, state=after)


def test_missing_a_threshold_ends_the_run_only_if_it_says_so() -> None:
    check, evidence = parse("failed == 0"), Evidence(1_000)
    assert [judge(check, evidence).abort, judge(check, evidence, True).abort] == [False, True]
