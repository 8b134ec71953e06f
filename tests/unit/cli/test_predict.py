"""Commands that look ahead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.commands import PROCESS_SECONDS, invoke, refused


def test_forecast_tells_when_a_run_ends_and_leaves_nothing_behind() -> None:
    result = invoke("forecast", "-n", "200")
    assert result.exit_code == 0, result.output
    first, *_ = result.stdout.splitlines()
    assert first.startswith("Forecast: 200 messages in ")
    assert list(Path().iterdir()) == []


def test_forecast_is_the_same_every_time() -> None:
    once, again = (invoke("forecast", "-n", "300", "--json").stdout for _ in range(2))
    assert once == again
    assert invoke("forecast", "-n", "300", "--json", "--seed", "9").stdout != once


def test_forecast_as_json() -> None:
    told = json.loads(invoke("forecast", "-n", "200", "--workers", "2", "--json").stdout)
    end = told["seconds"]
    assert told["total"] == told["delivered"] + told["failed"] == 200
    assert 0 < told["reached_seconds"]["50%"]["middle"] < end["middle"]
    assert end["low"] < end["middle"] < end["high"]
    assert [profile["senders"] for profile in told["profiles"]] == [40, 20, 10]


def test_forecast_that_misses_a_threshold_ends_with_3() -> None:
    checks = ("--threshold", "reached 90% < 1ms", "--threshold", "lost == 0")
    result = invoke("forecast", "-n", "200", "--json", *checks)
    assert result.exit_code == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: threshold will be missed: reached 90% < 1ms (")
    assert "held in 0 of 20" in line
    assert "lost" not in line
    assert [one["held"] for one in json.loads(result.stdout)["thresholds"]] == [0, 20]


def test_forecast_refuses_what_run_refuses() -> None:
    assert refused("forecast", "nowhere.yml").startswith("nowhere.yml: ")
    assert refused("forecast", "-n", "0").startswith("--messages: ")
    Path("slow.yml").write_text("senders: [{name: a, mean_time: 1000, failure_rate: 0}]")
    assert "a broker lets a message wait" in refused("forecast", "slow.yml")


def test_a_forecast_can_be_kept_and_compared() -> None:
    told = json.loads(invoke("forecast", "-n", "300", "--json", "--save").stdout)
    listed = invoke("runs").stdout
    assert "forecast" in listed
    report = json.loads(invoke("report", "1", "--format", "json").stdout)
    assert report["outcome"].startswith("Forecast")
    assert report["progress"]["delivered"] == told["delivered"]
    assert "a forecast, nothing to prove" in invoke("audit", "1").stdout
    # Nothing can be done with it, and no command takes it for the latest run
    for command in ("failures", "trace"):
        assert "run 1 is a forecast" in refused(command, "1")
    assert "run 1 is a forecast" in refused("produce", "--to", "failed:1", "--text", "Again")
    assert invoke("pause", "1").exit_code != 0
    assert "nothing to resume" in invoke("resume", "1").output
    assert "no run yet" in refused("report")
    # A real run is beside it; its consumer and its broker end with its process
    command = [sys.executable, "-m", "sms_pipeline.cli.main", "run", "-n", "300", "--seed", "3"]
    subprocess.run(command, check=True, capture_output=True, timeout=PROCESS_SECONDS)
    beside = json.loads(invoke("report", "--format", "json").stdout)
    assert beside["run"] == 2
    assert beside["forecast"]["bins"] == report["course"]["bins"]
    assert 'class="forecast line"' in invoke("report", "--format", "html").stdout
    assert "forecast" in invoke("compare", "1", "2").stdout


def test_plan_tells_the_fleet_and_writes_its_configuration() -> None:
    arguments = ("plan", "-n", "1000", "--within", "5s", "--share", "90%")
    result = invoke(*arguments, "-o", "fleet.yml")
    assert result.exit_code == 0, result.output
    first, *_ = result.stdout.splitlines()
    assert first.startswith("1,000 messages, 90% reached within 5 s: senders fast ")
    written = yaml.safe_load(Path("fleet.yml").read_text())
    told = json.loads(invoke(*arguments, "--json").stdout)
    assert {one["name"]: one["count"] for one in written["senders"]} == told["chosen"]["senders"]
    assert told["chosen"]["reached_seconds"]["high"] < 5
    # The fleet that is proposed is forecast to be in time.
    check = ("--threshold", "reached 90% < 5s")
    assert invoke("forecast", "fleet.yml", *check).exit_code == 0


def test_plan_shows_each_fleet_once() -> None:
    # When one sender of each profile is enough
    arguments = ("plan", "-n", "100", "--within", "10m")
    result = invoke(*arguments)
    assert "  chosen" in result.stdout
    assert "half" not in result.stdout
    told = json.loads(invoke(*arguments, "--json").stdout)
    assert told["chosen"]
    assert told["half"] is None


def test_plan_of_many_profiles_is_no_wider_than_a_screen() -> None:
    profiles = [f"{{name: carrier-{n}, mean_time: 0.1, failure_rate: 0}}" for n in range(12)]
    Path("many.yml").write_text(f"num_messages: 500\nsenders: [{', '.join(profiles)}]")
    first, *lines = invoke("plan", "many.yml", "--within", "5s").stdout.splitlines()
    # The line names a few of them, the table has a row for each
    assert first.count("carrier-") == 5
    assert ", 7 more profiles, one process." in first
    rows = [line.split() for line in lines if "carrier-" in line]
    assert [row[0] for row in rows] == [f"carrier-{n}" for n in range(12)]
    assert len(rows[0]) == 4
    assert max(map(len, lines)) <= 100


def test_plan_for_a_file_of_recipients_can_be_forecast() -> None:
    Path("people.csv").write_text("to\n" + "2025550100\n" * 500)
    Path("lists").mkdir()
    Path("lists/alert.yml").write_text("recipients: ../people.csv\ntext: Go\n")
    planned = invoke("plan", "lists/alert.yml", "--within", "10s", "-o", "fleet.yml")
    assert planned.exit_code == 0, planned.stderr
    forecast = invoke("forecast", "fleet.yml", "--json")
    assert forecast.exit_code == 0, forecast.stderr
    assert json.loads(forecast.stdout)["total"] == 500


def test_prices_are_told_by_forecast_and_plan() -> None:
    Path("priced.yml").write_text(
        "num_messages: 1000\n"
        "senders: [{name: a, count: 50, mean_time: 0.1, failure_rate: 0, price: 0.25}]\n"
    )
    forecast = invoke("forecast", "priced.yml")
    assert "Cost of what was delivered: 250.00 (a 250.00)." in forecast.stdout
    assert json.loads(invoke("forecast", "priced.yml", "--json").stdout)["cost"] == 250
    arguments = ("plan", "priced.yml", "--within", "3s")
    heading, *rows = invoke(*arguments).stdout.splitlines()[1:5]
    assert heading.split() == ["fleet", "99%", "reached", "end", "cost", "a"]
    assert all(" 250.00 " in row for row in rows)
    assert json.loads(invoke(*arguments, "--json").stdout)["chosen"]["cost"] == 250
    assert "price" in refused("forecast", "--config", bad_price())


def bad_price() -> str:
    Path("bad.yml").write_text("senders: [{name: a, mean_time: 1, failure_rate: 0, price: -1}]")
    return "bad.yml"


def test_plan_that_is_impossible_says_why_and_ends_with_3() -> None:
    result = invoke("plan", "-n", "200", "--within", "1s", "--share", "99%")
    assert result.exit_code == 3
    first, *reasons = result.stdout.splitlines()
    assert first == "200 messages, 99% reached within 1 s: impossible."
    assert "retries did not wait" in " ".join(reasons)
    assert (
        json.loads(invoke("plan", "-n", "200", "--within", "1s", "--json").stdout)["possible"]
        is False
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--within", "soon"), "as in 500ms, 30s, 10m or 2h"),
        (("--within", "0"), "above 0 and at most a year"),
        (("--within", "9000h"), "above 0 and at most a year"),
        (("--within", "10m", "--share", "0%"), "above 0% and at most 100%"),
        (("--within", "10m", "--share", "most"), "as in 99%, got 'most'"),
        (("--within", "10m", "--profile", "rural"), "unknown profile 'rural'"),
    ],
)
def test_plan_refuses_what_makes_no_sense(arguments: tuple[str, ...], said: str) -> None:
    assert said in refused("plan", *arguments)
