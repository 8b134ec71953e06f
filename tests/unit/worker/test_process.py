"""What a worker process is made of, put together, without Celery."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.records import Control, Run
from sms_pipeline.core.steps import drive
from sms_pipeline.errors import BadBatchError, ForeignLedgerError, StoppingError
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import writer as writer_module
from sms_pipeline.worker.delivery import Effect, Play, Publish
from sms_pipeline.worker.process import Worker
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.make import NOON, bitmap

PATIENCE_SECONDS = 30


class Scripted:
    """A gateway that needs no time and lets the first messages of each attempt fail."""

    failures = 2

    def __init__(self, _profile: object) -> None:
        self.batches: list[Batch] = []

    def attempt(self, batch: Batch) -> Outcomes:
        delivered = np.arange(batch.count) >= self.failures
        return Outcomes(np.zeros(batch.count), delivered)


@pytest.fixture
def worker(ledger: Ledger) -> Iterator[Worker]:
    """A started worker of profile `fast`."""
    made = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted)
    made.start()
    yield made
    made.stop()


def dispatched(ledger: Ledger, run: Run, size: int = 10) -> Batch:
    return make.batch(size, ledger=ledger.id, run=run.id, queued_at=time.time())


def deliver(worker: Worker, batch: Batch) -> list[Batch]:
    """Let the worker do what it does with a batch; return what it hands on."""
    handed_on: list[Batch] = []

    def perform(effect: Effect) -> Any:
        if isinstance(effect, Publish):
            return handed_on.append(effect.batch)
        return worker.perform(effect)

    drive(worker.deliver(batch, queued=True), perform)
    return handed_on


def test_batch_is_played_and_settled_to_its_end(worker: Worker, ledger: Ledger, run: Run) -> None:
    # Given a batch of ten, of which two fail in each attempt
    batch = worker.accept(dispatched(ledger, run).to_wire())
    remainders = []
    # When it is delivered, and its remainders until none is left
    while handed_on := deliver(worker, batch):
        (batch,) = handed_on
        remainders.append(batch.positions().tolist())
    # Then eight are delivered and two are out of attempts, listed by index
    assert remainders == [[0, 1]] * 3
    fast, _ = ledger.snapshot(run).profiles
    assert (fast.delivered, fast.failed, fast.retried, fast.attempts) == (8, 2, 6, 16)
    assert [(one.message_index, one.attempts) for one in ledger.failures(run.id)] == [
        (0, 4),
        (1, 4),
    ]


def test_attempt_settled_before_is_answered_from_the_ledger(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    batch = dispatched(ledger, run)
    first, again = deliver(worker, batch), deliver(worker, batch)
    assert first == again
    assert ledger.snapshot(run).counts.attempts == 10


def test_attempt_that_another_worker_settled_meanwhile_counts_as_the_other_had_it(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    batch = dispatched(ledger, run)
    stored = make.settlement(run.id, worker="w2", delivered=9, retried=1, remainder=bitmap(7))

    def perform(effect: Effect) -> Any:
        if isinstance(effect, Play):
            ledger.settle([stored])
        return (
            handed_on.append(effect.batch)
            if isinstance(effect, Publish)
            else worker.perform(effect)
        )

    handed_on: list[Batch] = []
    drive(worker.deliver(batch, queued=True), perform)
    assert [one.positions().tolist() for one in handed_on] == [[7]]
    assert ledger.snapshot(run).counts.delivered == 9


def test_hook_hears_of_new_settlements_only(ledger: Ledger, run: Run) -> None:
    heard: list[Batch] = []
    profile = make.profile("fast", mean_time=0)
    worker = Worker(ledger, [profile], Scripted, lambda batch, _: heard.append(batch))
    worker.start()
    batch = dispatched(ledger, run)
    for _ in range(2):
        deliver(worker, batch)
    worker.stop()
    assert heard == [batch]


def test_message_whose_deadline_has_passed_is_not_sent(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    old = dispatched(ledger, run).model_copy(update={"queued_at": NOON, "deadline": 60.0})
    assert deliver(worker, old) == []
    fast, _ = ledger.snapshot(run).profiles
    assert (fast.delivered, fast.expired, fast.retried, fast.send_seconds) == (0, 10, 0, 0)


def test_batch_of_a_cancelled_run_is_settled_without_sending(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    ledger.control(run.id, Control.CANCELLED)
    batch = dispatched(ledger, run)
    assert deliver(worker, batch) == []
    fast, _ = ledger.snapshot(run).profiles
    assert (fast.delivered, fast.cancelled, fast.finished) == (0, 10, 10)


def test_batch_of_another_ledger_is_not_judged(worker: Worker, ledger: Ledger, run: Run) -> None:
    body = {**dispatched(ledger, run).to_wire(), "ledger": "another"}
    with pytest.raises(ForeignLedgerError, match="SMS_DATABASE_URL"):
        worker.accept(body)


def test_batch_of_another_profile_is_refused(worker: Worker, ledger: Ledger, run: Run) -> None:
    body = {**dispatched(ledger, run).to_wire(), "profile": "slow"}
    with pytest.raises(BadBatchError, match="'slow'"):
        worker.accept(body)


def test_batch_of_an_unknown_run_is_refused(worker: Worker, ledger: Ledger, run: Run) -> None:
    batch = dispatched(ledger, run).model_copy(update={"run": 99})
    with pytest.raises(BadBatchError, match="no run 99"):
        deliver(worker, batch)


def test_worker_signs_on_and_off(ledger: Ledger) -> None:
    worker = Worker(ledger, [make.profile("fast", count=3), make.profile("slow")])
    worker.start()
    assert [(row.id, row.profile, row.senders) for row in ledger.workers()] == [
        (worker.id, "fast", 3),
        (worker.id, "slow", 1),
    ]
    worker.stop()
    assert ledger.workers() == ()
    with pytest.raises(StoppingError):
        worker.perform(Play(make.batch(), math.inf))


def test_heartbeat_moves_while_the_driver_lives(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "HEARTBEAT_SECONDS", 0.01)
    worker = Worker(ledger, [make.profile()])
    worker.start()
    first = wait_until(lambda: ledger.workers()[0].heartbeat, PATIENCE_SECONDS, "it is written")
    wait_until(lambda: ledger.workers()[0].heartbeat > first, PATIENCE_SECONDS, "it grows")
    worker.stop()


def test_worker_ids_differ_in_one_process(ledger: Ledger) -> None:
    assert Worker(ledger, []).id != Worker(ledger, []).id
