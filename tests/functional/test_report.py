"""A report of a real run says what the run itself, its audit and its ledger say."""

from __future__ import annotations

import csv
import io
import json

import pytest

from sms_pipeline.ledger.store import Ledger
from tests.functional.terminal import Terminal
from tests.unit import make
from tests.unit.make import NOON


def test_report_of_a_run_says_what_the_run_said(terminal: Terminal) -> None:
    ran = terminal.run("run", "-n", "500", "--seed", "1", "--json").json
    report = json.loads(terminal.run("report", "--format", "json").out)
    same = ("run", "total", "delivered", "failed", "attempts", "failed_attempts", "seconds")
    times = [name for name in ran if name.endswith("_delivery_seconds")]
    assert times
    for name in (*same, *times):
        assert report["progress"][name] == ran[name], name
    audited = terminal.run("audit", "--json").json
    assert report["audit"] == audited
    assert audited["verdict"] == "proven"
    rows = list(csv.DictReader(io.StringIO(terminal.run("report", "--format", "csv").out)))
    assert sum(int(row["delivered"]) for row in rows) == ran["delivered"]
    assert sum(int(row["attempts"]) for row in rows) == ran["attempts"]

    page = terminal.run("report", "-o", "report.html")
    assert (page.code, page.out) == (0, "")
    assert "report.html" in page.err
    assert f"{ran['failed_attempts']:,}" in (terminal.folder / "report.html").read_text()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_report_and_comparison_from_postgresql(terminal: Terminal, database_url: str) -> None:
    ledger = Ledger.open(database_url)
    for seed in (1, 2):
        run = ledger.start_run(make.simulation(num_messages=10), seed, started_at=NOON)
        ledger.record_batches(run.id, [make.row(run.id)])
        ledger.settle([make.settlement(run.id, delivery_times={80: 10})])
    ledger.close()
    terminal.environment["SMS_DATABASE_URL"] = database_url
    report = json.loads(terminal.run("report", "1", "--format", "json").out)
    assert report["versions"]["database"].startswith("PostgreSQL ")
    assert report["course"]["time_to_reach"]["0.99"] == 1
    compared = terminal.run("compare", "1", "2", "--json").json
    assert compared["figures"]["delivered"]["difference"] == 0
