"""What an audit came to, for people and for programs."""

from __future__ import annotations

from typing import Any

import pytest

from sms_pipeline.ledger.verdict import EXIT_CODES, AuditResult, Verdict


@pytest.mark.parametrize(
    ("values", "verdict", "code"),
    [
        ({}, Verdict.UNFINISHED, 5),
        ({"delivered": 10}, Verdict.PROVEN, 0),
        ({"delivered": 1, "failed": 2, "expired": 3, "cancelled": 4}, Verdict.PROVEN, 0),
        ({"delivered": 9, "in_flight": 1}, Verdict.UNFINISHED, 5),
        ({"delivered": 9, "undispatched": 1}, Verdict.UNFINISHED, 5),
        ({"delivered": 10, "problems": ["one"]}, Verdict.BROKEN, 4),
        ({"problems": ["one"]}, Verdict.BROKEN, 4),
    ],
)
def test_verdict(values: dict[str, Any], verdict: Verdict, code: int) -> None:
    result = AuditResult(1, 10, **values)
    assert result.verdict is verdict
    assert EXIT_CODES[verdict] == code


#: Each count another number.
COUNTS: dict[str, Any] = {
    "delivered": 1_001, "failed": 1_002, "expired": 1_003, "cancelled": 1_004, "in_flight": 1_005,
    "undispatched": 1_006, "lost": 7, "doubled": 8, "batches": 1_009, "settlements": 1_010,
}  # fmt: skip


def test_every_figure_is_in_the_json() -> None:
    result = AuditResult(
        3, 9_999, **COUNTS, problems=["one"], absorbed={"repeated": (2, 20)}, dead_letters=5,
        seal="3f9a",
    )  # fmt: skip
    result.unsettled["in flight"] = [4, 5]
    assert result.unsettled["stuck"] == []
    assert result.to_json() == {
        "run": 3, "verdict": "broken", "total": 9_999, **COUNTS,
        "problems": ["one"],
        "unsettled": {"in flight": [4, 5]},
        "absorbed": {"repeated": {"batches": 2, "messages": 20}},
        "dead_letters": 5,
        "seal": "3f9a",
    }  # fmt: skip


def test_every_figure_is_in_the_lines() -> None:
    result = AuditResult(
        3,
        9_999,
        **COUNTS,
        problems=["batch 7 is not recorded"],
        absorbed={"repeated": (2_000, 20_000), "answered": (0, 0)},
        dead_letters=5_000,
        seal="3f9a",
    )
    result.unsettled["in flight"] = [4, 5]
    assert result.unsettled["stuck"] == []
    assert list(result.lines()) == [
        "Run 3: 9,999 messages",
        "  delivered               1,001",
        "  failed                  1,002",
        "  expired                 1,003",
        "  cancelled               1,004",
        "  in flight               1,005",
        "  undispatched            1,006",
        "  from 1,009 batches and 1,010 settlements",
        "  batches in flight: 4, 5",
        "  absorbed, repeated: 2,000 batches of 20,000 messages",
        "  dead-letter queue: 5,000 messages; 'resume' looks into it",
        "  ! batch 7 is not recorded",
        "Seal: 3f9a",
        "Verdict: broken",
    ]


@pytest.mark.parametrize("dead_letters", [None, 0])
def test_lines_leave_out_what_did_not_happen(dead_letters: int | None) -> None:
    assert list(AuditResult(3, 10, dead_letters=dead_letters).lines()) == [
        "Run 3: 10 messages",
        "  delivered                   0",
        "  failed                      0",
        "  from 0 batches and 0 settlements",
        "Verdict: not finished",
    ]


def test_one_is_no_plural() -> None:
    lines = list(AuditResult(3, 1, batches=1, settlements=1, absorbed={"late": (1, 1)}).lines())
    assert "  from 1 batch and 1 settlement" in lines
    assert "  absorbed, late: 1 batch of 1 message" in lines


def test_a_forecast_has_nothing_to_prove() -> None:
    result = AuditResult(3, 10, forecast=True, delivered=9, problems=["one"])
    assert result.verdict is Verdict.FORECAST
    assert list(result.lines()) == ["Run 3: 10 messages", "Verdict: a forecast, nothing to prove"]


@pytest.mark.parametrize("count", [20, 21, 1_030])
def test_lines_list_few_and_count_the_rest(count: int) -> None:
    # Given a few problems and batches, or one more than few, or many
    result = AuditResult(1, 10, problems=[f"problem {number}" for number in range(count)])
    result.unsettled["in flight"] = list(range(count))
    lines = list(result.lines())
    # Then twenty are listed
    few = ", ".join(str(number) for number in range(20))
    assert [line for line in lines if line.startswith("  ! problem")] == [
        f"  ! problem {number}" for number in range(20)
    ]
    # And the others are counted, if there are any
    if count == 20:
        assert f"  batches in flight: {few}" in lines
        assert lines[-2] == "  ! problem 19"
    else:
        assert f"  batches in flight: {few}, … ({count:,} in all)" in lines
        problems = "problem" if count == 21 else "problems"
        assert lines[-2] == f"  ! and {count - 20:,} {problems} more"
    assert lines[-1] == "Verdict: broken"
    assert result.to_json()["unsettled"]["in flight"] == list(range(count))


SEAL = "3f9a" * 16


@pytest.mark.parametrize(
    ("seal", "noted", "problems"),
    [
        (SEAL, SEAL, []),
        (SEAL, "3F9A3f9a", []),
        (SEAL, "3f9a3f9b", [f"the seal 3f9a3f9b was noted, but the run's is {SEAL}"]),
    ],
)
def test_seal_is_compared_with_one_that_was_noted(
    seal: str | None, noted: str, problems: list[str]
) -> None:
    result = AuditResult(3, 1, delivered=1, seal=seal)
    result.compare_seal(noted)
    assert result.problems == problems
    assert result.verdict is (Verdict.BROKEN if problems else Verdict.PROVEN)


@pytest.mark.parametrize("delivered", [0, 1])
def test_a_seal_that_the_run_does_not_have_yet_is_not_compared(delivered: int) -> None:
    # Of a run that goes on, or of one that ended a moment ago
    result = AuditResult(3, 1, delivered=delivered)
    result.compare_seal(SEAL)
    assert result.problems == []
    assert result.verdict is Verdict.UNFINISHED
    said = f"Seal: none before the run has ended, so {SEAL} can't be compared"
    assert said in list(result.lines())


def test_a_seal_that_is_as_noted_is_said_to_be() -> None:
    result = AuditResult(3, 1, delivered=1, seal=SEAL)
    assert f"Seal: {SEAL}" in result.lines()
    result.compare_seal("3F9A3f9a")
    assert f"Seal: {SEAL}, as noted" in result.lines()
