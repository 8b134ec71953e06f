"""Metrics say what the counters say, in Prometheus's form; health is red when nothing moves."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from sms_pipeline.core import histogram
from sms_pipeline.core.hosts import worker_id
from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.core.records import Control, Snapshot
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.run_state import patience
from sms_pipeline.views.format import duration
from sms_pipeline.views.metrics import families
from sms_pipeline.views.metrics.families import Health, cumulative, health
from sms_pipeline.views.reader import Reading
from tests.unit import make
from tests.unit.make import NOON

PROMTOOL_SECONDS = 30
#: Senders serve whatever run there is.
OF_ALL_RUNS = ("sms_pipeline_senders_online", "sms_pipeline_capacity_messages_per_second")

WORKER = worker_id("fast", "box", 1, "0a1b2c")
#: All figures differ, so that none can stand for another.
FAST = make.counts(
    "fast", dispatched=900, first_attempts=700, attempts=760, delivered=600, failed=21,
    expired=13, cancelled=7, retried=119, send_seconds=40.0, delivery_seconds=1_242.0,
    transit_seconds=931.5,    delivery_times={0: 1, 24: 2, 80: 600, 100: 15, 255: 3},
    on_phone=OnPhone(570, 30, 3_420.0, 9_000.0, {80: 560, 110: 8, 255: 2}),
)  # fmt: skip
SLOW = make.counts("slow")
SIMULATION = make.simulation(num_messages=1_000, name="drill 3")


def snapshot(*profiles: Any, **values: Any) -> Snapshot:
    return make.snapshot(
        *profiles, **{"total": 1_000, "started_at": NOON, "simulation": SIMULATION, **values}
    )


def progress(shot: Snapshot) -> Progress:
    """Ten seconds into the run, five into the watching; one worker is online."""
    tracker = Tracker()
    before = dataclasses.replace(shot, profiles=(), workers=(make.worker(WORKER, heartbeat=1),))
    tracker.update(before, 0, NOON + 5)
    now = dataclasses.replace(shot, workers=(make.worker(WORKER, heartbeat=2, seen_at=NOON + 10),))
    return tracker.update(now, 5, NOON + 10)


def reading(shot: Snapshot | None = None, **values: Any) -> Reading:
    shot = shot or snapshot(FAST, SLOW, settled_at=NOON + 9)
    return Reading(
        **{
            "snapshot": shot,
            "progress": progress(shot),
            "online": (),
            "idle_seconds": 3.0,
            "decided": True,
            "wall": NOON,
            **values,
        }
    )


def every_metric(one: Reading) -> list[Metric]:
    return [*families.health_metrics(Health(True, ""), True), *families.run_metrics(one)]


def exposed(families: Iterable[Metric]) -> str:
    class Given(Collector):
        def collect(self) -> Iterable[Metric]:
            return families

    registry = CollectorRegistry()
    registry.register(Given())
    return generate_latest(registry).decode()


def samples(one: Reading) -> dict[tuple[str, frozenset[str]], float]:
    """What a scraper reads: value by name and label values, the run left out."""
    return {
        (sample.name, frozenset(v for k, v in sample.labels.items() if k != "run")): sample.value
        for family in text_string_to_metric_families(exposed(every_metric(one)))
        for sample in family.samples
    }


# Metrics


def test_figures_are_those_of_the_counters() -> None:
    got = samples(reading())
    wanted = {
        ("messages_total", "fast", "delivered"): 600,
        ("messages_total", "fast", "failed"): 21,
        ("messages_total", "fast", "expired"): 13,
        ("messages_total", "fast", "cancelled"): 7,
        ("messages_total", "slow", "delivered"): 0,
        ("attempts_total", "fast", "delivered"): 600,
        ("attempts_total", "fast", "failed"): 140,
        ("dispatched_messages_total", "fast"): 900,
        ("send_seconds_total", "fast"): 40.0,
        ("transit_seconds_total", "fast"): 931.5,
        ("backlog_messages", "fast"): 200,
        ("retrying_messages", "fast"): 59,
        ("delivery_seconds_count", "fast"): 621,
        ("delivery_seconds_sum", "fast"): 1_242.0,
        ("run_messages",): 1_000,
        ("run_elapsed_seconds",): 10.0,
        ("idle_seconds",): 3.0,
        ("run_state", "running"): 1,
        ("run_state", "done"): 0,
        ("run_info", "drill 3", "7", "adaptive"): 1,
        ("senders_online", "fast", "box"): 5,
        ("senders_online", "slow", ""): 0,
        ("capacity_messages_per_second", "fast", "box"): 50,
        ("capacity_messages_per_second", "slow", ""): 0,
        # Five senders were there for ten seconds, and busy for 40.
        ("efficiency_ratio", "fast"): 0.8,
        ("ledger_up",): 1,
        ("healthy",): 1,
    }
    for (name, *labels), value in wanted.items():
        assert got["sms_pipeline_" + name, frozenset(labels)] == value, (name, labels)


def test_every_sample_of_a_run_names_it() -> None:
    for family in families.run_metrics(reading()):
        assert all("run" in s.labels for s in family.samples) or family.name in OF_ALL_RUNS


def test_run_that_is_done_is_in_that_state_and_not_idle() -> None:
    done = snapshot(make.counts(delivered=1_000), settled_at=NOON + 9)
    got = samples(reading(done, idle_seconds=500.0))
    assert got["sms_pipeline_run_state", frozenset({"done"})] == 1
    assert got["sms_pipeline_run_state", frozenset({"running"})] == 0
    assert got["sms_pipeline_idle_seconds", frozenset()] == 0


def test_who_is_online_is_not_guessed() -> None:
    names = {family.name for family in families.run_metrics(reading(decided=False))}
    assert "sms_pipeline_senders_online" not in names
    assert "sms_pipeline_backlog_messages" in names


def test_names_follow_prometheus_conventions() -> None:
    for family in every_metric(reading()):
        assert family.name.startswith("sms_pipeline_")
        assert family.documentation.endswith(".")
        assert "total" not in family.name


def test_promtool_finds_nothing_to_complain_about() -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposed(every_metric(reading())),
        capture_output=True,
        text=True,
        timeout=PROMTOOL_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# Histogram


def test_buckets_are_cumulative_and_end_with_all() -> None:
    buckets = cumulative(FAST.delivery_times)
    bounds = [float(bound) for bound, _ in buckets]
    counts = [count for _, count in buckets]
    assert bounds == sorted(set(bounds))
    assert (bounds[0], bounds[-2]) == (0.008, 4_194.304)
    assert counts == sorted(counts)
    # What took longest is in the last one only; what was quickest, in the first already.
    assert counts[0] == 3
    assert counts[-2:] == [618, 621]
    assert buckets[-1][0] == "+Inf"


def test_a_bucket_counts_what_took_at_most_its_bound() -> None:
    seconds = np.random.default_rng(7).lognormal(0, 2, 5_000)
    for bound, count in cumulative(histogram.count_buckets(seconds)):
        # At a bound itself rounding may go either way; no time here is that close to one.
        assert count == (seconds <= float(bound)).sum(), bound


def test_empty_histogram_is_all_zeros() -> None:
    assert {count for _, count in cumulative({})} == {0}


# Health


def test_a_run_is_healthy_while_it_moves() -> None:
    assert health(reading(idle_seconds=0.0)) == Health(True, "run 1: 641 of 1,000 messages ended")


def test_a_run_that_stands_still_is_red_and_says_why() -> None:
    still = patience(SIMULATION) + 1
    nobody = Tracker().update(snapshot(FAST, SLOW), 0, NOON + 10)
    assert health(reading(progress=nobody, idle_seconds=still - 2)).ok
    ok, reason = health(reading(progress=nobody, idle_seconds=still))
    assert not ok
    assert reason == (
        f"run 1: no progress for {duration(still)}, 259 messages waiting, 100 not dispatched; "
        "no sender online: fast"
    )


def test_no_hint_at_profiles_with_senders() -> None:
    ok, reason = health(reading(idle_seconds=1e6))
    assert not ok
    assert "online" not in reason


@pytest.mark.parametrize(
    ("shot", "reason"),
    [
        (snapshot(make.counts(delivered=1_000), settled_at=NOON), "run 1 is done"),
        (snapshot(FAST, control=Control.PAUSED), "run 1 is paused"),
    ],
)
def test_done_and_paused_runs_may_stand_still(shot: Snapshot, reason: str) -> None:
    assert health(reading(shot, idle_seconds=1e6)) == Health(True, reason)


@pytest.mark.parametrize(
    ("window", "ok"),
    [
        # It is 22:13:20
        ("08:00-22:00 UTC", True),
        ("22:13-23:00 UTC", True),
        ("08:00-23:00 UTC", False),
    ],
)
def test_a_run_may_stand_still_outside_its_hours(window: str, ok: bool) -> None:
    hours = make.simulation(num_messages=1_000, window=window)
    assert health(reading(snapshot(FAST, simulation=hours), idle_seconds=1e6)).ok is ok


def test_a_cancelled_run_must_come_to_its_end() -> None:
    assert not health(reading(snapshot(FAST, control=Control.CANCELLED), idle_seconds=1e6)).ok


def test_patience_knows_the_pauses_that_a_run_is_bound_to_make() -> None:
    def of(**values: Any) -> float:
        return patience(make.simulation(num_messages=1_000, batch_size=1, **values))

    quick = {"senders": (make.profile(mean_time=0),)}
    # One attempt: no pause; three: 1 s and 2 s, of which the second is the longest.
    assert of(**quick, retry=RetryPolicy(max_attempts=1, backoff=0)) == 60
    assert of(**quick, retry=RetryPolicy(max_attempts=3)) == 62
    assert of(**quick, retry=RetryPolicy(max_attempts=50)) == 120
    assert of(**quick, retry=RetryPolicy(max_attempts=None, backoff_max=5)) == 65
    # A batch of one message takes 30 s, and its last message may take as long again.
    slow = {"senders": (make.profile(mean_time=30),)}
    assert of(**slow, retry=RetryPolicy(max_attempts=1, backoff=0)) == 60 + 2 * 60
