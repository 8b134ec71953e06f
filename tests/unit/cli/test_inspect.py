"""Commands that show what the ledger holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sms_pipeline.ledger.store import Ledger
from tests.unit.cli.commands import invoke, refused


def test_lists_of_an_empty_ledger(ledger: Ledger) -> None:
    assert invoke("runs").exit_code == 0
    assert invoke("senders").stdout == "No sender is online.\n"


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ([], "<!doctype html>"),
        (["-o", "-"], "<!doctype html>"),
        (["-o", "-", "--format", "json"], "{"),
        (["1", "--format", "csv"], "second,"),
    ],
)
def test_report_on_stdout(arguments: list[str], start: str) -> None:
    result = invoke("report", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(start)
    assert result.stderr == ""


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["-o", "r.html"], "<!doctype html>"),
        (["-o", "r.htm"], "<!doctype html>"),
        (["-o", "r"], "<!doctype html>"),
        (["-o", "r.JSON"], "{"),
        (["-o", "r.csv"], "second,"),
        (["-o", "r.csv", "--format", "html"], "<!doctype html>"),
    ],
)
def test_report_in_a_file_is_of_the_kind_its_suffix_says(arguments: list[str], start: str) -> None:
    result = invoke("report", *arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert Path(arguments[1]).read_text().startswith(start)


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("path", ["none/report.html", "."])
def test_report_that_can_not_be_written_is_one_line(path: str) -> None:
    line = refused("report", "-o", path)
    assert line.startswith(f"{path}: can't be written: ")


def test_page_is_not_printed_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sms_pipeline.cli.context.is_terminal", lambda: True)
    result = invoke("report")
    assert result.exit_code == 2
    assert "-o report.html" in result.stderr.splitlines()[-1]


@pytest.mark.usefixtures("ended")
def test_runs_are_compared() -> None:
    assert json.loads(invoke("compare", "1", "2", "--json").stdout)["runs"] == [1, 2]
    assert "difference" in invoke("compare", "1", "2").stdout


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("runs", [["1", "77"], ["77", "1"]])
def test_comparison_with_an_unknown_run_is_one_line(runs: list[str]) -> None:
    assert "no run 77" in refused("compare", *runs)


# One message


def test_trace_of_a_message(ledger: Ledger, ended: None) -> None:
    result = invoke("trace", "--message", "3")
    assert result.exit_code == 0
    assert "attempt 1: delivered" in result.stdout


@pytest.mark.parametrize("index", ["-1", "10"])
def test_message_that_is_not_there_is_one_line(ledger: Ledger, ended: None, index: str) -> None:
    assert refused("trace", "1", "--message", index) == (
        f"run 1 has no message {index}; its messages are 0 to 9"
    )


def test_message_is_not_followed(ledger: Ledger, ended: None) -> None:
    result = invoke("trace", "--message", "3", "--follow")
    assert result.exit_code == 2
    assert "--follow" in result.stderr


def test_a_list_is_shown_again_until_ctrl_c(ended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    naps = []

    def nap(_clock: object, seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("sms_pipeline.config.clock.MachineClock.sleep", nap)
    result = invoke("runs", "--watch", "--json")
    assert result.exit_code == 130
    assert len(result.stdout.splitlines()) == 3 * 2


def test_failures_are_csv_or_json_not_both(ended: None) -> None:
    assert "--csv and --json can't be used together" in refused("failures", "--csv", "--json")
