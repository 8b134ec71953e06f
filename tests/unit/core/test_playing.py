"""What an attempt comes to, from the gateway's word and the times that the bank found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.events import Event, spells_of
from sms_pipeline.core.gateway import Outcomes, SimulatedGateway
from sms_pipeline.core.playing import came_to, if_started, terms_of
from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.core.settling import expire
from sms_pipeline.core.submission import PLAIN, Finished
from tests.unit import make
from tests.unit.make import NOON

#: The bank's clock shows 0 then.
EPOCH = NOON - 100
FOREVER = 1e9


def event(**values: Any) -> Event:
    return Event.model_validate({"at": 1, "for": 2, **values})


def outcomes(*durations: float, busy: list[float] | None = None) -> Outcomes:
    return Outcomes(
        np.array(durations),
        np.ones(len(durations), np.bool_),
        busy=None if busy is None else np.array(busy),
    )


def test_without_events_and_limits_an_attempt_is_what_the_gateway_says() -> None:
    batch, profile = make.batch(2), make.profile()
    said = outcomes(1.0, 2.0)
    terms = terms_of(batch, profile, said, EPOCH)
    assert terms is PLAIN
    finished = Finished(1, np.array([101.0, 103.0]))
    came, ended_at = came_to(batch, said, terms, finished, EPOCH, math.inf)
    assert came is said
    assert ended_at.tolist() == [NOON + 1, NOON + 3]


@pytest.mark.parametrize("size", [1, 7, 1_000])
@pytest.mark.parametrize("values", [{}, {"max_time": 0.11}, {"mean_time": 0.0}])
def test_without_them_durations_and_outcomes_are_drawn_as_ever(
    size: int, values: dict[str, Any]
) -> None:
    # Given the draws as they were before there were events and limits
    batch, profile = make.batch(size, number=3, attempt=1), make.profile(**values)
    key = np.array([batch.seed, 1], np.uint64)
    counter = np.array([0, 1, 3, 1], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
    durations = np.zeros(size)
    if profile.mean_time:
        durations = generator.gamma(profile.shape, profile.mean_time / profile.shape, size)
    durations = np.minimum(durations, profile.max_time or math.inf)
    delivered = generator.random(size) >= profile.failure_rate
    # Then they are the same, to the last bit
    said = SimulatedGateway(profile).attempt(batch)
    assert np.array_equal(said.durations, durations)
    assert np.array_equal(said.delivered, delivered)
    assert said.busy is None


def test_events_become_times_of_the_banks_clock() -> None:
    events = (event(outage=True, share=0.5), event(at=5, slowdown=2.0))
    batch = make.batch(2, events=spells_of(events, NOON))
    terms = terms_of(batch, make.profile(), outcomes(1.0, 1.0), EPOCH)
    assert terms.outages == ((101.0, 103.0, 0.5),)
    assert terms.slowdown is not None
    assert terms.slowdown(np.array([104.0, 105.0])).tolist() == [1.0, 2.0]
    assert terms.timed


def test_what_fails_depends_on_when_it_starts() -> None:
    batch = make.batch(2, events=spells_of((event(failure_rate=1.0),), NOON))
    said = outcomes(1.0, 1.0)
    terms = terms_of(batch, make.profile(), said, EPOCH)
    finished = Finished(1, np.array([101.5, 102.5]), np.array([100.5, 101.5]))
    came, _ = came_to(batch, said, terms, finished, EPOCH, math.inf)
    assert came.delivered.tolist() == [True, False]


def test_the_same_attempt_fails_in_the_same_way_again() -> None:
    batch = make.batch(1_000, events=spells_of((event(failure_rate=0.5),), NOON))
    starts = np.full(1_000, NOON + 2)
    said = SimulatedGateway(make.profile()).attempt(batch)
    once, again = (if_started(batch, batch.events, said, starts) for _ in range(2))
    assert np.array_equal(once, again)
    other = if_started(batch.model_copy(update={"attempt": 1}), batch.events, said, starts)
    assert not np.array_equal(once, other)


def test_a_slow_message_keeps_its_sender_busy_for_longer() -> None:
    batch = make.batch(2, events=spells_of((event(slowdown=3.0),), NOON))
    said = outcomes(1.0, 1.0)
    terms = terms_of(batch, make.profile(), said, EPOCH)
    finished = Finished(1, np.array([101.5, 104.5]), np.array([100.5, 101.5]))
    came, _ = came_to(batch, said, terms, finished, EPOCH, math.inf)
    assert came.durations.tolist() == [1.0, 3.0]


def test_a_sender_with_a_limit_is_busy_with_parts_not_with_the_network() -> None:
    # Given a sender that passes three parts a second, to a slow network
    batch = make.batch(30)
    profile = make.profile(parts_per_second=3.0, mean_time=9.0)
    said = SimulatedGateway(profile).attempt(batch)
    assert said.busy is not None
    assert said.busy.tolist() == pytest.approx([1 / 3] * 30)
    # When a bank plays the attempt
    terms = terms_of(batch, profile, said, EPOCH)
    bank = SenderBank(profile.lanes)
    bank.submit(1, 100.0, said.durations, terms=terms)
    (finished,) = bank.step(FOREVER)
    came, ended_at = came_to(batch, said, terms, finished, EPOCH, math.inf)
    # Then the sender was busy for ten seconds, and the last message took nine more
    assert came.durations.sum() == pytest.approx(10)
    assert 9 < ended_at.max() - NOON < 9 + 9 * 2.5


def test_a_message_of_several_parts_keeps_its_sender_busy_for_as_many() -> None:
    batch = make.batch(3).model_copy(update={"text": f"short\n{'x' * 161}\n{'ы' * 135}"})
    said = SimulatedGateway(make.profile(parts_per_second=2.0)).attempt(batch)
    assert said.busy is not None
    assert said.busy.tolist() == [0.5, 1.0, 1.5]


def given_up(validity: float, deadline: float) -> tuple[Outcomes, list[float]]:
    """Two messages, the second of which no sender takes."""
    batch, profile = make.batch(2), make.profile(validity=validity)
    said = outcomes(50.0, 50.0)
    terms = terms_of(batch, profile, said, EPOCH)
    bank = SenderBank(1)
    bank.submit(1, 100.0, said.durations, 100.0 + deadline, terms)
    (finished,) = bank.step(FOREVER)
    came, ended_at = came_to(batch, said, terms, finished, EPOCH, 100.0 + deadline)
    return expire(came, ended_at, NOON + deadline), ended_at.tolist()


def test_what_the_carrier_gives_up_has_failed_then() -> None:
    came, ended_at = given_up(validity=10.0, deadline=500.0)
    assert came.expired is None
    assert came.delivered.tolist() == [True, False]
    assert came.durations.tolist() == [50.0, 0.0]
    assert ended_at == [NOON + 50, NOON + 10]


def test_what_is_past_the_deadline_first_has_expired() -> None:
    came, _ = given_up(validity=10.0, deadline=5.0)
    assert came.expired is not None
    assert came.expired.tolist() == [True, True]
    assert not came.delivered.any()
