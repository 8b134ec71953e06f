"""The grammar of thresholds: what can be written, what it says, and where a mistake is."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sms_pipeline.core.checks import METRICS, BadCheckError, messages_for, parse

# What can be written


@pytest.mark.parametrize(
    ("text", "metric", "limit", "unit"),
    [
        ("failed < 1%", "failed", 0.01, "%"),
        ("FAILED<1 %", "failed", 0.01, "%"),
        ("failed < 2.3%", "failed", 0.023, "%"),
        ("failed < 100%", "failed", 1, "%"),
        ("failed < 101", "failed", 101, ""),
        ("  failed   attempts  <=  12.5%", "failed attempts", 0.125, "%"),
        ("failed\tattempts\n<\n3 ", "failed attempts", 3, ""),
        ("p95 delivery < 30s", "p95 delivery", 30, "s"),
        ("p50 delivery < 250ms", "p50 delivery", 0.25, "ms"),
        ("mean send < 0.5 s", "mean send", 0.5, "s"),
        ("duration <= 1.5h", "duration", 5_400, "h"),
        ("duration > 0s", "duration", 0, "s"),
        ("Average  Rate > 10k/s", "average rate", 10_000, "/s"),
        ("average rate >= 1_500/s", "average rate", 1_500, "/s"),
        ("average rate > 1_234_567 /s", "average rate", 1_234_567, "/s"),
        ("delivered >= 2M", "delivered", 2_000_000, ""),
        ("delivered >= 2.5k", "delivered", 2_500, ""),
        ("lost == 0", "lost", 0, ""),
        ("reached 99% < 2m", "reached", 120, "m"),
    ],
)
def test_a_check_is_a_metric_a_comparison_and_a_limit(
    text: str, metric: str, limit: float, unit: str
) -> None:
    check = parse(text)
    assert (check.metric, check.limit, check.unit) == (metric, limit, unit)
    assert check.text == " ".join(text.split())


@pytest.mark.parametrize("text", ["reached 99.5% < 2m", "REACHED  99.5 %<2m", "Reached99.5% <= 2m"])
def test_reached_has_a_share(text: str) -> None:
    if text.startswith("Reached9"):
        with pytest.raises(BadCheckError):
            parse(text)
        return
    check = parse(text)
    assert (check.metric, check.share, check.limit) == ("reached", 0.995, 120)


def test_whole_run_can_be_reached() -> None:
    assert parse("reached 100% < 2m").share == 1


def test_no_other_metric_has_a_share() -> None:
    assert parse("failed < 1%").share is None


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "reached"])
def test_every_metric_can_be_written_in_each_of_its_units(metric: str) -> None:
    for unit in METRICS[metric].value:
        check = parse(f"{metric} < 1{unit}")
        assert (check.metric, check.unit, check.quantity) == (metric, unit, METRICS[metric])


@pytest.mark.parametrize(
    ("comparison", "below", "at", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
        ("==", False, True, False),
    ],
)
def test_comparisons_mean_what_they_say(
    comparison: str, below: bool, at: bool, above: bool
) -> None:
    check = parse(f"failed {comparison} 5")
    assert [check.keeps(value) for value in (4, 5, 6)] == [below, at, above]


def test_only_what_the_audit_counts_waits_for_the_audit() -> None:
    audited = {name for name in METRICS if name != "reached" and parse(f"{name} < {one(name)}").audited}
    assert audited == {"lost", "doubled"}
