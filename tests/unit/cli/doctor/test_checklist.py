"""How checks are shown."""

from __future__ import annotations

import json

import click
import pytest

from sms_pipeline.cli.doctor import checklist
from sms_pipeline.cli.doctor.check import fault, ok, unknown, warning

CHECKS = [
    ok("alpha", "fine"),
    warning("be", "slow", "hurry"),
    fault("c", "broken", "mend it"),
    unknown("d", "hidden", "look"),
]


def plain(*arguments: object) -> list[str]:
    """Lines without colours."""
    return [click.unstyle(line) for line in checklist.lines_of(*arguments)]  # type: ignore[arg-type]


def test_lines_are_aligned_and_the_remedy_is_below() -> None:
    assert plain(CHECKS[1], 5, 80) == [
        "warning    be     slow",
        "                  remedy: hurry",
    ]


def test_long_lines_are_broken_within_their_column_and_commands_are_not_cut() -> None:
    command = "x" * 60
    told = plain(fault("name", "one two three four five six seven eight nine", command), 4, 50)
    assert told[0].startswith("fault      name  one two")
    assert all(line.startswith(" " * 17) for line in told[1:])
    assert max(map(len, told[:-1])) <= 50
    assert told[-1].strip().endswith(command)


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (CHECKS[:1], "Healthy: 1 of 1 check ok."),
        (CHECKS[:2], "Healthy: 1 warning, 1 of 2 checks ok."),
        (CHECKS, "Not healthy: 1 fault, 1 warning, 1 not known, 1 of 4 checks ok."),
        (CHECKS[2:3] * 2, "Not healthy: 2 faults, 0 of 2 checks ok."),
    ],
)
def test_the_sum(checks: list[checklist.Check], expected: str) -> None:
    assert checklist.summary(checks) == expected


def test_for_programs_there_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert checklist.show_json(iter(CHECKS)) == CHECKS
    document = json.loads(capsys.readouterr().out)
    assert document["healthy"] is False
    assert document["checks"][0] == {
        "name": "alpha",
        "state": "ok",
        "finding": "fine",
        "remedy": None,
    }
    assert [check["state"] for check in document["checks"]] == [
        "ok",
        "warning",
        "fault",
        "not known",
    ]


def test_checks_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def coming() -> object:
        for check in CHECKS[:2]:
            seen.append(capsys.readouterr().out)
            yield check

    checklist.show(coming(), ["alpha", "be"], is_terminal=False)  # type: ignore[arg-type]
    assert seen == ["", "ok         alpha  fine\n"]


def test_the_lines_of_a_finding_stay_lines() -> None:
    check = fault("name", "a.yml: 2 problems\n  line 1: one\n  line 2: two", "mend it")
    assert [line.strip() for line in plain(check, 4, 80)[1:]] == [
        *("line 1: one", "line 2: two", "remedy: mend it"),
    ]
