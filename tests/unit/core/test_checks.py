"""The grammar of thresholds: what can be written, what it says, and where a mistake is."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms_pipeline.core.checks import METRICS, BadCheckError, messages_for, parse


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """`parse` remembers what it parsed; here it is to be seen at work."""
    parse.cache_clear()


# What can be written


@pytest.mark.parametrize(
    ("text", "metric", "limit", "unit"),
    [
        ("failed < 1%", "failed", 0.01, "%"),
        ("FAILED<1 % ", "failed", 0.01, "%"),
        # The float nearest to it; 2.3 * 0.01 is another.
        ("failed < 2.3%", "failed", 0.023, "%"),
        ("failed < 100%", "failed", 1, "%"),
        ("failed < 101", "failed", 101, ""),
        ("  failed   attempts  <=  12.5%", "failed attempts", 0.125, "%"),
        ("failed\tattempts\n<\n3 ", "failed attempts", 3, ""),
        ("p95 delivery < 30s", "p95 delivery", 30, "s"),
        ("p50 delivery < 250ms", "p50 delivery", 0.25, "ms"),
        ("mean send < 0.5 s", "mean send", 0.5, "s"),
        ("duration <= 1.5h", "duration", 5_400, "h"),
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


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "reached"])
def test_every_metric_can_be_written_in_each_of_its_units(metric: str) -> None:
    for unit in METRICS[metric].value:
        check = parse(f"{metric} < 1{unit}")
        assert (check.metric, check.quantity, check.unit) == (metric, METRICS[metric], unit)
        assert check.share is None


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("reached 99.5% < 2m", 0.995),
        ("REACHED  99 % <= 2m", 0.99),
        ("reached\n1%<2m", 0.01),
        ("reached 100% < 2m", 1.0),
    ],
)
def test_reached_has_a_share_of_its_own(text: str, share: float) -> None:
    check = parse(text)
    assert (check.metric, check.share, check.limit) == ("reached", share, 120)


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


def test_what_the_audit_counts_waits_for_the_audit() -> None:
    audited = [parse(text).audited for text in ("lost == 0", "doubled < 3", "failed < 3")]
    assert audited == [True, True, False]


# Mistakes

#: What can be measured, as a message lists it.
EVERY_METRIC = (
    "use delivered, failed, expired, cancelled, failed attempts, mean send, mean delivery, "
    "p50 delivery, p95 delivery, p99 delivery, p50 on phone, p95 on phone, p99 on phone, "
    "without receipt, average rate, duration, reached N%, lost or doubled"
)
EVERY_COMPARISON = "<, <=, >, >= or =="


@pytest.mark.parametrize(
    ("text", "named", "remedy"),
    [
        # The caret's place is marked with a ^ before the character it is under.
        ("^", "comparison", EVERY_COMPARISON),
        ("failed^", "comparison", EVERY_COMPARISON),
        ("failed ^<< 1%", "'<<'", EVERY_COMPARISON),
        ("failed ^= 1%", "'='", EVERY_COMPARISON),
        ("failed ^!= 1%", "'!='", EVERY_COMPARISON),
        ("^fail < 1%", "'fail'", EVERY_METRIC),
        ("  ^P90  Delivery < 1s", "'p90 delivery'", EVERY_METRIC),
        ("^< 1%", "needs a metric", EVERY_METRIC),
        ("failed <^", "number", "number"),
        ("failed < ^-1%", "number", "number"),
        ("failed < ^.5%", "number", "number"),
        ("failed < ^_5%", "number", "number"),
        ("failed < 1^.%", "'.%'", "use % or no unit"),
        ("p95 delivery < ^soon", "number", "unit: ms, s, m or h"),
        ("average rate < ^fast", "number", "unit: /s"),
        ("failed < 1^x", "'x'", "use % or no unit"),
        ("failed < 5^m", "'m'", "use % or no unit"),
        ("failed < 5^kk", "'kk'", "use % or no unit"),
        ("failed < 1 ^000", "'000'", "use % or no unit"),
        ("failed < 5k ^k", "'k'", "use % or no unit"),
        ("p95 delivery < 30^", "needs a unit", "use ms, s, m or h"),
        ("p95 delivery < 30^%", "'%'", "use ms, s, m or h"),
        ("p95 delivery < 3^ks", "'ks'", "use ms, s, m or h"),
        ("p95 delivery < 3^k s", "'k s'", "use ms, s, m or h"),
        ("average rate > 10^", "needs a unit", "use /s"),
        ("average rate > 10k ^s", "'s'", "use /s"),
        ("lost == 0^%", "'%'", "use no unit"),
        ("failed < ^101%", "share", "at most 100 %"),
        ("failed < ^2000000000000000", "limit", "at most 1,000,000,000,000,000"),
        (f"duration < ^{'9' * 400}h", "limit", "at most 1,000,000,000,000,000"),
        ("duration ^== 3s", "duration", "use <, <=, > or >="),
        ("average rate ^== 3/s", "average rate", "use <, <=, > or >="),
        ("reached^ < 2m", "share", "'reached 99% < 2m'"),
        ("reached^99% < 2m", "share", "'reached 99% < 2m'"),
        ("reached^ 99 < 2m", "share", "'reached 99% < 2m'"),
        ("reached^ half < 2m", "share", "'reached 99% < 2m'"),
        ("reached^ % < 2m", "share", "'reached 99% < 2m'"),
        ("reached^ 9..9% < 2m", "share", "'reached 99% < 2m'"),
        ("reached^ 99% of all < 2m", "share", "'reached 99% < 2m'"),
        ("  reached^ 99%\nof all < 2m", "share", "'reached 99% < 2m'"),
        ("reached ^0% < 2m", "share", "above 0 % and at most 100 %"),
        ("  reached ^100.1% < 2m", "share", "above 0 % and at most 100 %"),
        ("reached 99% ^> 2m", "share", "use < or <="),
    ],
)
def test_a_mistake_is_pointed_at_with_what_to_write(text: str, named: str, remedy: str) -> None:
    written = text.replace("^", "", 1)
    with pytest.raises(BadCheckError) as caught:
        parse(written)
    error = caught.value
    assert named in error.what
    assert error.what.endswith(remedy)
    assert str(error) == error.what
    # Both lines are indented alike, and a line break takes one column.
    shown, caret = error.pointed.split("\n")
    assert shown == "    " + written.replace("\n", " ")
    assert caret == "    " + " " * text.index("^") + "^"


def test_what_is_no_text_can_be_shown() -> None:
    with pytest.raises(BadCheckError) as caught:
        parse("failed \udcff < 1")
    assert caught.value.pointed.encode().startswith(b"    failed ? < 1")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30) | st.from_regex(r"(failed|reached|rate|p95 delivery)[ 0-9.%<>=a-zM/]*"))
@example("failed < 1_")
@example("failed < 1__0")
@example("failed < ٣%")
@example("failed < ²")
@example("reached .% < 1s")
def test_whatever_is_written_is_a_check_or_a_mistake_within_it(text: str) -> None:
    try:
        parse(text)
    except BadCheckError as error:
        shown, caret = error.pointed.split("\n")
        assert len(caret) <= len(shown) + 1


# Shares


def test_messages_that_make_a_share_are_rounded_up() -> None:
    assert parse("reached 99% < 1s").messages(101) == 100
    assert parse("reached 100% < 1s").messages(101) == 101
    # 7 % of 100 is 7.000000000000001 in floating point.
    assert parse("reached 7% < 1s").messages(100) == 7
    assert parse("reached 0.001% < 1s").messages(10) == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 100), st.integers(1, 10**6))
@example(99, 101)
@example(1, 1)
def test_no_fewer_messages_make_the_share(percent: int, total: int) -> None:
    needed = messages_for(percent / 100, total)
    assert needed * 100 >= percent * total
    assert (needed - 1) * 100 < percent * total


# Showing


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("failed < 1%", 0.023, "seen 2.30%"),
        ("delivered > 5k", 999, "seen 999"),
        ("delivered > 5k", 1_234_567, "seen 1,234,567"),
        ("duration < 2m", 90.0, "seen 1.50m"),
        ("duration < 2m", 3.9, "seen 3.90s"),
        ("duration < 2m", 60.0, "seen 1.00m"),
        ("duration < 2h", 5_400.0, "seen 1.50h"),
        ("duration < 2h", 3_600.0, "seen 1.00h"),
        ("duration < 2h", 90.0, "seen 1.50m"),
        ("duration < 2h", 9.0, "seen 9.00s"),
        ("duration < 900ms", 0.25, "seen 250ms"),
        ("average rate > 1k/s", 2_000.4, "seen 2,000/s"),
        ("p95 delivery < 1s", None, "nothing seen"),
        ("reached 9% < 1s", None, "share not reached"),
        ("reached 9% < 1s", 0.5, "seen 0.50s"),
    ],
)
def test_what_was_seen_is_shown_in_the_limits_unit_or_a_smaller_one(
    text: str, value: float | None, shown: str
) -> None:
    assert parse(text).seen(value) == shown


@pytest.mark.parametrize("limit", ["90s", "1.5m", "0.025h", "90_000ms"])
def test_a_limit_in_another_unit_is_the_same_limit(limit: str) -> None:
    assert math.isclose(parse(f"duration < {limit}").limit, 90)
