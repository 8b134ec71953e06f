"""Fewer, larger batches, and the runs that are simulated with them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sms_pipeline.core.failover import Failover
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.coarsening import (
    attempts_at_batches,
    later_end,
    most_batches,
    sizes_by_waiting,
)
from sms_pipeline.forecast.costs import COSTS
from sms_pipeline.forecast.outlook import SHARES, play
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.forecast.thinning import Budget, thin
from tests.unit import make

#: Senders of very different pace, and a deadline that leaves nothing out.
MIXED = make.simulation(
    num_messages=300_000,
    senders=(
        make.profile("usual", count=400, mean_time=1.0, failure_rate=0.1),
        make.profile("quick", count=100, mean_time=0.2, failure_rate=0.1),
        make.profile("slow", count=500, mean_time=20.0, failure_rate=0.1),
    ),
    deadline=86_400,
)
MESSAGES = {"usual": 120_000.0, "quick": 150_000.0, "slow": 30_000.0}
WORKERS = 4


def test_each_profile_has_the_same_share_of_what_may_wait_in_a_batch() -> None:
    setting = exact_setting(MIXED, WORKERS)
    sizes = sizes_by_waiting(setting, MESSAGES, 150)
    assert sizes is not None
    shares = [
        sizes[one.name] / (most_batches(setting, one) * MIXED.batch_size_for(one))
        for one in MIXED.senders
    ]
    assert 0.1 < shares[0] <= 1.5
    assert shares == pytest.approx([shares[0]] * len(shares))
    assert 140 < attempts_at_batches(MIXED, MESSAGES, sizes) <= 150


def test_batches_are_never_smaller_than_they_are() -> None:
    sizes = sizes_by_waiting(exact_setting(MIXED, WORKERS), MESSAGES, math.inf)
    assert sizes is not None
    configured = {one.name: MIXED.batch_size_for(one) for one in MIXED.senders}
    assert sizes["usual"] == configured["usual"]
    assert all(size >= configured[name] for name, size in sizes.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"routing": "static"},
        {"failover": Failover(attempts=1, to="slow")},
        # Workers wait for so large batches.
        {"batch_size": 2_000},
    ],
    ids=["static", "handed over", "large"],
)
def test_nobody_knows_what_waits(changes: dict[str, object]) -> None:
    setting = exact_setting(MIXED.model_copy(update=changes), WORKERS)
    assert sizes_by_waiting(setting, MESSAGES, 150) is None


def test_a_batch_must_not_be_much_more_than_may_wait() -> None:
    assert sizes_by_waiting(exact_setting(MIXED, WORKERS), MESSAGES, 10) is None


@pytest.mark.parametrize("budget", [Budget(20_000, 450), Budget(20_000, 900)])
def test_a_thinned_run_takes_as_long_with_workers_that_became_one(budget: Budget) -> None:
    # Given a run of twelve workers, of whose batches and messages few are simulated
    whole = exact_setting(MIXED, WORKERS)
    thinned = thin(whole, budget)
    assert thinned.workers == 1
    assert thinned.factor > 10
    # Then messages are reached when they are in the whole run
    exact, about = play(whole, MIXED, 1, 1), play(thinned, MIXED, 1, 3)
    for share in SHARES:
        truth, told = exact.reached(share), about.reached(share)
        assert truth and told
        assert told.middle == pytest.approx(truth.middle, rel=0.05)
    # And all workers are shown
    before, after = exact.progress(exact.middle), about.progress(about.middle)
    for was, now in zip(before.profiles, after.profiles, strict=True):
        assert (now.capacity, now.senders) == (was.capacity, was.senders)
        assert now.share == pytest.approx(was.share, abs=0.02)
        assert now.efficiency == pytest.approx(was.efficiency, abs=0.05)


def test_one_worker_costs_what_all_of_them_cost() -> None:
    thinned = thin(exact_setting(MIXED, WORKERS), Budget(20_000, 450))
    costs = thinned.costs["usual"]
    assert costs.play_message == pytest.approx(COSTS.play_message * thinned.factor / WORKERS)
    assert costs.make_message == pytest.approx(COSTS.make_message * thinned.factor)
    assert costs.play_batch / costs.retry_batch == pytest.approx(
        COSTS.play_batch / COSTS.retry_batch
    )
    assert costs.publish_batch / costs.play_batch == pytest.approx(
        WORKERS * COSTS.publish_batch / COSTS.play_batch
    )


PROFILE = make.profile(count=10_000, mean_time=2.0, shape=1.0)
FEWER = PROFILE.model_copy(update={"count": 50})


def test_the_slowest_of_many_takes_longer_than_the_slowest_of_few() -> None:
    # The slowest of n exponential times takes ln(n) means.
    assert later_end(PROFILE, FEWER, 5_000, 50) == pytest.approx(2 * math.log(100), rel=1e-6)


def test_no_more_messages_are_under_way_than_there_are_senders() -> None:
    assert later_end(PROFILE, FEWER, 20_000, 1_000) == pytest.approx(2 * math.log(200), rel=1e-6)


def test_what_is_cut_off_is_not_slower_than_that() -> None:
    capped = PROFILE.model_copy(update={"max_time": 9.0})
    assert later_end(capped, FEWER, 5_000, 50) == pytest.approx(9 - 2 * math.log(50), rel=1e-6)


def test_measured_times_have_their_own_slowest() -> None:
    times = tuple(np.linspace(1.0, 3.0, 201))
    measured = PROFILE.model_copy(update={"times": times})
    fewer = measured.model_copy(update={"count": 10})
    assert later_end(measured, fewer, 1_000, 10) == pytest.approx(0.099 * 2, rel=0.01)


def test_messages_that_stand_for_others_one_after_the_other_have_no_slowest() -> None:
    bundled = PROFILE.model_copy(update={"count": 4, "shape": 50.0})
    assert later_end(PROFILE, bundled, 5_000, 50) == 0


def test_few_messages_do_not_end_sooner() -> None:
    assert later_end(PROFILE, PROFILE, 1, 1) == 0


def test_an_instant_profile_has_no_slowest() -> None:
    instant = make.profile(mean_time=0)
    assert later_end(instant, instant.model_copy(update={"count": 1}), 5_000, 50) == 0


def test_each_batch_needs_as_many_attempts_as_its_unluckiest_message() -> None:
    once = make.simulation(senders=(make.profile(failure_rate=0),))
    name = once.senders[0].name
    assert attempts_at_batches(once, {name: 1_000.0}, {name: 100.0}) == 10
    assert attempts_at_batches(once, {name: 0.0}, {name: 100.0}) == 0
    failing = Simulation(**{**dict(once), "senders": (make.profile(failure_rate=1),)})
    attempts = once.retry.max_attempts
    assert attempts_at_batches(failing, {name: 1_000.0}, {name: 100.0}) == 10 * (attempts or 0)
