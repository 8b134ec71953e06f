"""A real run with delivery receipts: forecast, ledger, audit and every view say the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.functional.terminal import Terminal
from tests.unit import make
from tests.unit.ledger.test_concurrency import at_once
from tests.unit.make import NOON

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
    # They come 5 s after the delivery, on average, as was told
    later = fast["mean_on_phone_seconds"] - fast["mean_delivery_seconds"]
    assert later == pytest.approx(5, rel=0.1)
    of_fast = told["profiles"][0]
    foretold = of_fast["mean_on_phone_seconds"] - of_fast["mean_delivery_seconds"]
    assert foretold == pytest.approx(5, rel=0.1)
    terminal.run("report", "-o", "report.html")
    assert "<h2>On the phone</h2>" in (terminal.folder / "report.html").read_text()


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_receipts_are_counted_once_by_either_database(database_url: str) -> None:
    # Given two processes that settle the same attempts at the same time, under one worker's name
    ledgers = [Ledger.open(database_url), Ledger.open(database_url)]
    ledger, batches = ledgers[0], 20
    simulation = make.simulation(num_messages=10 * batches, batch_size=10)
    run = ledger.start_run(simulation, seed=1, started_at=NOON)
    ledger.join("w1", [make.profile("fast")])
    rows = [make.row(run.id, number, first_index=10 * number) for number in range(batches)]
    ledger.record_batches(run.id, rows)
    known = OnPhone.of(np.array([*[0.5] * 5, *[3.0] * 3, np.nan, np.nan]))

    def settle(one: Ledger) -> None:
        for number in range(0, batches, 2):
            pair = (number, number + 1)
            one.settle([make.honest(run.id, each, on_phone=known) for each in pair])

    calls: list[Callable[[], object]] = [partial(settle, one) for one in ledgers]
    at_once(calls)

    # Then each is counted once, and the sums are proven
    found = ledger.snapshot(run).counts.on_phone
    assert (found.receipts, found.missing, found.longest) == (8 * batches, 2 * batches, 3.0)
    assert found.seconds == pytest.approx(known.seconds * batches)
    assert found.times == {bucket: some * batches for bucket, some in known.times.items()}
    report = audit_ledger(ledger, ledger.run(run.id))
    assert report.problems == []
    assert report.verdict is Verdict.PROVEN
    for one in ledgers:
        one.close()


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
