"""What a worker process is made of, put together, without Celery."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import (
    BadBatchError,
    ForeignLedgerError,
    LedgerUnavailableError,
    StoppingError,
)
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.records import Absorbed, Control, Run, Settled, Standing
from sms_pipeline.core.steps import drive
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker import writer as writer_module
from sms_pipeline.worker.delivery import Effect, Play, Publish, ReadStanding, Settle
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.writer import LEDGER_PAUSES
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.make import NOON, bitmap
from tests.unit.worker.fakes import Endless, Scripted, Stop, aside

PATIENCE_SECONDS = 30


@pytest.fixture
def worker(ledger: Ledger) -> Iterator[Worker]:
    """A started worker of profile `fast`."""
    made = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted)
    made.start()
    yield made
    made.stop()


def dispatched(ledger: Ledger, run: Run, size: int = 10) -> Batch:
    ledger.record_batches(run.id, [make.row(run.id, size=size)])
    return make.batch(size, ledger=ledger.id, run=run.id, queued_at=time.time())


def deliver(worker: Worker, batch: Batch, queued: bool = True) -> list[Batch]:
    """Let the worker do what it does with a batch; return what it hands on."""
    handed_on: list[Batch] = []

    def perform(effect: Effect) -> Any:
        if isinstance(effect, Publish):
            return handed_on.append(effect.batch)
        return worker.perform(effect)

    drive(worker.deliver(batch, queued=queued), perform)
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


def test_every_message_is_echoed_once_with_what_became_of_it(ledger: Ledger, run: Run) -> None:
    heard: list[tuple[int, bool]] = []
    batch = dispatched(ledger, run)

    def echo(echoed: Batch, outcomes: Outcomes, positions: np.ndarray) -> None:
        assert echoed is batch
        heard.extend((place, bool(outcomes.delivered[place])) for place in positions.tolist())

    worker = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted, echo)
    worker.start()
    deliver(worker, batch)
    worker.stop()
    assert heard == [(place, place >= Scripted.failures) for place in range(10)]


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


@pytest.mark.parametrize("queued", [True, False])
def test_batch_of_a_paused_run_comes_back_where_there_is_a_queue(
    worker: Worker, ledger: Ledger, run: Run, queued: bool
) -> None:
    ledger.control(run.id, Control.PAUSED)
    batch = dispatched(ledger, run)
    handed_on = deliver(worker, batch, queued=queued)
    assert (handed_on == [batch]) is queued
    assert ledger.snapshot(run).counts.attempts == (0 if queued else 10)


def test_batch_of_another_ledger_is_not_judged(worker: Worker, ledger: Ledger, run: Run) -> None:
    body = {**dispatched(ledger, run).to_wire(), "ledger": "another"}
    with pytest.raises(ForeignLedgerError) as refusal:
        worker.accept(body)
    assert str(refusal.value) == "a batch of another ledger is in this queue"
    assert not worker.at_home
    worker.accept(dispatched(ledger, run).to_wire())
    assert worker.at_home


@pytest.mark.parametrize(
    "changes", [{"number": 5}, {"size": 9}, {"first_index": 1}, {"profile": "slow"}]
)
def test_batch_that_no_producer_has_recorded_is_refused(
    ledger: Ledger, run: Run, changes: dict[str, object]
) -> None:
    worker = Worker(ledger, [make.profile("fast"), make.profile("slow")], Scripted)
    batch = dispatched(ledger, run).model_copy(update=changes)
    with pytest.raises(BadBatchError, match="no producer has recorded run 1, batch"):
        worker.perform(ReadStanding(batch))


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


def test_publishing_is_not_the_workers_part(worker: Worker) -> None:
    with pytest.raises(TypeError, match=r"performs: Publish$"):
        worker.perform(Publish(make.batch(), 1))


# Time


@pytest.fixture
def noon(ledger: Ledger) -> Iterator[Worker]:
    """A started worker whose clock stands still at noon, a while after its machine was started."""
    clock = ManualClock(wall=NOON, monotonic=5_000.0)
    made = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted, clock=clock)
    made.start()
    yield made
    made.stop()


def test_what_has_just_happened_is_no_time_ago(noon: Worker, ledger: Ledger, run: Run) -> None:
    assert (noon.ledger_silence(), noon.commit_age()) == (0, None)
    noon.perform(Settle(make.settlement(run.id)))
    assert (noon.ledger_silence(), noon.commit_age()) == (0, 0)


def test_messages_end_at_a_time_of_day(noon: Worker) -> None:
    played = noon.perform(Play(make.batch(2), math.inf))
    assert played.ended_at.tolist() == [NOON, NOON]
    assert played.outcomes.delivered.tolist() == [False, False]


@pytest.mark.parametrize(("give_up_at", "given_up"), [(NOON - 1, True), (NOON + 1, False)])
def test_messages_are_given_up_at_a_time_of_day(
    noon: Worker, give_up_at: float, given_up: bool
) -> None:
    played = noon.perform(Play(make.batch(2), give_up_at))
    assert np.isnan(played.ended_at).tolist() == [given_up] * 2


def test_wall_clock_that_is_set_does_not_move_what_is_played(ledger: Ledger) -> None:
    clock = ManualClock(wall=NOON, monotonic=5_000.0)
    worker = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted, clock=clock)
    worker.start()
    clock.step_wall(-3_600)
    played = worker.perform(Play(make.batch(1), math.inf))
    worker.stop()
    assert played.ended_at.tolist() == [NOON]


@pytest.mark.parametrize("step", [-3_600.0, 3_600.0])
def test_times_go_by_the_clock_of_the_producer_on_the_same_machine(
    noon: Worker, step: float
) -> None:
    # Given a producer that was started after the machine's clock was set
    timeline = ManualClock(wall=NOON + step, monotonic=5_000.0).timeline
    batch = make.batch(2, boot=timeline.boot, offset=timeline.offset)
    # Then its messages are given up, and end, by its clock
    assert noon.perform(Play(batch, NOON + step + 1)).ended_at.tolist() == [NOON + step] * 2
    assert np.isnan(noon.perform(Play(batch, NOON + step - 1)).ended_at).all()
    # And so they are settled
    steps = noon.deliver(batch, queued=True)
    settled: list[float] = []

    def perform(effect: Effect) -> Any:
        if isinstance(effect, Settle):
            settled.append(effect.settlement.settled_at)
            return Settled(None)
        return (
            Standing(Control.RUNNING, None)
            if isinstance(effect, ReadStanding)
            else noon.perform(effect)
        )

    drive(steps, perform)
    assert settled == [NOON + step]


# What came twice


def test_what_came_twice_is_in_the_audit_once_the_worker_has_ended(
    ledger: Ledger, run: Run
) -> None:
    worker = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted)
    worker.start()
    batch = dispatched(ledger, run)
    worker.note(Absorbed.REDELIVERED, batch)
    for _ in range(3):
        deliver(worker, batch)
    worker.stop()
    assert audit_ledger(ledger, run).absorbed == {
        "redelivered": (1, 10),
        "answered": (2, 20),
        "repeated": (0, 0),
    }


# The ledger is away


def go_away(ledger: Ledger, call: str, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let a call of the ledger fail so many times."""
    real, left = getattr(ledger, call), [None] * times

    def sometimes(*arguments: Any) -> Any:
        if left:
            left.pop()
            raise LedgerUnavailableError("away")
        return real(*arguments)

    monkeypatch.setattr(ledger, call, sometimes)


