"""The figures of a run in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.records import Control, Steering, Step
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.views.format import moment, rate
from sms_pipeline.views.lines import (
    INDENT,
    LINE_WIDTH,
    detail_lines,
    headline,
    profile_line,
    profile_lines,
    summary_lines,
    update_line,
    wrapped,
)
from sms_pipeline.views.objects import progress_json
from tests.unit import make
from tests.unit.make import NOON


def progress(delivered: int = 95, checks: tuple[str, ...] = (), **values: Any) -> Progress:
    counts = make.counts(
        "fast", dispatched=110, first_attempts=100, attempts=110, delivered=delivered, failed=5,
        retried=10, send_seconds=12.0, delivery_seconds=190.0, transit_seconds=70.0,
        delivery_times={80: 45},
    )  # fmt: skip
    simulation = make.simulation(senders=(make.profile("fast", count=20),), thresholds=checks)
    snapshot = make.snapshot(
        counts, simulation=simulation, started_at=NOON, settled_at=NOON + 9, **values
    )
    return Tracker().update(snapshot, 0, NOON + 10)


def test_update_line_says_what_was_delivered_failed_and_how_long_it_took() -> None:
    line = update_line(progress(delivered=40))
    assert "\n" not in line
    for part in ("45.0%", "delivered 40", "failed 5", "average time 4.222 s", "rate ", "ETA "):
        assert part in line
    assert len(line) <= LINE_WIDTH


def with_other_ends(expired: int = 7, cancelled: int = 1_016) -> Progress:
    """Messages expired and were cancelled, in the run and in its only profile."""
    shown = progress(delivered=40)
    (fast,) = shown.profiles
    some = {"expired": expired, "cancelled": cancelled}
    profiles = (replace(fast, counts=replace(fast.counts, **some)),)
    return replace(shown, counts=replace(shown.counts, **some), profiles=profiles)


def test_messages_that_expired_or_were_cancelled_are_told_where_one_watches() -> None:
    shown = with_other_ends()
    (fast,) = shown.profiles
    ends = "delivered 40  failed 5  expired 7  cancelled 1,016"
    assert ends in update_line(shown)
    assert len(update_line(shown)) <= LINE_WIDTH
    assert f"{ends}  " in "  ".join(profile_lines(fast))
    assert "delivered 40, failed 5, expired 7, cancelled 1,016; failed attempts" in "\n".join(
        summary_lines(shown, "done")
    )


def test_what_did_not_happen_is_not_told() -> None:
    shown = with_other_ends(expired=3, cancelled=0)
    assert "failed 5  expired 3  average time" in update_line(shown)
    assert "expired" not in update_line(with_other_ends(expired=0))
    assert "expired" not in update_line(progress(delivered=40))


def test_how_long_it_will_still_take_is_left_out_last() -> None:
    shown = progress(delivered=40)
    counts = replace(shown.counts, delivered=4_350, delivery_seconds=4_400 * 22.355)
    usual = replace(shown, counts=counts, total=10_000, seconds=83.0, eta_seconds=101.0)
    assert "  ETA 1 min 41 s" in update_line(usual)
    assert "rate " not in update_line(usual)
    assert f"rate {rate(usual.rate)}" in "  ".join(detail_lines(usual))


@pytest.mark.parametrize("name", [None, "drill", "x" * 64])
@pytest.mark.parametrize("many", [1, 3_400_000, 40_000_000])
def test_no_line_of_an_update_is_too_long(name: str | None, many: int) -> None:
    shown = progress(delivered=40)
    simulation = shown.simulation.model_copy(update={"name": name})
    counts = replace(shown.counts, delivered=40 * many, failed=5 * many)
    seconds = 86_400 * 3.0
    long = replace(shown, simulation=simulation, counts=counts, seconds=seconds, total=100 * many)
    line = update_line(long)
    assert len(line) <= LINE_WIDTH
    assert f"delivered {40 * many:,}  failed {5 * many:,}" in line
    (fast,) = shown.profiles
    wide = replace(fast, name="n" * 64, counts=counts)
    assert len(profile_line(wide)) <= LINE_WIDTH - INDENT
    everything = [*profile_lines(wide), *detail_lines(long)]
    assert max(map(len, everything)) <= LINE_WIDTH - INDENT


def test_all_that_is_left_out_of_a_line_is_in_the_details() -> None:
    shown = progress(delivered=40)
    details = "  ".join(detail_lines(shown))
    assert "average time per message 4.222 s (transit 1.556 s, send 0.109 s an attempt)" in details
    assert "p95 " in details
    assert "failed attempts 15" in details
    (fast,) = shown.profiles
    assert "efficiency " in "  ".join(profile_lines(fast))


def test_prose_is_wrapped_and_commands_stay_whole() -> None:
    path = "x" * 120
    first, *others = wrapped(f"{'word ' * 30}--file {path}")
    assert len(first) <= LINE_WIDTH
    assert all(line.startswith("    ") for line in others)
    assert others[-1].strip() == path


def test_profile_line_holds_the_failure_rate_seen_against_the_one_set() -> None:
    (fast,) = progress().profiles
    text = "  ".join(profile_lines(fast))
    assert "failed attempts 13.6% (set 10%)" in text
    assert "share 100.0%" in text


def test_summary_is_worth_reading_a_week_later() -> None:
    text = "\n".join(summary_lines(progress(checks=("failed < 1%", "delivered > 90%")), "done"))
    for part in (
        "Run 1 done: 100 of 100 messages in 9.0 s, average rate 11/s.",
        f"Started {moment(NOON)}, seed 7; senders fast 20 at 0.1 s failing 10%",
        "Delivered 95, failed 5 (out of attempts); failed attempts 15 of 110 (13.6%)",
        "Average time per message 1.900 s from the start of the run (p50",
        "transit 0.700 s from dispatch; send 0.109 s an attempt, 0.120 s in all attempts",
        "p95",
        "p99",
        "fast: 0 senders, 110 messages (100.0%), delivered 95, failed 5",
        "threshold missed: failed < 1% (seen 5.00%)",
        "threshold passed: delivered > 90% (seen 95.00%)",
        "sms-pipeline audit 1",
    ):
        assert part in text


def test_summary_says_what_the_delivered_messages_cost() -> None:
    counts = [make.counts("fast", delivered=60, failed=5), make.counts("slow", delivered=30)]
    fast = make.profile("fast", price=0.075)
    senders = (fast, make.profile("slow", price=100), make.profile("free"))
    simulation = make.simulation(senders=senders)
    priced = Tracker().update(make.snapshot(*counts, simulation=simulation), 0, NOON)
    said = "Cost of what was delivered: 3,004.50 (fast 4.50, slow 3,000.00)."
    assert said in summary_lines(priced, "done")
    # Failed messages cost nothing
    assert [one.cost for one in priced.profiles] == [4.5, 3_000]
    shown = progress_json(priced)
    assert (shown["cost"], shown["profiles"][0]["cost"]) == (3_004.5, 4.5)
    # And where there is no price, there is no such line
    assert not any("Cost" in line for line in summary_lines(progress(), "done"))
    assert progress_json(progress())["cost"] is None


def test_summary_of_a_run_that_has_not_ended_says_where_to_look() -> None:
    lines = summary_lines(progress(delivered=1), "interrupted")
    assert lines[0] == "Not finished · 94 open · 5 not reached"
    assert lines[1].startswith("Run 1 interrupted: 6 of 100 messages")
    assert lines[-1] == "To see where every message is: sms-pipeline audit 1"


def test_summary_of_a_run_that_stands_still_says_what_gets_it_going() -> None:
    steps = (Step(Steering.PAUSED, NOON + 2),)
    lines = summary_lines(progress(1, control=Control.PAUSED, steps=steps), "not ended")
    assert "in 10.0 s, paused for 8.0 s, average rate" in lines[1]
    assert lines[-1] == "Paused: go on with sms-pipeline continue 1"


def test_headline_without_retries() -> None:
    once = make.simulation(retry=RetryPolicy(max_attempts=1))
    assert headline(once).endswith("; at most 1 attempt")


def test_headline_of_many_profiles_counts_the_rest() -> None:
    senders = tuple(make.profile(f"p{number}") for number in range(8))
    text = headline(make.simulation(senders=senders, deadline=60))
    assert "p4 1 at 0.1 s failing 10%, 3 more profiles" in text
    assert text.endswith("adaptive routing; at most 4 attempts; deadline 60 s")
    six = headline(make.simulation(senders=senders[:6]))
    assert "p4 1 at 0.1 s failing 10%, 1 more profile;" in six


def test_a_summary_does_not_offer_to_prove_what_its_first_line_calls_proven() -> None:
    last = summary_lines(progress(), "done")[-1]
    assert last == "To see how every message is accounted for: sms-pipeline audit 1"
