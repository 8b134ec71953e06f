"""Commands that watch."""

from __future__ import annotations

import json
import re
import socket

import pytest

from sms_pipeline.core.errors import EXIT_OK
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.cli.commands import invoke, refused


def test_monitor_reports_a_finished_run_as_json(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.settle([make.settlement(run.id, delivered=9, failed=1)])
    result = invoke("monitor", "--once", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["run"], found["delivered"], found["failed"], found["done"]) == (
        run.id,
        9,
        1,
        True,
    )


def test_new_run_and_a_named_one_exclude_each_other(ledger: Ledger) -> None:
    result = invoke("monitor", "3", "--new")
    assert result.exit_code == 2
    assert "--new" in result.stderr


@pytest.mark.parametrize("other", ["3", "--once"])
def test_run_after_run_is_not_one_run(ledger: Ledger, other: str) -> None:
    result = invoke("monitor", "--forever", other)
    assert result.exit_code == 2
    assert "--forever" in result.stderr


def test_a_missed_threshold_does_not_end_what_goes_on_for_ever(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        run = ledger.start_run(make.simulation(num_messages=10), seed=1)
        ledger.settle([make.settlement(run.id, delivered=0, failed=10)])
    both = [ledger.run(1), ledger.run(2)]
    monkeypatch.setattr("sms_pipeline.views.monitor.runs_to_watch", lambda *_: both)
    result = invoke("monitor", "--forever", "--threshold", "failed < 1%")
    assert result.exit_code == 0
    assert result.stderr.count("Error: threshold missed") == 2
    assert invoke("monitor", "--threshold", "failed < 1%").stderr.count("Error:") == 1


def test_metrics_are_served_where_the_monitor_says(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.settle([make.settlement(run.id)])
    result = invoke("monitor", "--metrics", "0")
    assert result.exit_code == 0
    assert re.match(r"Metrics: http://127\.0\.0\.1:\d+/metrics\n", result.stderr)


def test_metrics_at_no_address_or_at_one_in_use(ledger: Ledger) -> None:
    ledger.start_run(make.simulation(), seed=1)
    assert "option --metrics: must be PORT" in refused("monitor", "--metrics", "nowhere")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused("monitor", "--metrics", str(port))
    assert line == f"can't listen on 127.0.0.1:{port}: Address already in use"


def test_latest_run_is_meant_unless_one_is_named(ledger: Ledger) -> None:
    for total in (10, 20):
        ledger.start_run(make.simulation(num_messages=total), seed=1)
    assert json.loads(invoke("monitor", "--once", "--json").stdout)["total"] == 20
    assert json.loads(invoke("monitor", "1", "--once", "--json").stdout)["total"] == 10


def test_threshold_of_the_command_line_is_judged_by_the_monitor(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.settle([make.settlement(run.id)])
    watched = invoke(
        "monitor", "--json", "--threshold", "delivered < 5", "--threshold", "delivered > 5"
    )
    assert watched.exit_code == 3
    assert watched.stderr == "Error: threshold missed: delivered < 5 (seen 10)\n"
    states = [one["state"] for one in json.loads(watched.stdout)["thresholds"]]
    assert states == ["missed", "passed"]


def test_monitor_reports_as_often_as_the_run_was_started_to(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    periods = []
    monkeypatch.setattr(
        "sms_pipeline.views.monitor.watch",
        lambda ledger, run, view, once: periods.append(run.simulation.report_period),
    )
    ledger.start_run(make.simulation(report_period=7.0), seed=1)
    assert invoke("monitor").exit_code == invoke("monitor", "--every", "3").exit_code == EXIT_OK
    assert periods == [7.0, 3.0]
