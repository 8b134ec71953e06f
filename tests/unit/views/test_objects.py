"""A run's figures as JSON."""

from __future__ import annotations

import json

from sms_pipeline.core.progress import Findings, Tracker
from sms_pipeline.views.format import iso
from sms_pipeline.views.objects import progress_json
from tests.unit import make
from tests.unit.make import NOON

SIMULATION = make.simulation(name="drill 3", tags={"region": "north"})


def test_json_holds_the_figures() -> None:
    # Given a run that was read twice, two seconds apart
    tracker = Tracker(["w1"])
    for seconds, delivered in ((2, 10), (4, 20)):
        counts = make.counts(
            dispatched=50, first_attempts=40, attempts=delivered + 40, delivered=delivered,
            failed=5, expired=3, cancelled=2, retried=30, send_seconds=5.5,
            delivery_seconds=100.0, transit_seconds=50.0, longest_delivery=0.02,
            delivery_times={8: 25},
        )  # fmt: skip
        snapshot = make.snapshot(
            counts,
            run=3,
            seed=9,
            workers=(make.worker(senders=2, seen_at=NOON + 20),),
            simulation=SIMULATION,
            started_at=NOON,
        )
        progress = tracker.update(snapshot, seconds, NOON + seconds, Findings(stuck={"fast": 7}))
    found = json.loads(json.dumps(progress_json(progress)))
    # Then all its figures are there
    of_messages = {
        "dispatched": 50, "in_flight": 20, "backlog": 10, "retrying": 10,
        "handed_in": 0, "handed_away": 0,
        "delivered": 20, "failed": 5, "expired": 3, "cancelled": 2,
        "attempts": 55, "failed_attempts": 35, "failure_rate_seen": 0.636364,
        "mean_send_seconds": 0.1, "mean_send_in_all_seconds": 0.22,
        "mean_transit_seconds": 2.0, "mean_delivery_seconds": 4.0,
        "receipts": 0, "without_receipt": 0, "mean_on_phone_seconds": None,
        "p50_on_phone_seconds": None, "p95_on_phone_seconds": None, "p99_on_phone_seconds": None,
    }  # fmt: skip
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    for name, share in shares.items():
        seconds_seen = counts.percentile(share)
        assert seconds_seen is not None
        of_messages[f"{name}_delivery_seconds"] = round(seconds_seen, 6)
    assert (found.pop("parts_per_message"), found.pop("parts_sent")) == (1, 55)
    (warning,) = found.pop("warnings")
    assert "7 messages" in warning
    assert found.pop("profiles") == [
        {
            "name": "fast", "senders": 2, "share": 1.0, **of_messages,
            "failure_rate": 0.1, "capacity": 20.0, "efficiency": 0.6875, "cost": None,
                "hosts": [{"host": None, "workers": 1, "senders": 2, "capacity": 20.0}],
        }
    ]  # fmt: skip
    assert found == {
        "run": 3, "name": "drill 3", "tags": {"region": "north"}, "urgent": False, "total": 100,
        "seed": 9, "started_at": iso(NOON), **of_messages,
        "seconds": 4.0, "average_rate": 6.25, "done": False, "state": "running",
        "cure": None, "control": "running",
        "rate": 5.0, "history": [5.0], "still_seconds": 0.0,
        "paused_seconds": 0.0, "interrupted_seconds": 0.0,
        "eta_seconds": round(progress.eta_seconds or 0.0, 6), "next_retry_seconds": None,
        "cost": None,
        "reached": 0.2, "thresholds": [],
    }  # fmt: skip


def test_json_says_null_where_nothing_is_known() -> None:
    found = progress_json(Tracker().update(make.snapshot(make.counts("strange")), 0, NOON))
    unknown = {
        "name", "cure", "cost", "eta_seconds", "next_retry_seconds",
        "failure_rate_seen", "mean_send_seconds",
        "mean_send_in_all_seconds", "mean_transit_seconds", "mean_delivery_seconds",
        "p50_delivery_seconds", "p95_delivery_seconds",
        "p99_delivery_seconds", "mean_on_phone_seconds",
        "p50_on_phone_seconds", "p95_on_phone_seconds", "p99_on_phone_seconds",
    }  # fmt: skip
    assert {key for key, value in found.items() if value is None} == unknown
    (profile,) = found["profiles"]
    assert profile["failure_rate"] is profile["efficiency"] is None


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
