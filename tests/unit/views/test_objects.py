"""A run's figures as JSON."""

from __future__ import annotations

import json

from sms_pipeline.core.progress import Findings, Tracker
from sms_pipeline.views.objects import progress_json
from tests.unit import make
from tests.unit.make import NOON


def test_json_holds_the_figures() -> None:
    counts = make.counts(
        dispatched=100,
        first_attempts=100,
        attempts=100,
        delivered=100,
        send_seconds=10.0,
        delivery_times={5: 100},
    )
    snapshot = make.snapshot(counts, started_at=NOON, settled_at=NOON + 5)
    found = json.loads(json.dumps(progress_json(Tracker().update(snapshot, 0, NOON + 10))))
    expected = {
        "run": 1, "total": 100, "delivered": 100, "failed": 0, "seconds": 5.0, "done": True,
        "average_rate": 20.0, "mean_send_seconds": 0.1, "eta_seconds": 0.0,
        "failed_attempts": 0, "warnings": [], "attempts": 100, "failure_rate_seen": 0.0,
        "in_flight": 0, "reached": 1.0, "history": [], "still_seconds": 0.0,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert found["profiles"][0]["name"] == "fast"
    assert found["profiles"][0]["delivered"] == 100


def test_json_has_the_thresholds_as_they_stand() -> None:
    simulation = make.simulation(thresholds=["failed < 5%", "reached 50% < 1m"])
    counts = make.counts(delivered=60, failed=5)
    snapshot = make.snapshot(counts, simulation=simulation, started_at=NOON)
    progress = Tracker().update(snapshot, 0, NOON + 30, Findings(reached_at={50: NOON + 20}))
    assert progress_json(progress)["thresholds"] == [
        {"check": "failed < 5%", "state": "missed", "seen": 0.05},
        {"check": "reached 50% < 1m", "state": "holding", "seen": 20.0},
    ]


def test_senders_that_need_no_time_have_a_capacity_that_json_can_hold() -> None:
    tracker = Tracker(["w1"])
    snapshot = make.snapshot(make.counts(), workers=(make.worker(mean_time=0.0),))
    assert progress_json(tracker.update(snapshot, 0, NOON))["profiles"][0]["capacity"] is None
