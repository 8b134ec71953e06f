"""What the ledger holds, as values, and what follows from them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sms_pipeline.core.records import SEEN_AGAIN_SECONDS, Run, Settlement
from sms_pipeline.core.run_list import RunTotals
from tests.unit import make
from tests.unit.make import NOON


def test_cancellation_settles_all_messages_as_cancelled_and_nothing_else() -> None:
    found = Settlement.cancellation((1, 2, 3), "slow", "w2", 7, NOON, b"\x80")
    assert (found.key, found.profile, found.worker) == ((1, 2, 3), "slow", "w2")
    assert (found.messages, found.cancelled) == (7, 7)
    assert (found.delivered, found.failed, found.retried, found.expired) == (0, 0, 0, 0)
    assert (found.send_seconds, found.delivery_seconds, found.transit_seconds) == (0, 0, 0)
    assert (found.delivery_times, found.longest_delivery) == ({}, 0)
    assert (found.settled_at, found.taken, found.remainder) == (NOON, b"\x80", None)
    assert not [*found.failed_indexes, *found.expired_indexes]


def test_cancellation_is_of_the_whole_batch_unless_said_otherwise() -> None:
    assert Settlement.cancellation((1, 0, 0), "fast", "w1", 10, NOON).taken is None


@pytest.mark.parametrize(
    ("senders", "mean_time", "capacity"), [(5, 0.1, 50), (1, 4.0, 0.25), (5, 0.0, math.inf)]
)
def test_capacity_is_what_all_senders_can_attempt_in_a_second(
    senders: int, mean_time: float, capacity: float
) -> None:
    assert make.worker(senders=senders, mean_time=mean_time).capacity == capacity


def test_capacity_of_capped_senders_is_that_of_the_times_they_take() -> None:
    # Given senders of which most would take longer than they may
    worker = make.worker(senders=5, mean_time=1.0, shape=16.0, max_time=0.5)
    # Then an attempt takes 0.5 s of them, or a little less
    assert 10 < worker.capacity < 10.1
    mean = np.minimum(np.random.default_rng(1).gamma(16.0, 1 / 16.0, 200_000), 0.5).mean()
    assert worker.capacity == pytest.approx(5 / mean, rel=0.001)
    profile = make.profile(count=5, mean_time=1.0, shape=16.0, max_time=0.5)
    assert profile.capacity == worker.capacity


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        # There all the time, and seen since
        ({"joined_at": NOON - 9, "seen_at": NOON + 40}, 10),
        # Came later, left earlier
        ({"joined_at": NOON + 2}, 8),
        ({"left_at": NOON + 7}, 7),
        ({"joined_at": NOON + 2, "left_at": NOON + 7}, 5),
        # Came after the end, left before the start
        ({"joined_at": NOON + 11}, 0),
        ({"left_at": NOON - 1, "joined_at": NOON - 9}, 0),
        # Not seen any more: it died soon after it was seen last
        ({"seen_at": NOON + 3}, 3 + SEEN_AGAIN_SECONDS),
        ({"seen_at": NOON - 50, "joined_at": NOON - 99}, 0),
    ],
    ids=str,
)
def test_senders_could_work_while_they_were_there(values: dict[str, float], seconds: float) -> None:
    worker = make.worker(senders=5, **{"seen_at": NOON + 10, **values})
    assert worker.sender_seconds(NOON, NOON + 10) == 5 * seconds


@pytest.mark.parametrize(("delivered", "done"), [(94, False), (95, True), (96, True)])
def test_run_is_done_when_every_message_is_in_a_terminal_state(delivered: int, done: bool) -> None:
    # Given 100 messages, five of which came to another end
    ended = [
        make.counts("fast", delivered=delivered, failed=1, expired=1),
        make.counts("slow", cancelled=3),
    ]
    snapshot = make.snapshot(*ended, total=100)
    assert snapshot.done is done
    run = Run(id=1, started_at=NOON, seed=7, total=100, simulation=make.simulation())
    assert RunTotals(run, snapshot.counts).done is done