@pytest.mark.parametrize("call", ["standing", "settle"])
def test_ledger_that_is_away_is_asked_again_after_a_pause(
    ledger: Ledger,
    run: Run,
    call: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted)
    worker.stopping = worker._writer._stopping = stopping = Stop()
    worker.start()
    go_away(ledger, call, monkeypatch, times=5)
    assert deliver(worker, dispatched(ledger, run))
    worker.stop()
    assert len(stopping.waits) == 5
    assert min(stopping.waits) >= LEDGER_PAUSES.first
    assert "away; trying again in" in caplog.text


@pytest.mark.parametrize("call", ["standing", "settle"])
def test_worker_that_stops_gives_up_what_the_ledger_does_not_answer(
    ledger: Ledger, run: Run, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted)
    worker.start()
    worker.stopping.set()
    go_away(ledger, call, monkeypatch, times=1_000)
    with pytest.raises(StoppingError):
        deliver(worker, dispatched(ledger, run))
    worker.stop()


def test_worker_that_cannot_sign_off_ends_all_the_same(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(ledger, [make.profile("fast")])
    worker.start()
    go_away(ledger, "leave", monkeypatch, times=1)
    worker.stop()
    assert "could not sign off: away" in caplog.text


def test_stopped_worker_has_written_all_and_has_no_threads(ledger: Ledger, run: Run) -> None:
    # Given a batch that is being settled while the worker stops
    worker = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted)
    worker.start()
    settling = aside(worker.perform, Settle(make.settlement(run.id)))
    wait_until(lambda: settling.done() or worker._writer._inbox.qsize(), PATIENCE_SECONDS, "begun")
    worker.stop()
    assert not worker._driver.is_alive()
    assert not worker._writer.is_alive()
    assert settling.result(PATIENCE_SECONDS).new
    assert ledger.workers() == ()


def test_worker_signs_off_last(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(ledger, [make.profile("fast")])
    worker.start()
    ended: list[str] = []

    def noting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            answer = call(*arguments)
            ended.append(name)
            return answer

        return noted

    monkeypatch.setattr(worker._driver, "join", noting("driver", worker._driver.join))
    monkeypatch.setattr(worker._writer, "join", noting("writer", worker._writer.join))
    monkeypatch.setattr(ledger, "leave", noting("ledger", ledger.leave))
    worker.stop()
    # Whoever was told of the driver's end could still settle something
    assert ended == ["driver", "writer", "ledger"]


def test_worker_that_is_not_in_the_ledger_plays_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(ledger, [make.profile("fast")])
    go_away(ledger, "join", monkeypatch, times=1)
    with pytest.raises(LedgerUnavailableError):
        worker.start()
    assert not worker._driver.is_alive()
    assert not worker._writer.is_alive()


def test_worker_that_is_abandoned_frees_those_that_wait(ledger: Ledger) -> None:
    worker = Worker(ledger, [make.profile("fast")], Endless)
    worker.start()
    waiting = aside(worker.perform, Play(make.batch(1), math.inf))
    wait_until(lambda: worker._driver._waiting, PATIENCE_SECONDS, "it is played")
    worker.abandon()
    with pytest.raises(StoppingError):
        waiting.result(PATIENCE_SECONDS)
    assert worker.stopping.is_set()
    worker.stop()
