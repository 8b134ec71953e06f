"""What many simulated runs agree on, and what holds a run up."""

from __future__ import annotations

from statistics import median

import pytest

from sms_pipeline.core.checks import Threshold
from sms_pipeline.core.failover import Failover
from sms_pipeline.core.hours import Window
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.thresholds import State
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.limits import Limit, limits_of
from sms_pipeline.forecast.outlook import FEW_RUNS, RUNS, Outlook, Spread, look_ahead
from sms_pipeline.views.outlook import limit_lines
from tests.unit import make

HOUR = 3_600.0

#: Twenty seconds of work for its senders.
BUSY = make.simulation(
    num_messages=2_000, senders=(make.profile(count=10, failure_rate=0),), batch_size=50
)


def outlook(*checks: str, **values: object) -> Outlook:
    thresholds = tuple(Threshold(check=check) for check in checks)
    return look_ahead(make.simulation(num_messages=500, thresholds=thresholds, **values))


def test_a_spread_has_a_middle() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(1.0, 2.0, 3.0)


def test_a_range_leaves_out_the_night() -> None:
    # Given a run that takes a working day, give or take a minute or ten
    window = Window(hours="08:00-21:00", zone="UTC")
    one = make.profile(count=1, mean_time=10, failure_rate=0)
    simulation = make.simulation(num_messages=4_680, senders=(one,), window=window)
    # Then it ends late in the evening, or early next morning
    end = look_ahead(simulation).end
    night = (window.seconds_for(13 * HOUR, EPOCH), window.seconds_for(13 * HOUR + 1, EPOCH))
    assert night[0] - HOUR < end.low < night[0]
    assert night[1] < end.high < night[1] + HOUR


def test_a_forecast_has_a_range_and_is_the_same_every_time() -> None:
    seen = outlook()
    assert seen.runs == RUNS
    assert seen.error is None
    assert seen.end.low < seen.end.middle < seen.end.high
    half, most, all_but_few = (seen.reached[share] for share in (0.5, 0.9, 0.99))
    assert half and most and all_but_few
    assert half.middle < most.middle < all_but_few.middle <= seen.end.high
    assert outlook() == seen


def test_a_share_that_is_not_reached_has_no_time() -> None:
    seen = outlook(senders=(make.profile(failure_rate=0.5),), retry=RetryPolicy(max_attempts=1))
    assert seen.reached[0.99] is None


def test_thresholds_are_judged_by_all_runs() -> None:
    seen = outlook("failed < 100%", "duration < 1ms", "lost == 0")
    states = [one.judgement.state for one in seen.thresholds]
    assert states == [State.PASSED, State.MISSED, State.PASSED]
    assert [one.held for one in seen.thresholds] == [RUNS, 0, RUNS]
    assert [one.judgement.check.metric for one in seen.missed] == ["duration"]


def test_what_large_runs_tell_comes_with_how_far_it_may_be_off() -> None:
    large = make.simulation(
        num_messages=10_000_000,
        senders=(make.profile(count=100_000, mean_time=1.0, failure_rate=0.01),),
    )
    seen = look_ahead(large)
    assert seen.error is not None
    assert 0 < seen.error < 0.1
    assert seen.reached[0.5]
    assert seen.reached[0.5].middle == pytest.approx(52, rel=0.05)
    assert seen.progress.counts.finished == 10_000_000


def test_every_message_is_simulated_if_asked_for() -> None:
    simulation = make.simulation(num_messages=100_000, senders=(make.profile(count=5_000),))
    assert look_ahead(simulation).error is not None
    assert look_ahead(simulation, exact=True).error is None
    assert FEW_RUNS < RUNS


def limits(simulation: Simulation) -> list[str]:
    return [limit.without for limit in limits_of(simulation, None)]


