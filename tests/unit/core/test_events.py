"""A bad day: which events can be said, and what they do to messages by when they start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sms_pipeline.core.events import (
    MAX_EVENTS,
    Event,
    longest_outage,
    slowdown_of,
    spells_for,
    spells_of,
    with_failures,
    worst_slowdown,
)
from sms_pipeline.core.simulation import Simulation, parse_simulation
from tests.unit import make


def event(**values: Any) -> Event:
    values.setdefault("at", 60)
    values.setdefault("for", 30)
    return Event.model_validate({key: value for key, value in values.items() if value is not None})


OUTAGE = event(profile="fast", outage=True)
BAD = event(at=120, failure_rate=0.6, slowdown=3.0)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "must say what goes wrong"),
        ({"outage": False}, "must say what goes wrong"),
        ({"outage": True, "for": 1_201}, "at most 1200 s long"),
        ({"slowdown": 2.0, "share": 0.5}, "share is for an outage"),
        ({"slowdown": 0.5}, "greater than or equal to 1"),
        ({"failure_rate": 1.1}, "less than or equal to 1"),
        ({"outage": True, "share": 0.0}, "greater than 0"),
        ({"outage": True, "at": -1}, "greater than or equal to 0"),
        ({"outage": True, "for": 0}, "greater than 0"),
        ({"outage": 1}, "valid boolean"),
        ({"outage": True, "seconds": 3}, "Extra inputs are not permitted"),
    ],
)
def test_an_event_that_says_nothing_clear_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        event(**values)


def test_an_event_must_hit_a_profile_that_there_is() -> None:
    with pytest.raises(
        ValidationError,
        match=r"events\[1\].profile: no profile is called 'x'; there are fast, slow",
    ):
        make.simulation(events=(OUTAGE, event(profile="x", outage=True)))


def test_a_run_has_a_bounded_number_of_events() -> None:
    make.simulation(events=(OUTAGE,) * MAX_EVENTS)
    with pytest.raises(ValidationError, match=f"must be at most {MAX_EVENTS} events"):
        make.simulation(events=(OUTAGE,) * (MAX_EVENTS + 1))


def test_a_configuration_with_events_is_read_back_as_it_was_written() -> None:
    whole = make.simulation(events=(OUTAGE, BAD))
    assert parse_simulation(whole.model_dump_json()) == whole
    assert Simulation.model_validate(whole.model_dump()) == whole
    assert whole.model_dump()["events"][0]["for"] == 30


def test_a_configuration_of_before_has_no_events() -> None:
    written = make.simulation().model_dump(mode="json")
    del written["events"]
    assert Simulation.model_validate(written, strict=False).events == ()


def test_a_batch_carries_events_as_moments_and_each_profile_picks_its_own() -> None:
    spells = spells_of((OUTAGE, BAD), 1_000.0)
    assert [(one.start, one.end) for one in spells_for("fast", spells)] == [
        (1_060.0, 1_090.0),
        (1_120.0, 1_150.0),
    ]
    (only,) = spells_for("slow", spells)
    assert (only.out, only.slowdown, only.failure_rate) == (0.0, 3.0, 0.6)


def test_a_batch_with_events_survives_the_wire() -> None:
    batch = make.batch(3, events=spells_of((OUTAGE, BAD), 1_000.0))
    assert type(batch).from_wire(batch.to_wire()) == batch
    assert batch.remainder(np.array([1])).events == batch.events


def test_a_slowdown_is_of_what_starts_in_it() -> None:
    found = slowdown_of(spells_of((OUTAGE, BAD), 1_000.0), epoch=1_000.0)
    assert found is not None
    assert found(np.array([0.0, 119.9, 120.0, 149.9, 150.0, np.nan])).tolist() == [1, 1, 3, 3, 1, 1]
    assert slowdown_of(spells_of((OUTAGE,), 0.0), epoch=0.0) is None


def test_the_later_of_two_events_holds() -> None:
    events = (event(slowdown=3.0, failure_rate=1.0), event(at=70, slowdown=5.0, failure_rate=0.0))
    spells = spells_of(events, 0.0)
    starts = np.array([65.0, 75.0, 95.0])
    found = slowdown_of(spells, epoch=0.0)
    assert found is not None
    assert found(starts).tolist() == [3.0, 5.0, 5.0]
    delivered = with_failures(np.array([True, False, False]), spells, starts, np.zeros)
    assert delivered.tolist() == [False, True, True]


def test_attempts_that_start_in_an_event_fail_at_its_rate() -> None:
    draws = np.random.default_rng(1).random
    starts = np.repeat([100.0, 130.0], 100_000)
    spells = spells_of((BAD,), 0.0)
    delivered = with_failures(np.ones(200_000, bool), spells, starts, draws)
    assert delivered[:100_000].all()
    assert delivered[100_000:].mean() == pytest.approx(0.4, abs=0.01)


def test_outages_and_slowdowns_say_how_patient_one_must_be() -> None:
    assert longest_outage((OUTAGE, event(outage=True, **{"for": 90}), BAD)) == 90
    assert longest_outage((BAD,)) == 0
    # One after the other, in any order; the last one by itself.
    later = [event(outage=True, at=at, **{"for": 40}) for at in (100, 90, 200)]
    assert longest_outage((*later, OUTAGE)) == 140 - 60
    assert worst_slowdown((OUTAGE, BAD), "fast") == 3
    assert worst_slowdown((event(profile="slow", slowdown=9.0),), "fast") == 1
