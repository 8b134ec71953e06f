"""What a profile could take, where messages go from one profile to another."""

from __future__ import annotations

from typing import Any

import pytest

from sms_pipeline.core.failover import Failover
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Snapshot, WorkerRow
from sms_pipeline.core.routing import Load
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.producer.load import Loads
from tests.unit import make

FAST = make.profile("fast", count=10, mean_time=0.1, failure_rate=0.5)
BACKUP = make.profile("backup", count=10, mean_time=0.1, failure_rate=0.5)
PLANNED = make.simulation(senders=(FAST, BACKUP))
ONCE = PLANNED.model_copy(update={"failover": Failover(attempts=1, to="backup")})
WORKERS = tuple(WorkerRow.playing(one, one.name) for one in (FAST, BACKUP))


def loads(simulation: Simulation, *counts: Any) -> dict[str, Load]:
    snapshot: Snapshot = make.snapshot(*counts, simulation=simulation, workers=WORKERS)
    found = Loads(simulation, trusted=("fast", "backup")).read(snapshot, 0.0)
    return {load.profile: load for load in found}


def rate(profile: SenderProfile, attempts_each: float) -> Any:
    return pytest.approx(profile.capacity / attempts_each)


def test_retries_of_its_own_are_a_part_of_the_rate_of_a_profile() -> None:
    counts = make.counts("fast", dispatched=100, first_attempts=60, retried=30, delivered=30)
    fast = loads(PLANNED, counts)["fast"]
    assert (fast.outstanding, fast.rate) == (40, rate(FAST, 2))


def test_what_fails_elsewhere_is_gone_after_the_attempts_it_has_here() -> None:
    twice = PLANNED.model_copy(update={"failover": Failover(attempts=2, to="backup")})
    assert loads(ONCE)["fast"].rate == rate(FAST, 1)
    assert loads(twice)["fast"].rate == rate(FAST, 1.5)
    # Nobody goes on where the last one fails
    assert loads(ONCE)["backup"].rate == rate(BACKUP, 2)


def test_what_is_handed_over_waits_for_the_senders_of_the_other_profile() -> None:
    counts = make.counts("backup", dispatched=50, first_attempts=30, delivered=40, handed_in=70)
    assert loads(ONCE, counts)["backup"].outstanding == 20 + 60


def test_static_routing_goes_by_what_was_dispatched_alone() -> None:
    counts = make.counts("backup", dispatched=50, first_attempts=30, delivered=10, handed_in=70)
    static = ONCE.model_copy(update={"routing": "static"})
    assert loads(static, counts)["backup"].outstanding == 50