def test_limits_are_told_beside_when_the_run_is_told_to_end() -> None:
    # Given twenty profiles, of which runs that are thinned much say that they end too late
    profiles = [make.profile(f"p{number}", count=10 * number) for number in range(1, 21)]
    many = make.simulation(num_messages=5_000_000, senders=tuple(profiles))
    outlook = look_ahead(many)
    middle = outlook.end.middle
    assert median(outlook.ends) > 1.05 * middle
    # Then what is told to hold it up makes it end sooner, and nothing is that does not
    senders, *others = limits_of(many, None, told=middle, ends=outlook.ends)
    assert (senders.without, others) == ("if senders took no time", [])
    assert senders.end < 0.1 * middle
    # And without what is told of it, it is told by those runs alone
    alone, *_ = limits_of(many, None, ends=outlook.ends)
    assert senders.end / alone.end == pytest.approx(middle / median(outlook.ends))


def test_each_limit_is_told_with_the_end_that_the_run_would_have_without_it() -> None:
    found = [Limit("if retries did not wait", 60.0), Limit("without the profile slow", 90.0)]
    assert list(limit_lines(found)) == [
        "What holds it up most: if retries did not wait, it would end in 1 min 00 s.",
        "Next: without the profile slow, 1 min 30 s.",
    ]
    assert not list(limit_lines([]))


def test_senders_are_the_limit_where_they_have_work_all_the_time() -> None:
    assert limits(BUSY)[0] == "if senders took no time"


def test_pauses_are_the_limit_where_they_are_long() -> None:
    patient = RetryPolicy(max_attempts=2, backoff=60, jitter=0)
    waiting = make.simulation(
        num_messages=500, senders=(make.profile(count=100, failure_rate=0.2),), retry=patient
    )
    assert limits(waiting)[0] == "if retries did not wait"


def test_the_machine_is_the_limit_where_senders_take_no_time() -> None:
    instant = make.simulation(
        num_messages=500_000, senders=(make.profile(mean_time=0, failure_rate=0),)
    )
    assert limits(instant) == ["if the machine took no time"]


def test_a_profile_is_the_limit_where_the_others_wait_for_it() -> None:
    slow = make.profile("slow", count=20, mean_time=20.0, failure_rate=0)
    mixed = make.simulation(
        num_messages=2_000, senders=(make.profile("fast", count=50, failure_rate=0), slow)
    )
    assert "without the profile slow" in limits(mixed)
    assert "without the profile fast" not in limits(mixed)


def test_of_many_profiles_those_that_are_waited_for_are_taken_away() -> None:
    quick = [make.profile(f"quick-{number}", count=50, failure_rate=0) for number in range(8)]
    slow = make.profile("slow", count=20, mean_time=20.0, failure_rate=0)
    mixed = make.simulation(num_messages=16_000, senders=(*quick[:4], slow, *quick[4:]))
    assert "without the profile slow" in limits(mixed)


def test_a_profile_that_others_hand_their_messages_to_may_be_the_limit() -> None:
    fast = make.profile("fast", count=50, failure_rate=0.4)
    backup = make.profile("backup", count=5, mean_time=0.5, failure_rate=0)
    mixed = make.simulation(
        num_messages=1_000, senders=(fast, backup), failover=Failover(attempts=1, to="backup")
    )
    assert "without the profile backup" in limits(mixed)


def test_who_waits_for_messages_of_others_gets_few_of_its_own() -> None:
    # Given two profiles, one of which has much to do with what fails elsewhere
    fast = make.profile("fast", count=60, failure_rate=0.4)
    backup = make.profile("backup", count=60, mean_time=0.4, failure_rate=0)
    planned = make.simulation(num_messages=10_000, senders=(fast, backup))
    handing = planned.model_copy(update={"failover": Failover(attempts=1, to="backup")})
    dispatched = [
        {part.name: part.counts.dispatched for part in look_ahead(one).progress.profiles}
        for one in (planned, handing)
    ]
    assert dispatched[1]["backup"] < 0.5 * dispatched[0]["backup"]


@pytest.mark.parametrize(
    ("failure_rate", "most"),
    [
        (0.5, 4),
        # Without the other one, it would never end.
        (1.0, None),
    ],
)
def test_a_profile_that_steps_in_for_others_can_be_taken_away(
    failure_rate: float, most: int | None
) -> None:
    spared = make.simulation(
        num_messages=30,
        senders=(make.profile("first", failure_rate=failure_rate), make.profile("spare")),
        failover=Failover(attempts=1, to="spare"),
        retry=RetryPolicy(max_attempts=most),
    )
    assert "without the profile spare" not in limits(spared)
