"""Worker processes: who is there, and who shows a heartbeat."""

from __future__ import annotations

import pytest

from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.records import Run, WorkerRow
from sms_pipeline.ledger.following import OnlineWorker, online_workers
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.testing.ledger import memory_ledger
from tests.unit import make
from tests.unit.make import NOON

# In the ledger


def test_workers_join_beat_and_leave(ledger: Ledger) -> None:
    ledger.join("w1", [make.profile("fast", count=3), make.profile("slow")])
    ledger.join("w2", [make.profile("fast")])
    ledger.beat("w1", 5)
    assert [(one.id, one.profile, one.senders, one.heartbeat) for one in ledger.workers()] == [
        ("w1", "fast", 3, 5),
        ("w1", "slow", 1, 5),
        ("w2", "fast", 1, 0),
    ]
    ledger.leave("w1")
    assert [one.id for one in ledger.workers()] == ["w2"]
    assert [one.left_at is None for one in ledger.all_workers()] == [False, False, True]


def test_worker_is_read_back_as_it_joined() -> None:
    clock = ManualClock(wall=NOON)
    ledger = memory_ledger(clock)
    values = {"mean_time": 0.25, "failure_rate": 0.5, "shape": 4.0, "max_time": 2.0}
    ledger.join("w1", [make.profile("fast", count=3, **values)])
    assert [(one.seen_at, one.left_at) for one in ledger.workers()] == [(NOON, None)]
    clock.advance(40)
    ledger.beat("w1", 7)
    clock.advance(20)
    ledger.leave("w1")
    assert ledger.workers() == ()
    assert ledger.all_workers() == [
        WorkerRow(
            id="w1", profile="fast", senders=3, mean_time=0.25, failure_rate=0.5, heartbeat=7,
            joined_at=NOON, left_at=NOON + 60, shape=4.0, max_time=2.0, seen_at=NOON + 40,
        )
    ]  # fmt: skip


def test_workers_come_in_the_order_in_which_they_joined() -> None:
    clock = ManualClock()
    ledger = memory_ledger(clock)
    order = ["w2", "w3", "w1"]
    for worker in order:
        ledger.join(worker, [make.profile()])
        clock.advance(1)
    assert [one.id for one in ledger.workers()] == order
    assert [one.id for one in ledger.all_workers()] == order


def test_workers_of_a_run_are_those_that_were_there_while_it_was_on() -> None:
    # Given workers that joined together, of which one left before the run was started, one just
    # when it was, and one while it was on
    clock = ManualClock(wall=NOON)
    ledger = memory_ledger(clock)
    for worker in ("stays", "leaves", "gone", "at once"):
        ledger.join(worker, [make.profile()])
    ledger.leave("gone")
    clock.advance(5)
    ledger.leave("at once")
    run = ledger.start_run(make.simulation(num_messages=10), seed=7)
    clock.advance(5)
    ledger.leave("leaves")
    ledger.join("late", [make.profile()])
    workers = [one.id for one in ledger.snapshot(run).workers]
    assert workers == ["at once", "leaves", "stays", "late"]


def test_workers_of_a_run_that_is_done_are_those_that_settled_some_of_it(
    ledger: Ledger, run: Run
) -> None:
    # Given workers with one and two profiles, of which some settle all there is, and then leave
    for worker in ("w1", "w2", "idle", "other"):
        ledger.join(worker, [make.profile("fast"), make.profile("slow")])
    other = ledger.start_run(make.simulation(num_messages=100), seed=8)
    ledger.settle([make.settlement(other.id, worker="other")])
    ledger.settle([make.settlement(run.id, 0, worker="w1", messages=50, delivered=50)])
    before = ledger.snapshot(run).workers
    assert {one.id for one in before} == {"w1", "w2", "idle", "other"}
    last = make.settlement(run.id, 1, profile="slow", worker="w2", messages=50, delivered=50)
    ledger.settle([last])
    for worker in ("w1", "w2", "idle"):
        ledger.leave(worker)
    # Then these are its workers, with the profile that they settled it for
    found = [(one.id, one.profile) for one in ledger.snapshot(run).workers]
    assert found == [("w1", "fast"), ("w2", "slow")]


# Online


class Beating:
    """A clock during whose waits workers show heartbeats."""

    def __init__(self, ledger: Ledger, beats: dict[str, range]) -> None:
        self._ledger = ledger
        self._beats = {worker: iter(numbers) for worker, numbers in beats.items()}
        self._clock = ManualClock()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def wall(self) -> float:
        return self._clock.wall()

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)
        for worker, numbers in self._beats.items():
            if (number := next(numbers, None)) is not None:
                self._ledger.beat(worker, number)


def test_workers_are_online_whose_heartbeats_are_seen_to_change(ledger: Ledger) -> None:
    # Given workers that beat for ever, for a second, never, and one that has left
    for worker in ("w1", "w2", "w3", "w4"):
        ledger.join(worker, [make.profile()])
    ledger.leave("w4")
    clock = Beating(ledger, {"w1": range(1, 99), "w2": range(1, 5), "w4": range(1, 99)})
    # When it is asked who is online
    online = online_workers(ledger, clock)
    # Then the silent one is watched for as long as it takes to be sure
    assert clock.monotonic() == 2.5
    assert [(worker.row.id, worker.seen_seconds_ago) for worker in online] == [
        ("w1", 0),
        ("w2", 1.5),
    ]


def test_nobody_is_watched_longer_than_it_takes_to_see_all_heartbeats(ledger: Ledger) -> None:
    ledger.join("w1", [make.profile()])
    clock = Beating(ledger, {"w1": range(1, 99)})
    (online,) = online_workers(ledger, clock)
    assert clock.monotonic() == 0.25
    assert online == OnlineWorker(ledger.workers()[0], 0.0)


def test_nobody_is_watched_when_nobody_is_there(ledger: Ledger) -> None:
    clock = ManualClock()
    assert online_workers(ledger, clock) == []
    assert clock.slept == []


def test_nobody_knows_who_is_online_without_the_ledger(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> tuple[WorkerRow, ...]:
        raise LedgerUnavailableError("away")

    monkeypatch.setattr(ledger, "workers", away)
    with pytest.raises(LedgerUnavailableError, match="away"):
        online_workers(ledger, ManualClock())
