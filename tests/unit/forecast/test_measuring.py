"""How slow a machine is, by one run on it."""

from __future__ import annotations

import pytest

from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS
from sms_pipeline.forecast.measuring import MACHINE, Measurement, factor_of, run_to_measure
from sms_pipeline.forecast.outlook import NEAR_CEILING, look_ahead
from sms_pipeline.forecast.rehearsal import rehearse
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.ledger.measurements import newest_with_tag
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.ledger import memory_ledger
from tests.unit import make

#: Times of a simulated run go by steps of the senders, so they are not quite proportional to costs.
CLOSE = 0.1


def test_the_run_that_measures_fails_as_often_as_is_planned() -> None:
    senders = (
        make.profile("a", count=30, failure_rate=0.1),
        make.profile("b", count=10, failure_rate=0.5),
    )
    found = run_to_measure(Simulation(senders=senders, max_text_length=30), "host-a")
    (profile,) = found.senders
    assert (profile.mean_time, profile.failure_rate) == (0, pytest.approx(0.2))
    assert (found.tags, found.max_text_length, found.retry.backoff) == ({MACHINE: "host-a"}, 30, 0)


@pytest.mark.parametrize("slower", [0.5, 1.0, 3.0])
def test_a_machine_is_as_slow_as_its_run(slower: float) -> None:
    simulation = run_to_measure(Simulation(), "host-a").model_copy(update={"num_messages": 100_000})
    slow = exact_setting(simulation, None, COSTS.slower(slower))
    assert factor_of(simulation, rehearse(slow, 1).seconds) == pytest.approx(slower, rel=CLOSE)


def test_costs_are_those_known_times_the_factor() -> None:
    costs = Measurement("host-a", 1, 0.0, True, 2.0).costs
    assert costs.per_batch() == 2 * COSTS.per_batch()
    assert costs.settle == 2 * COSTS.settle


def test_where_the_machine_is_the_limit_the_range_is_wider() -> None:
    # Given senders that could do much more than the machine
    simulation = Simulation(
        num_messages=20_000, senders=(make.profile(count=10_000, mean_time=0.01),), batch_size=100
    )
    busy = look_ahead(simulation)
    assert busy.load > NEAR_CEILING
    assert busy.end.low < min(busy.ends) and busy.end.high > max(busy.ends)
    idle = look_ahead(Simulation())
    assert idle.load < NEAR_CEILING
    assert (idle.end.low, idle.end.high) == (min(idle.ends), max(idle.ends))


@pytest.fixture
def ledger() -> Ledger:
    return memory_ledger()


def ended(ledger: Ledger, machine: str, seed: int, seconds: float) -> int:
    simulation = make.simulation(num_messages=10, tags={MACHINE: machine})
    run = ledger.start_run(simulation, seed, embedded=True)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id, settled_at=run.started_at + seconds)])
    return run.id


def test_the_newest_run_on_this_machine_counts(ledger: Ledger) -> None:
    ended(ledger, "host-a", 1, 3.0)
    newest = ended(ledger, "host-a", 2, 4.0)
    ended(ledger, "host-b", 3, 9.0)
    ledger.start_run(make.simulation(tags={MACHINE: "host-a"}), 4, embedded=True)
    found = newest_with_tag(ledger, MACHINE, "host-a", embedded=True)
    assert found is not None
    assert (found[0].id, found[1]) == (newest, pytest.approx(4.0))
    assert newest_with_tag(ledger, MACHINE, "host-a", embedded=False) is None
    assert newest_with_tag(ledger, MACHINE, "host-c", embedded=True) is None
