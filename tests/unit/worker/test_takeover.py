"""What a worker does with the queues of profiles that have no workers."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from sms_pipeline.broker.topology import profile_queue
from sms_pipeline.core.errors import BadBatchError, DamagedLedgerError
from sms_pipeline.core.records import Run
from sms_pipeline.core.steps import drive
from sms_pipeline.core.unattended import MAX_TAKEN_SECONDS
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker.delivery import PAUSE_SECONDS, Publish
from sms_pipeline.worker.in_hand import taken_in_hand, threads_for, threads_of
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.takeover import TakenQueues, Takeover
from tests.unit import make


class Consumer:
    """A `prefetch.QueueConsumer`: keeps what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.limits: dict[str, int] = {}

    def add_queue(self, queue: Any) -> Any:
        self.told.append(("add", queue.name))
        return queue

    def consume(self) -> None:
        self.told.append(("consume", None))

    def cancel_by_queue(self, name: str) -> None:
        self.told.append(("cancel", name))


def celery_consumer() -> Any:
    return SimpleNamespace(task_consumer=Consumer())


@pytest.fixture
def taken() -> TakenQueues:
    return TakenQueues(
        lambda profile: [profile_queue(profile, "quorum", urgent) for urgent in (False, True)]
    )


def test_both_queues_of_a_profile_are_taken_with_limits_of_their_own(taken: TakenQueues) -> None:
    consumer = celery_consumer().task_consumer
    taken.follow(SimpleNamespace(task_consumer=consumer), {"slow": 3, "other": 2})
    assert consumer.told == [
        ("add", "sms.other"), ("add", "sms.other.urgent"), ("consume", None),
        ("add", "sms.slow"), ("add", "sms.slow.urgent"), ("consume", None),
    ]  # fmt: skip
    assert consumer.limits == {
        "sms.other": 2, "sms.other.urgent": 2, "sms.slow": 3, "sms.slow.urgent": 3,
    }  # fmt: skip


def test_only_what_changes_is_said(taken: TakenQueues) -> None:
    consumer = celery_consumer()
    taken.follow(consumer, {"slow": 3})
    consumer.task_consumer.told.clear()
    taken.follow(consumer, {"slow": 3})
    assert consumer.task_consumer.told == []
    taken.follow(consumer, {})
    assert consumer.task_consumer.told == [("cancel", "sms.slow"), ("cancel", "sms.slow.urgent")]
    taken.follow(consumer, {})
    assert len(consumer.task_consumer.told) == 2


@pytest.mark.parametrize("limit", [1, 9])
def test_a_consumer_whose_limit_changes_begins_anew(taken: TakenQueues, limit: int) -> None:
    consumer = celery_consumer()
    taken.follow(consumer, {"other": 2, "slow": 3})
    consumer.task_consumer.told.clear()
    taken.follow(consumer, {"other": 2, "slow": limit})
    assert consumer.task_consumer.told == [
        ("cancel", "sms.slow"), ("cancel", "sms.slow.urgent"),
        ("add", "sms.slow"), ("add", "sms.slow.urgent"), ("consume", None),
    ]  # fmt: skip
    assert consumer.task_consumer.limits["sms.slow"] == limit


def test_no_more_is_taken_in_hand_than_senders_can_play_in_a_minute() -> None:
    profile = make.profile(count=5)
    assert taken_in_hand(profile, 10) == threads_for(profile, 10)
    assert taken_in_hand(profile, 1_000) == MAX_TAKEN_SECONDS * profile.capacity // 1_000 == 3
    assert taken_in_hand(profile, 3_000) == 1
    assert taken_in_hand(make.profile(mean_time=0), 10) > 10


# When it looks


class Looking:
    """A worker of `fast` beside a run whose messages wait for `slow`."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self.ledger = ledger
        self.clock = ManualClock()
        self.is_idle = True
        self.takeover = Takeover(ledger, make.profile("fast"), lambda: self.is_idle, self.clock)
        ledger.record_batches(run.id, [make.row(run.id, profile="slow")])

    def look(self, seconds: int) -> list[str]:
        for _ in range(seconds):
            self.clock.advance(1)
            self.takeover.look()
        return list(self.takeover.wanted)


@pytest.fixture
def looking(ledger: Ledger, run: Run) -> Looking:
    return Looking(ledger, run)


def test_an_idle_worker_takes_over_what_is_unattended_and_lets_go(
    looking: Looking, ledger: Ledger, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert looking.look(10) == []
    assert looking.look(1) == ["slow"]
    # Also when it is not idle any more: it has what it took over in hand
    looking.is_idle = False
    assert looking.look(1) == ["slow"]
    ledger.settle([make.settlement(run.id, profile="slow")])
    assert looking.look(1) == []
    assert looking.takeover.known == {"slow"}
    assert [record.getMessage() for record in caplog.records] == [
        "profile slow has messages and no worker; they are taken over",
        "the messages of profile slow are not taken over any more",
    ]


def test_a_busy_worker_asks_nothing(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    looking.is_idle = False
    monkeypatch.setattr(Ledger, "open_runs", None)
    assert looking.look(20) == []


@pytest.mark.parametrize("asked", ["open_runs", "workers"])
def test_a_damaged_row_ends_no_worker(
    looking: Looking, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    def damaged(_: Ledger) -> Any:
        raise DamagedLedgerError("row 5")

    monkeypatch.setattr(Ledger, asked, damaged)
    assert looking.look(20) == []


# What it does with a batch


@pytest.fixture
def worker(ledger: Ledger) -> Iterator[Worker]:
    """A started worker of profile `fast` that looks after `slow`, too."""
    made = Worker(ledger, [make.profile("fast", mean_time=0)])
    made.start()
    assert made.takeover
    made.takeover.known.add("slow")
    yield made
    made.stop()


def test_only_what_was_ever_taken_over_is_accepted(worker: Worker, ledger: Ledger) -> None:
    assert worker.accept(make.batch(ledger=ledger.id, profile="slow").to_wire()).profile == "slow"
    with pytest.raises(BadBatchError, match="no senders of profile 'other' here"):
        worker.accept(make.batch(ledger=ledger.id, profile="other").to_wire())


def test_a_batch_of_a_run_without_failover_goes_back_unplayed(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    ledger.record_batches(run.id, [make.row(run.id, profile="slow")])
    batch = make.batch(ledger=ledger.id, run=run.id, profile="slow", failover=None)
    asked: list[object] = []

    def perform(effect: Any) -> Any:
        asked.append(effect)
        return None if isinstance(effect, Publish) else worker.perform(effect)

    drive(worker.deliver(batch, queued=True), perform)
    assert asked[1:] == [Publish(batch, PAUSE_SECONDS)]
    assert ledger.snapshot(run).counts.attempts == 0


def test_a_worker_of_several_profiles_takes_over_nothing(ledger: Ledger) -> None:
    several = Worker(ledger, [make.profile("fast"), make.profile("slow")])
    assert several.takeover is None
    with pytest.raises(BadBatchError, match="no senders of profile 'other' here"):
        several.accept(make.batch(ledger=ledger.id, profile="other").to_wire())


def test_threads_are_known_for_a_worker_of_each_profile() -> None:
    fast, slow = make.profile("fast", count=40), make.profile("slow", count=3, mean_time=2.0)
    simulation = make.simulation(senders=(fast, slow))
    assert threads_of(simulation) == {
        "fast": threads_for(fast, simulation.batch_size_for(fast)),
        "slow": threads_for(slow, simulation.batch_size_for(slow)),
    }
