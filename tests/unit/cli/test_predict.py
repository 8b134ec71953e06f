"""Commands that look ahead."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.commands import invoke, refused


def test_forecast_tells_when_a_run_ends_and_leaves_nothing_behind() -> None:
    result = invoke("forecast", "-n", "500")
    assert result.exit_code == 0, result.output
    first, *_ = result.stdout.splitlines()
    assert first.startswith("Forecast: 500 messages in ")
    assert list(Path().iterdir()) == []


def test_forecast_is_the_same_every_time() -> None:
    once, again = (invoke("forecast", "-n", "300", "--json").stdout for _ in range(2))
    assert once == again
    assert invoke("forecast", "-n", "300", "--json", "--seed", "9").stdout != once


def test_forecast_as_json() -> None:
    told = json.loads(invoke("forecast", "-n", "500", "--workers", "2", "--json").stdout)
    end = told["seconds"]
    assert told["total"] == told["delivered"] + told["failed"] == 500
    assert 0 < told["reached_seconds"]["50%"]["middle"] < end["middle"]
    assert end["low"] < end["middle"] < end["high"]
    assert [profile["senders"] for profile in told["profiles"]] == [40, 20, 10]


def test_forecast_that_misses_a_threshold_ends_with_3() -> None:
    checks = ("--threshold", "reached 90% < 1ms", "--threshold", "lost == 0")
    result = invoke("forecast", "-n", "500", "--json", *checks)
    assert result.exit_code == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: threshold will be missed: reached 90% < 1ms (")
    assert "held in 0 of 20" in line
    assert "lost" not in line
    assert [one["held"] for one in json.loads(result.stdout)["thresholds"]] == [0, 20]


def test_forecast_refuses_what_run_refuses() -> None:
    assert refused("forecast", "nowhere.yml").startswith("nowhere.yml: ")
    assert "num_messages" in refused("forecast", "-n", "0")
    Path("slow.yml").write_text("senders: [{name: a, mean_time: 1000, failure_rate: 0}]")
    assert "a broker lets a message wait" in refused("forecast", "slow.yml")
