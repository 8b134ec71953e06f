"""A real run with delivery receipts: forecast, ledger, audit and every view say the same."""

from __future__ import annotations

import json

import pytest

from tests.functional.terminal import Terminal

KNOWN = {
    "name": "fast", "count": 20, "mean_time": 0.02, "failure_rate": 0.1,
    "receipts": {"mean_time": 5, "missing": 0.1},
}  # fmt: skip
PLAIN = {"name": "slow", "count": 5, "mean_time": 0.05, "failure_rate": 0.1}
CHECKS = ["p95 on phone < 60s", "without receipt < 20%"]


def test_receipts_are_told_proven_and_shown(terminal: Terminal) -> None:
    # Given a run that ends in a few seconds, and receipts that take longer
    terminal.configure(senders=[KNOWN, PLAIN], thresholds=CHECKS, num_messages=2_000)
    told = terminal.run("forecast", "--json").json
    ran = terminal.run("run")
    assert ran.code == 0, ran.err
    assert "without a receipt" in ran.out

    # When it is looked at
    report = json.loads(terminal.run("report", "--format", "json").out)
    seen = report["progress"]
    fast, slow = seen["profiles"]

    # Then it did not wait for them, each message of the one profile has a receipt or none, and the
    # ledger proves it
    assert report["audit"]["verdict"] == "proven"
    assert seen["p99_on_phone_seconds"] > seen["seconds"]
    assert fast["receipts"] + fast["without_receipt"] == fast["delivered"]
    assert fast["without_receipt"] / fast["delivered"] == pytest.approx(0.1, abs=0.03)
    assert slow["receipts"] == slow["without_receipt"] == 0
    assert sum(report["on_phone_times"].values()) == fast["receipts"]
    assert [one["state"] for one in seen["thresholds"]] == ["passed", "passed"]
    # They come 5 s after the hand-over, on average, as was told
    later = fast["mean_on_phone_seconds"] - fast["mean_delivery_seconds"]
    assert later == pytest.approx(5, rel=0.1)
    of_fast = told["profiles"][0]
    foretold = of_fast["mean_on_phone_seconds"] - of_fast["mean_delivery_seconds"]
    assert foretold == pytest.approx(5, rel=0.1)
    terminal.run("report", "-o", "report.html")
    assert "<h2>On the phone</h2>" in (terminal.folder / "report.html").read_text()


def test_mistakes_in_receipts_are_one_line_each(terminal: Terminal) -> None:
    for receipts, said in {
        '{"mising": 0.1, "mean_time": 4}': "senders[0].receipts.mising'; did you mean 'missing'?",
        '{"mean_time": 4, "missing": 2}': "senders[0].receipts.missing: should be less than or",
        "{}": "senders[0].receipts.mean_time: is required",
        "4": "senders[0].receipts: should be a mapping of keys to values, got 4",
    }.items():
        terminal.configure(senders=[{**KNOWN, "receipts": json.loads(receipts)}])
        refused = terminal.run("run")
        assert refused.code == 2
        assert said in refused.err
        assert "Traceback" not in refused.err
    terminal.configure(senders=[PLAIN], thresholds=CHECKS[:1])
    refused = terminal.run("run")
    assert refused.code == 2
    assert "thresholds[0]: 'p95 on phone < 60s' needs delivery receipts" in refused.err
