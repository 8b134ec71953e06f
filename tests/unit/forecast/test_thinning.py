"""Fewer messages of the same shape, and back to the whole run."""

from __future__ import annotations

import pytest

from sms_pipeline.core import histogram
from sms_pipeline.core.failover import Failover
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.costs import COSTS
from sms_pipeline.forecast.outlook import ROUGH, SHARES, Runs, play
from sms_pipeline.forecast.setting import Setting, exact_setting
from sms_pipeline.forecast.thinning import Budget, thin
from tests.unit import make

BUDGET = Budget(messages=20_000, batches=300)
#: Fifty batches of a second.
WIDE = make.simulation(
    num_messages=500_000,
    senders=(make.profile(count=10_000, mean_time=1.0, failure_rate=0.1),),
)
#: A quarter of an hour on few senders.
LONG = make.simulation(
    num_messages=100_000,
    senders=(make.profile("a", count=8), make.profile("b", count=4, failure_rate=0.2)),
)


def capacity(setting: Setting) -> float:
    return sum(one.capacity for one in setting.simulation.senders)


def played(setting: Setting, simulation: Simulation, runs: int = 2) -> Runs:
    return play(setting, simulation, 1, runs)


def test_what_is_within_the_budget_is_not_thinned() -> None:
    small = exact_setting(make.simulation(num_messages=1_000), None)
    assert thin(small, BUDGET) is small


def test_a_wide_run_has_fewer_senders_and_messages() -> None:
    whole = exact_setting(WIDE, None)
    thinned = thin(whole, BUDGET)
    assert thinned.factor > 20
    assert capacity(thinned) * thinned.factor == pytest.approx(capacity(whole), rel=0.01)
    (sender,) = thinned.simulation.senders
    simulated = thinned.simulation.num_messages + thinned.left_out
    assert simulated * thinned.factor == pytest.approx(500_000, rel=0.01)
    assert sender.mean_time == pytest.approx(1.0, rel=0.01)
    # What a thinned batch stands for costs as much as what it stands for.
    costs = thinned.costs["fast"]
    assert costs.make_message == pytest.approx(COSTS.make_message * thinned.factor)
    assert costs.settle == COSTS.settle


def test_a_profile_with_few_senders_is_slower_instead() -> None:
    mixed = make.simulation(
        num_messages=1_000_000,
        routing="static",
        senders=(make.profile("many", count=10_000), make.profile("few", count=4)),
    )
    whole = exact_setting(mixed, None)
    thinned = thin(whole, BUDGET)
    few, real = thinned.simulation.profile("few"), mixed.profile("few")
    assert few.count == real.count
    assert few.capacity * thinned.factor == pytest.approx(real.capacity)
    # The spread of the sum of so many send times.
    assert few.shape == pytest.approx(real.shape * thinned.factor)


def test_most_of_a_long_run_is_left_out_and_put_back() -> None:
    whole = exact_setting(LONG, None)
    thinned = thin(whole, BUDGET)
    assert thinned.left_out > 80_000
    assert thinned.left_out + thinned.simulation.num_messages == 100_000
    (course, _) = played(thinned, LONG).courses
    assert course.snapshot.total == 100_000
    assert sum(mark.ended for mark in course.marks) == pytest.approx(100_000, abs=2)


@pytest.mark.parametrize("simulation", [WIDE, LONG], ids=["wide", "long"])
def test_thinned_runs_take_as_long_as_whole_ones(simulation: Simulation) -> None:
    setting = exact_setting(simulation, None)
    whole, thinned = played(setting, simulation, 1), played(thin(setting, BUDGET), simulation, 3)
    for share in SHARES:
        exact, about = whole.reached(share), thinned.reached(share)
        assert exact and about
        assert about.middle == pytest.approx(exact.middle, rel=0.05)
    before = whole.progress(whole.middle)
    after = thinned.progress(thinned.middle)
    assert after.counts.finished == before.counts.finished == simulation.num_messages
    assert after.counts.delivered == pytest.approx(before.counts.delivered, rel=0.01)
    assert after.counts.failed_attempts == pytest.approx(before.counts.failed_attempts, rel=0.15)
    for name in ("mean_delivery", "mean_send", "mean_transit"):
        was = getattr(before.counts, name)
        assert getattr(after.counts, name) == pytest.approx(was, rel=0.1), name
    assert after.counts.percentile(0.95) == pytest.approx(before.counts.percentile(0.95), rel=0.05)
    for one, other in zip(before.profiles, after.profiles, strict=True):
        assert one.senders == other.senders
        assert other.share == pytest.approx(one.share, abs=0.05)
        assert other.efficiency == pytest.approx(one.efficiency, abs=0.1)


