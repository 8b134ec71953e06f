"""The command that makes a clean file of recipients."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.commands import invoke


@pytest.mark.parametrize(
    ("barred", "warning"),
    [
        ("nobody", "1 row is no number, and keeps nobody out."),
        ("nobody\nno one", "2 rows are no numbers, and keep nobody out."),
    ],
)
def test_what_came_of_it_is_told(barred: str, warning: str) -> None:
    Path("list.csv").write_text("to,zone\n+12025550100,a\n")
    Path("stop.csv").write_text(f"to\n{barred}\n")
    result = invoke("recipients", "list.csv", "--suppress", "stop.csv", "-o", "people.csv")
    assert result.stdout.splitlines() == [
        "people.csv: 1 of 1 row.",
        f"Warning: stop.csv: {warning}",
    ]
