"""Delivery receipts: how they are drawn, and what they add up to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sms_pipeline.core.events import Event, spells_of
from sms_pipeline.core.gateway import Outcomes, SimulatedGateway
from sms_pipeline.core.playing import came_to, terms_of
from sms_pipeline.core.profiles import MAX_BATCH_SIZE
from sms_pipeline.core.receipts import NO_RECEIPTS, OnPhone, Receipts, total_on_phone
from sms_pipeline.core.settling import expire, settlement_of
from sms_pipeline.core.submission import Finished
from tests.unit import make
from tests.unit.make import NOON

FOREVER = 1e9


def delays(**values: Any) -> np.ndarray:
    """100,000 draws, over many batches of one run."""
    gateway = SimulatedGateway(make.profile(receipts=values))
    whole = make.batch(MAX_BATCH_SIZE)
    drawn = [gateway.attempt(whole.model_copy(update={"number": n})).receipts for n in range(5)]
    return np.concatenate([one for one in drawn if one is not None])


# Drawing


@pytest.mark.parametrize("shape", [1.0, 4.0])
def test_delays_have_the_mean_and_the_spread_that_are_set(shape: float) -> None:
    found = delays(mean_time=4, shape=shape)
    assert len(found) == 100_000
    assert found.mean() == pytest.approx(4, rel=0.02)
    assert found.std() / found.mean() == pytest.approx(shape**-0.5, rel=0.02)


def test_delays_are_exponential_unless_a_shape_is_set() -> None:
    assert np.array_equal(delays(mean_time=4), delays(mean_time=4, shape=1))


def test_max_time_caps_delays_and_changes_no_others() -> None:
    free, capped = delays(mean_time=4), delays(mean_time=4, max_time=6)
    assert np.array_equal(capped, np.minimum(free, 6))


def test_the_share_that_is_missing_is_the_one_that_is_set_and_changes_no_others() -> None:
    found, whole = delays(mean_time=4, missing=0.1), delays(mean_time=4)
    gone = np.isnan(found)
    assert gone.mean() == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / 1e5) ** 0.5)
    assert np.array_equal(found[~gone], whole[~gone])
    # Whether it comes has nothing to do with how long it would take
    assert whole[gone].mean() == pytest.approx(4, rel=0.06)


@pytest.mark.parametrize(("missing", "gone"), [(0.0, 0), (1.0, 100_000)])
def test_certain_receipts_are_certain(missing: float, gone: int) -> None:
    assert np.isnan(delays(mean_time=4, missing=missing)).sum() == gone


def test_receipts_that_take_no_time_are_there_at_once() -> None:
    assert not delays(mean_time=0).any()


@pytest.mark.parametrize(
    "values",
    [{}, {"max_time": 0.11}, {"mean_time": 0.0}, {"times": (0.1, 0.2)}, {"parts_per_second": 3.0}],
)
def test_receipts_change_no_draw_of_anything_else(values: dict[str, Any]) -> None:
    batch = make.batch(1_000)
    plain = SimulatedGateway(make.profile(**values)).attempt(batch)
    known = SimulatedGateway(make.profile(receipts={"mean_time": 4}, **values)).attempt(batch)
    assert plain.receipts is None
    assert known.receipts is not None
    assert np.array_equal(plain.durations, known.durations)
    assert np.array_equal(plain.delivered, known.delivered)
    assert plain.busy is None or np.array_equal(plain.busy, known.busy)


def test_each_attempt_has_delays_of_its_own_and_the_same_ones_again() -> None:
    gateway, batch = SimulatedGateway(make.profile(receipts={"mean_time": 4})), make.batch(100)
    first, again = (gateway.attempt(batch).receipts for _ in range(2))
    other = gateway.attempt(batch.model_copy(update={"attempt": 1})).receipts
    assert np.array_equal(first, again)
    assert not np.intersect1d(first, other).size


def test_a_receipt_is_of_its_message_whatever_becomes_of_the_others() -> None:
    # Given an attempt during which an event lets most messages fail
    event = Event.model_validate({"at": 0, "for": 60, "failure_rate": 0.9})
    profile = make.profile(failure_rate=0, receipts={"mean_time": 4})
    batch = make.batch(100, events=spells_of((event,), NOON))
    said = SimulatedGateway(profile).attempt(batch)
    terms = terms_of(batch, profile, said, NOON)
    finished = Finished(1, said.durations, np.zeros(100))
    # When it was played
    outcomes, _ = came_to(batch, said, terms, finished, NOON, FOREVER)
    # Then those that are left have the receipts that they were to have
    assert 0 < outcomes.delivered.sum() < 40
    assert outcomes.receipts is said.receipts


# Settling


def outcomes(delivered: list[bool], receipts: list[float] | None) -> Outcomes:
    return Outcomes(
        np.full(len(delivered), 0.5),
        np.array(delivered),
        receipts=None if receipts is None else np.array(receipts),
    )


def test_a_message_is_on_the_phone_so_long_after_its_delivery() -> None:
    # Given three messages that were delivered, one of them without a receipt, and one that was not
    batch = make.batch(4, queued_at=NOON + 0.5)
    said = outcomes([True, True, False, True], [4.0, math.nan, 9.0, 6.0])
    # When the attempt is settled
    found = settlement_of(batch, said, NOON + np.array([1.0, 2.0, 3.0, 5.0]), "w1", NOON + 9)
    # Then times are those from the start of the run
    on_phone = found.on_phone
    assert on_phone is not None
    assert (on_phone.receipts, on_phone.missing, on_phone.delivered) == (2, 1, 3)
    assert on_phone.seconds == pytest.approx(5 + 11)
    assert on_phone.mean == pytest.approx(8)
    assert on_phone.longest == pytest.approx(11)
    assert sum(on_phone.times.values()) == 2
    assert on_phone.percentile(0.5) == pytest.approx(5, rel=0.1)
    assert on_phone.percentile(1) == pytest.approx(11)


def test_without_receipts_a_settlement_has_none() -> None:
    said = outcomes([True, False], None)
    assert settlement_of(make.batch(2), said, NOON + np.ones(2), "w1", NOON).on_phone is None


def test_nothing_delivered_is_nothing_on_the_phone() -> None:
    said = outcomes([False, False], [1.0, 2.0])
    found = settlement_of(make.batch(2), said, NOON + np.ones(2), "w1", NOON)
    assert found.on_phone == OnPhone()
    assert OnPhone().mean is None
    assert OnPhone().percentile(0.5) is None


def test_a_deadline_is_for_the_delivery_not_for_the_receipt() -> None:
    # Given two messages with a deadline of 3 s: one is delivered in time, and on the phone late
    batch = make.batch(2, deadline=3)
    ended_at = NOON + np.array([2.0, 4.0])
    said = expire(outcomes([True, True], [60.0, 1.0]), ended_at, NOON + 3)
    found = settlement_of(batch, said, ended_at, "w1", NOON + 5)
    assert (found.delivered, found.expired) == (1, 1)
    assert found.on_phone is not None
    assert (found.on_phone.receipts, found.on_phone.longest) == (1, pytest.approx(62))


# Sums


def test_sums_add_up() -> None:
    one = OnPhone.of(np.array([1.0, 2.0, math.nan]))
    two = OnPhone.of(np.array([2.0, 8.0]))
    both = OnPhone.of(np.array([1.0, 2.0, math.nan, 2.0, 8.0]))
    assert total_on_phone([one, NO_RECEIPTS, two]) == both
    assert total_on_phone([]) == NO_RECEIPTS


def test_as_many_times_the_messages_have_the_same_times() -> None:
    one = OnPhone.of(np.array([1.0, 2.0, math.nan]))
    more = one.times_as_many(10)
    assert (more.receipts, more.missing, more.longest) == (20, 10, 2.0)
    assert more.times == dict.fromkeys(one.times, 10)
    assert more.mean == pytest.approx(one.mean)
    assert more.percentile(0.4) == pytest.approx(one.percentile(0.4))


# What a profile may say


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"mean_time": -1},
        {"mean_time": 604_801},
        {"mean_time": 4, "shape": 0},
        {"mean_time": 4, "max_time": 0},
        {"mean_time": 4, "missing": 1.1},
        {"mean_time": 4, "missing": -0.1},
        {"mean_time": 4, "mising": 0.1},
    ],
)
def test_what_receipts_can_not_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Receipts.model_validate(values)
