"""The command that makes sender profiles from a delivery log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sms_pipeline.config.files import load_simulation
from tests.unit import make
from tests.unit.cli.commands import invoke, refused
from tests.unit.forecast.logs import BEGIN, attempts, write_log

FAST = make.profile("fast", count=5, mean_time=0.01, shape=4.0, failure_rate=0.1)
#: Needs --empirical.
TWO_WAYS = make.profile("two-ways", count=5, times=(0.01, 0.011, 0.012, 0.013, 0.08, 0.1))


PIPELINE = Path(sys.executable).parent / "sms-pipeline"


@pytest.fixture
def log(clean: Path) -> str:
    """A log of two profiles."""
    rows = [row.row() for profile in (FAST, TWO_WAYS) for row in attempts(profile, 2)]
    return write_log(clean / "log.csv", rows).name


def test_a_log_becomes_a_fleet_that_runs(log: str) -> None:
    made = invoke("calibrate", log, "-o", "fleet.yml", "--empirical")
    assert made.exit_code == 0
    assert "fast" in made.stdout
    assert made.stderr == "Wrote fleet.yml: sms-pipeline run fleet.yml\n"
    # In a process of its own: a run changes the logging and the queues of its process.
    done = subprocess.run(
        [PIPELINE, "run", "fleet.yml", "-n", "200", "--json", "--every", "0.1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["delivered"] + summary["failed"] == 200
    assert [profile["name"] for profile in summary["profiles"]] == ["fast", "two-ways"]


def test_the_fleet_has_the_senders_of_the_log(log: str) -> None:
    assert invoke("calibrate", log, "-o", "fleet.yml").exit_code == 0
    senders = load_simulation(Path("fleet.yml")).senders
    assert [one.name for one in senders] == ["fast", "two-ways"]
    assert [one.times for one in senders] == [None, None]
    assert senders[0].count == FAST.count
    assert senders[0].mean_time == pytest.approx(FAST.mean_time, rel=0.1)
    assert senders[0].failure_rate == pytest.approx(FAST.failure_rate, rel=0.2)
    assert senders[0].shape == pytest.approx(FAST.shape, rel=0.2)


def test_without_a_file_the_fleet_goes_to_stdout_and_what_is_doubtful_to_stderr(log: str) -> None:
    made = invoke("calibrate", log)
    Path("fleet.yml").write_text(made.stdout)
    assert [one.name for one in load_simulation(Path("fleet.yml")).senders] == ["fast", "two-ways"]
    assert "guessed: sent, ended, status, profile" in made.stderr
    assert "two-ways: send times are no gamma distribution" in made.stderr
    assert "--empirical" in made.stderr


def test_json_is_all_there_is_on_stdout(log: str) -> None:
    alone, beside = (
        invoke("calibrate", log, "--json"),
        invoke("calibrate", log, "--json", "-o", "f"),
    )
    assert alone.stderr == ""
    assert json.loads(alone.stdout) == json.loads(beside.stdout)
    fast, two_ways = json.loads(alone.stdout)["profiles"]
    low, high = fast["intervals"]["mean_time"]
    assert low < fast["mean_time"] < high
    assert fast["misfit"] is None
    assert two_ways["misfit"]["level"] > 0
    assert load_simulation(Path("f")).senders


def test_columns_and_words_that_are_not_usual_are_named(clean: Path) -> None:
    write_log(clean / "log.csv", [f"a,{BEGIN},{BEGIN + 1},gone"], header="who,begin,end_,what")
    named = "sent=begin,ended=end_,status=what,profile=who"
    made = invoke("calibrate", "log.csv", "--columns", named, "--status", "gone=failed", "--json")
    assert made.exit_code == 0
    (profile,) = json.loads(made.stdout)["profiles"]
    assert (profile["name"], profile["failure_rate"]) == ("a", 1)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["missing.csv"], "missing.csv: can't be read"),
        (["log.csv", "--columns", "sent=x"], "log.csv: option --columns: sent: there is no column"),
        (["log.csv", "--columns", "x"], "option --columns: must be KEY=COLUMN"),
        (["log.csv", "--status", "x"], "option --status: must be WORD=MEANING"),
        (["log.csv", "-o", "log.csv"], "log.csv: is the log itself"),
        (["log.csv", "-o", "."], ".: can't be written"),
        (["log.csv", "-o", "no/where.yml"], "no/where.yml: can't be written"),
        (["bad.csv"], "bad.csv: row 2: the number of its fields is 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(log: str, arguments: list[str], why: str) -> None:
    before = Path(log).read_text()
    write_log(Path("bad.csv"), ["a"])
    assert why in refused("calibrate", *arguments)
    assert Path(log).read_text() == before


def test_two_things_do_not_go_to_stdout(log: str) -> None:
    result = invoke("calibrate", log, "--json", "-o", "-")
    assert result.exit_code == 2
    assert result.stdout == ""
