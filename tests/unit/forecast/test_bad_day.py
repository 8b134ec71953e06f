"""Forecasts of bad days and of carriers' limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.events import Event
from sms_pipeline.core.messages import make_columns
from sms_pipeline.core.parts import count_parts
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.caps import passed_caps
from sms_pipeline.forecast.costs import NO_COSTS
from sms_pipeline.forecast.limits import limits_of
from sms_pipeline.forecast.outlook import ROUGH, look_ahead, play
from sms_pipeline.forecast.plan import Goal, make_plan
from sms_pipeline.forecast.rehearsal import Course, rehearse
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.forecast.thinning import Budget, thin
from sms_pipeline.views.outlook import cap_lines
from sms_pipeline.views.plan import plan_lines
from tests.unit import make


def event(**values: Any) -> Event:
    return Event.model_validate({"at": 10, "for": 10, **values})


def steady(**values: Any) -> Simulation:
    """A hundred messages a second, for half a minute, if nothing goes wrong."""
    sender = make.profile(count=10, mean_time=0.1, failure_rate=0, shape=1e6)
    return make.simulation(**{"num_messages": 3_000, "senders": (sender,), **values})


def course(simulation: Simulation, workers: int | None = None) -> Course:
    return rehearse(exact_setting(simulation, workers, NO_COSTS), 1)


def delivered(seen: Course, start: float, end: float) -> int:
    """By when they were settled."""
    return sum(mark.delivered for mark in seen.marks if start < mark.at <= end)


@pytest.mark.parametrize("workers", [None, 2])
def test_an_outage_holds_a_run_up_for_as_long_as_it_lasts(workers: int | None) -> None:
    calm = course(steady(), workers)
    seen = course(steady(events=(event(outage=True, at=5, **{"for": 8}),)), workers)
    assert seen.seconds == pytest.approx(calm.seconds + 8, abs=0.1)
    # What is in the air at its begin still arrives
    assert delivered(seen, 6, 13) == 0
    assert seen.snapshot.counts.delivered == 3_000


def test_half_the_senders_do_half_the_work() -> None:
    seen = course(steady(events=(event(outage=True, share=0.5),)))
    assert delivered(seen, 11, 20) == pytest.approx(9 * 50, rel=0.1)
    assert seen.seconds == pytest.approx(35, abs=0.5)


def test_a_slowdown_is_felt_while_it_lasts() -> None:
    seen = course(steady(events=(event(slowdown=2),)))
    assert delivered(seen, 11, 20) == pytest.approx(9 * 50, rel=0.1)
    assert seen.seconds == pytest.approx(35, abs=0.5)


def test_attempts_that_start_in_an_event_fail() -> None:
    counts = course(steady(events=(event(failure_rate=0.5),))).snapshot.counts
    assert counts.failed_attempts == pytest.approx(10 * 100 * 0.5, rel=0.1)
    assert counts.delivered + counts.failed == 3_000


def test_an_event_of_one_profile_leaves_the_others_alone() -> None:
    senders = tuple(make.profile(name, count=5, failure_rate=0) for name in ("a", "b"))
    outage = event(profile="a", outage=True)
    seen = course(make.simulation(num_messages=3_000, senders=senders, events=(outage,)))
    parts = {mark.profile for mark in seen.marks if 11 < mark.at <= 20 and mark.delivered}
    assert parts == {"b"}


def test_a_limit_is_what_a_run_takes() -> None:
    # Given a number that passes three parts a second, to a network that takes two seconds
    sender = make.profile(count=1, parts_per_second=3.0, mean_time=2.0, failure_rate=0, shape=1e6)
    seen = course(make.simulation(num_messages=300, senders=(sender,)))
    # Then 300 messages of one part take 100 seconds, but for the first three; and the last one two
    assert seen.seconds == pytest.approx(99 + 2, abs=0.3)
    assert seen.snapshot.counts.mean_send == pytest.approx(1 / 3)


def test_a_slow_network_does_not_hold_a_fast_number_up() -> None:
    # Given 2,000 messages on their way at any time
    sender = make.profile(count=1, parts_per_second=100.0, mean_time=20.0, failure_rate=0)
    seen = course(make.simulation(num_messages=10_000, senders=(sender,)))
    # Then they take 100 s, and the last of them to arrive
    assert seen.seconds == pytest.approx(100 + 20, rel=0.15)


def test_long_texts_take_longer_in_the_same_share_as_in_a_real_run() -> None:
    # Given texts of up to ten parts
    sender = make.profile(count=1, parts_per_second=100.0, mean_time=0.0, failure_rate=0)
    simulation = make.simulation(num_messages=3_000, senders=(sender,), max_text_length=1_530)
    parts = count_parts(make_columns(7, 0, 3_000, 1_530, "e164").text).sum()
    assert parts > 10_000
    # Then a run takes as long as its parts do
    assert course(simulation).seconds == pytest.approx(parts / 100, rel=0.05)


def test_a_hundred_thousand_texts_at_three_a_second_take_nine_hours() -> None:
    sender = make.profile(count=1, parts_per_second=3.0, mean_time=2.0, failure_rate=0)
    simulation = make.simulation(num_messages=100_000, senders=(sender,))
    runs = play(thin(exact_setting(simulation, None), ROUGH), simulation, 1, 1)
    assert runs.middle.seconds / 3_600 == pytest.approx(9.26, rel=0.01)
    (part,) = runs.progress(runs.middle).profiles
    assert part.efficiency == pytest.approx(1, abs=0.02)
    assert part.capacity == pytest.approx(3)


def test_a_thinned_bad_day_is_the_same_bad_day() -> None:
    # Given a wide run that is struck in many ways
    senders = (
        make.profile("a", count=2_000, mean_time=1.0, failure_rate=0.1),
        make.profile("b", count=1_000, mean_time=1.0, parts_per_second=1.5, failure_rate=0.1),
    )
    events = (
        event(profile="a", outage=True),
        event(profile="b", outage=True, share=0.5, at=25),
        event(slowdown=3, failure_rate=0.5, at=30, **{"for": 5}),
    )
    simulation = make.simulation(num_messages=150_000, senders=senders, events=events)
    whole = exact_setting(simulation, None)
    thinned = thin(whole, Budget(messages=20_000, batches=400))
    assert thinned.factor > 5
    assert not thinned.left_out
    exact, rough = (play(one, simulation, 1, 2) for one in (whole, thinned))
    # At half of it the rate is all but zero
    for share in (0.9, 0.99):
        one, other = exact.reached(share), rough.reached(share)
        assert one is not None
        assert other is not None
        assert other.middle == pytest.approx(one.middle, rel=0.03)


def test_what_goes_wrong_holds_a_run_up() -> None:
    simulation = steady(num_messages=1_500, events=(event(outage=True, at=2, **{"for": 5}),))
    ends = {limit.without: limit.end for limit in limits_of(simulation, None)}
    assert ends["if nothing went wrong"] == pytest.approx(15, abs=0.5)


def test_a_forecast_is_the_same_each_time() -> None:
    simulation = steady(events=(event(failure_rate=0.5, slowdown=2),))
    once, again = (course(simulation).marks for _ in range(2))
    assert np.array_equal(np.array(once, dtype=object), np.array(again, dtype=object))


def test_a_cap_that_a_run_passes_is_named() -> None:
    # Given a number that may send 2,000 messages a day, in a run of two days
    sender = make.profile(daily_cap=2_000, parts_per_second=0.05, failure_rate=0, count=2)
    simulation = make.simulation(num_messages=17_280, senders=(sender,))
    outlook = look_ahead(simulation)
    assert outlook.end.middle == pytest.approx(2 * 86_400, rel=0.02)
    (passed,) = outlook.caps
    assert (passed.profile, passed.allowed) == ("fast", 4_000)
    assert passed.messages == pytest.approx(8_640, rel=0.02)
    # Then people are told
    (line,) = cap_lines(outlook.caps)
    assert line.startswith("Warning: fast would send about 8,6")
    assert "its daily_cap allows 4,000" in line
    # … and more workers may send more
    assert passed_caps(simulation, 3, outlook.progress) == ()


def test_a_plan_names_the_caps_that_its_fleet_passes() -> None:
    sender = make.profile(daily_cap=100, count=1, failure_rate=0)
    found = make_plan(make.simulation(num_messages=1_000, senders=(sender,)), Goal(0.9, 50.0))
    assert found.chosen is not None
    assert [one.messages for one in found.chosen.caps] == [1_000]
    assert any("daily_cap" in line for line in plan_lines(found))
