"""What the ledger holds, as values, and what follows from them."""

from __future__ import annotations

import math

import pytest

from sms_pipeline.core.records import Run, RunTotals, Settlement
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