def test_a_long_run_keeps_some_batches_however_large_they_are() -> None:
    sender = make.profile(count=100, failure_rate=0)
    simulation = make.simulation(num_messages=4_000_000, senders=(sender,), batch_size=20_000)
    (course,) = played(thin(exact_setting(simulation, None), ROUGH), simulation, 1).courses
    assert course.seconds == pytest.approx(4_000, rel=0.01)


@pytest.mark.parametrize("workers", [3, 8])
def test_however_coarse_batches_are_each_worker_has_one(workers: int) -> None:
    # Given few senders, whose batches are small, in a run that has no middle to leave out
    simulation = make.simulation(
        num_messages=9_000, senders=(make.profile(failure_rate=0),), deadline=86_400
    )
    whole = exact_setting(simulation, workers)
    thinned = thin(whole, Budget(messages=9_000, batches=60))
    (exact,), (rough,) = (play(one, simulation, 1, 1).courses for one in (whole, thinned))
    assert rough.seconds == pytest.approx(exact.seconds, rel=0.15)


def test_what_is_handed_over_arrives_in_a_thinned_run_and_is_waited_for() -> None:
    # Given a profile that many hand more to than it can send
    simulation = make.simulation(
        num_messages=60_000,
        senders=(make.profile("many", count=100, failure_rate=0.4), make.profile("few", count=3)),
        failover=Failover(attempts=1, to="few"),
    )
    whole = exact_setting(simulation, None)
    thinned = thin(whole, Budget(messages=6_000, batches=200))
    exact, rough = (play(one, simulation, 1, 1) for one in (whole, thinned))
    assert rough.middle.seconds == pytest.approx(exact.middle.seconds, rel=0.1)
    many, few = (part.counts for part in rough.progress(rough.middle).profiles)
    assert many.handed_away == few.handed_in > 20_000
    assert many.dispatched + few.dispatched == 60_000


def test_the_end_of_a_thinned_run_knows_of_retries_that_it_did_not_see() -> None:
    # Given one message in a thousand that fails, and pauses of a minute
    rare = make.simulation(
        num_messages=2_000_000,
        senders=(make.profile(count=100_000, failure_rate=0.001),),
        retry=RetryPolicy(max_attempts=4, backoff=60, jitter=0),
    )
    # When the 20,000 that are simulated hardly ever fail twice
    runs = played(thin(exact_setting(rare, None), BUDGET), rare, 3)
    # Then the end is that of the two messages of two million that fail twice
    assert min(runs.ends) > 60 + 60


def test_times_that_are_evenly_spread_fall_in_buckets_by_their_width() -> None:
    found = histogram.spread(100, 2.0, 4.0)
    assert sum(found.values()) == pytest.approx(100)
    assert len(found) >= histogram.BUCKETS_PER_DOUBLING
    half = sum(value for bucket, value in found.items() if histogram.upper_bound(bucket) <= 3.0)
    assert half == pytest.approx(50, abs=10)


def test_a_run_with_a_rate_takes_as_long_as_that_says_however_large() -> None:
    paced = make.simulation(
        num_messages=3_000_000, rate=1_000.0, senders=(make.profile("fast", count=20_000),)
    )
    thinned = thin(exact_setting(paced, None), BUDGET)
    (course, _) = played(thinned, paced).courses
    assert course.reached_after(0.9) == pytest.approx(2_700, rel=0.02)
