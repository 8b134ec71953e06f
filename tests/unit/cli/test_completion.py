"""What a shell offers: runs of the ledger, profiles of the file, words that are allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import CompletionItem, ShellComplete

from sms_pipeline.cli.completion import LATEST_RUNS
from sms_pipeline.cli.main import cli
from sms_pipeline.ledger.store import Ledger
from tests.unit import make


def offered(*words: str) -> list[CompletionItem]:
    """What is offered for the last word."""
    complete = ShellComplete(cli, {}, "sms-pipeline", "_SMS_PIPELINE_COMPLETE")
    return complete.get_completions(list(words[:-1]), words[-1])


def values(*words: str) -> list[str]:
    return [item.value for item in offered(*words)]


@pytest.mark.parametrize("command", ["audit", "monitor", "report", "trace", "cancel"])
def test_runs_are_offered_latest_first_with_what_they_are(command: str, ledger: Ledger) -> None:
    ledger.start_run(make.simulation(num_messages=1_000), seed=1)
    ledger.start_run(make.simulation(num_messages=5, name="drill"), seed=1)
    drill, first = offered(command, "")
    assert (drill.value, first.value) == ("2", "1")
    assert str(drill.help).startswith("drill, ")
    assert str(first.help).endswith("1,000 messages")
    assert values(command, "2") == ["2"]


def test_both_runs_of_a_comparison_are_offered(ledger: Ledger) -> None:
    ledger.start_run(make.simulation(), seed=1)
    assert values("compare", "1", "") == ["1"]


def test_so_many_runs_are_offered(ledger: Ledger) -> None:
    for _ in range(LATEST_RUNS + 1):
        ledger.start_run(make.simulation(), seed=1)
    assert len(values("audit", "")) == LATEST_RUNS


def test_where_there_is_no_ledger_nothing_is_offered() -> None:
    assert values("audit", "") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "--routing", ""), ["adaptive", "static"]),
        (("run", "--routing", "st"), ["static"]),
        (("run", "--batch-size", "a"), ["auto"]),
        (("produce", "--max-attempts", ""), ["unlimited"]),
        (("monitor", "--threshold", "p95"), ["p95 delivery ", "p95 on phone "]),
        (("report", "--format", ""), ["html", "json", "csv"]),
        (("plan", "--profile", ""), ["fast", "standard", "slow"]),
        (("au",), ["audit"]),
    ],
    ids=" ".join,
)
def test_words_are_offered(words: tuple[str, ...], expected: list[str]) -> None:
    assert values(*words) == expected


def test_profiles_are_those_of_the_file() -> None:
    Path("alert.yml").write_text("senders: [{name: rural, mean_time: 2, failure_rate: 0}]")
    (rural,) = offered("plan", "alert.yml", "--profile", "")
    assert (rural.value, rural.help) == ("rural", "1 at 2 s")
    Path("alert.yml").write_text("senders: 5")
    assert values("plan", "alert.yml", "--profile", "") == []


def test_files_are_offered_where_a_file_is_asked_for() -> None:
    assert [item.type for item in offered("run", "al")] == ["file"]
