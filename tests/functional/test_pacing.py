"""How fast a run is dispatched, by its own records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.functional import checker
from tests.functional.terminal import Terminal

FAST = {"name": "fast", "count": 1_000, "mean_time": 0.01, "failure_rate": 0}


def test_a_run_keeps_its_rate_as_its_forecast_does(terminal: Terminal) -> None:
    # Given two profiles, neither of which could send 500 a second alone
    half = {"count": 40, "mean_time": 0.1, "failure_rate": 0}
    senders = [{**half, "name": name} for name in ("one", "other")]
    terminal.configure(senders=senders, num_messages=2_000)
    told = terminal.run("forecast", "--rate", "30k/min", "--json").json
    ran = terminal.run("run", "--rate", "30k/min", "--json")
    assert ran.code == 0, ran.err
    database_url = f"sqlite:///{terminal.folder / 'sms_pipeline.db'}"
    batches = sorted(checker.rows(database_url, "batches", 1), key=lambda row: row["number"])
    start, sofar = batches[0]["queued_at"], 0
    for batch in batches:
        # Over both profiles together; a producer makes up for a second at most
        assert sofar <= 500 * (batch["queued_at"] - start + 1) + 1
        sofar += batch["size"]
    assert {batch["profile"] for batch in batches} == {"one", "other"}
    # 500 a second, the first of them at once
    assert told["reached_seconds"]["99%"]["low"] == pytest.approx(3.6, abs=0.6)
    assert any("no rate was set" in one["without"] for one in told["limits"])
    checker.assert_counted_once(database_url, 1, 2_000)


def test_outside_its_hours_a_run_waits_and_says_so(terminal: Terminal) -> None:
    # Hours of which neither begins nor ends within the next minutes
    now = datetime.now(UTC)
    opening = f"{now + timedelta(hours=2):%H:%M}"
    terminal.configure(
        senders=[FAST],
        num_messages=100,
        window=f"{opening}-{now + timedelta(hours=3):%H:%M} UTC",
    )
    told = terminal.run("forecast", "--json").json
    assert 3_600 < told["reached_seconds"]["50%"]["low"] < 2 * 3_600 + 60
    waiting = terminal.start("run", "--every", "0.5")
    waiting.says(f"run 1 waits for its hours: opens at {opening} UTC")
    waiting.interrupt()
    assert waiting.wait().code == 130
    assert not checker.rows(f"sqlite:///{terminal.folder / 'sms_pipeline.db'}", "batches", 1)
    # Within them it goes on
    terminal.configure(
        senders=[FAST],
        num_messages=100,
        window=f"{now - timedelta(hours=2):%H:%M}-{now + timedelta(hours=2):%H:%M} UTC",
    )
    assert terminal.run("run").code == 0
    assert terminal.run("audit").code == 0
