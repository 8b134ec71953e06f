"""What a machine takes, by a few runs on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS, Costs
from sms_pipeline.forecast.measuring import (
    MACHINE,
    Probe,
    Sample,
    by_name,
    ceiling_of,
    costs_of,
    from_names,
    run_to_measure,
    seconds_of,
)
from sms_pipeline.forecast.outlook import NEAR_CEILING, look_ahead
from tests.unit import make

PROBE = Probe(start=0.1, publish=0.002, deliver=0.003, settle=0.02)
#: A machine on which all differs from what is known.
SLOW = replace(
    COSTS, start=0.1, turn=0.004, publish=0.002, deliver=0.003, settle=0.02,
    make_message=2e-6, publish_batch=0.001, play_message=1e-6, play_batch=0.008, retry_batch=0.008,
)  # fmt: skip
CPU = ("make_message", "publish_batch", "play_message", "play_batch", "retry_batch")
CLOSE = 0.1


def sample(costs: Costs, messages: int, batch_size: int, held_up: float = 1.0) -> Sample:
    """A run on such a machine: half as many batches again are retries of a tenth."""
    batches = messages // batch_size
    retries, again = batches // 2, messages // 10
    simulation = run_to_measure(Simulation(), "host-a", messages, batch_size)
    return Sample(
        simulation=simulation,
        seconds=seconds_of(simulation, costs) * held_up,
        turn=costs.turn,
        producer=costs.make_message * messages + costs.publish_batch * batches,
        worker=costs.play_message * (messages + again)
        + costs.play_batch * (batches + retries)
        + costs.retry_batch * retries,
        messages=messages,
        batches=batches,
        attempts=messages + again,
        settlements=batches + retries,
        handed_on=retries,
    )


def samples(costs: Costs, held_up: float = 1.0) -> list[Sample]:
    sizes = ((100_000, 5_000), (50_000, 1_000), (20_000, 200))
    return [sample(costs, messages, size, held_up) for messages, size in sizes]


def test_the_run_that_measures_fails_as_often_as_is_planned() -> None:
    senders = (
        make.profile("a", count=30, failure_rate=0.1),
        make.profile("b", count=10, failure_rate=0.5),
    )
    planned = Simulation(senders=senders, max_text_length=30)
    found = run_to_measure(planned, "host-a", 1_000, 50)
    (profile,) = found.senders
    assert (profile.mean_time, profile.failure_rate) == (0, pytest.approx(0.2))
    assert (found.tags, found.max_text_length, found.retry.backoff) == ({MACHINE: "host-a"}, 30, 0)
    assert (found.num_messages, found.batch_size) == (1_000, 50)


@pytest.mark.parametrize("costs", [replace(COSTS, retry_batch=COSTS.play_batch), SLOW])
def test_what_messages_and_batches_cost_is_told_apart(costs: Costs) -> None:
    found = costs_of(samples(costs), [PROBE])
    for name in CPU:
        assert getattr(found, name) == pytest.approx(getattr(costs, name), rel=CLOSE), name


def test_what_holds_up_the_whole_process_makes_all_work_longer() -> None:
    found = costs_of(samples(SLOW, held_up=1.5), [PROBE])
    for name in CPU:
        assert getattr(found, name) == pytest.approx(1.5 * getattr(SLOW, name), rel=2 * CLOSE), name


def test_nothing_costs_less_than_nothing() -> None:
    # Given a producer that seems to take less for more batches
    odd = [
        replace(one, producer=seconds)
        for one, seconds in zip(samples(SLOW), (3.0, 1.0, 0.1), strict=True)
    ]
    found = costs_of(odd, [PROBE])
    assert found.publish_batch == 0
    assert found.make_message > 0


def test_delays_are_those_of_the_middle_run_of_one_message() -> None:
    odd = replace(PROBE, settle=9.0, deliver=-0.001)
    found = costs_of(samples(SLOW), [PROBE, odd, PROBE])
    assert (found.start, found.publish, found.deliver, found.settle) == (0.1, 0.002, 0.003, 0.02)
    # What was seen before it could be is no less than no time
    assert costs_of(samples(SLOW), [odd]).deliver == 0


def test_the_ceiling_is_lower_where_producer_and_worker_share_a_process() -> None:
    found = ceiling_of(Simulation(), SLOW)
    assert found.one_process < min(found.producer, found.worker)
    # 2 us a message and 1 ms for 20,000
    assert found.producer == pytest.approx(1 / 2.05e-6, rel=CLOSE)
    failing = Simulation(senders=(make.profile(failure_rate=0.5),))
    assert ceiling_of(failing, SLOW).worker < found.worker


def test_costs_of_another_version_are_filled_up() -> None:
    assert from_names(by_name(SLOW)) == SLOW
    assert from_names({"start": 7.0, "tea": 1.0}) == replace(COSTS, start=7.0)


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
    assert 0.98 * min(idle.ends) < idle.end.low < min(idle.ends)
    assert max(idle.ends) < idle.end.high < 1.02 * max(idle.ends)


def test_a_slower_machine_is_the_limit_sooner() -> None:
    # Given senders that are the limit on the machine that is known
    simulation = Simulation(
        num_messages=20_000, senders=(make.profile(count=1_000, mean_time=0.1),), batch_size=500
    )
    assert look_ahead(simulation).load < NEAR_CEILING
    slow = look_ahead(simulation, costs=COSTS.busier(8))
    assert slow.load > NEAR_CEILING
    assert slow.end.middle > 1.1 * look_ahead(simulation).end.middle
