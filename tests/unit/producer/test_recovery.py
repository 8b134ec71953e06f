"""When what is not settled is lost, and what `resume` does then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.clock import clock_of
from sms_pipeline.core.events import Event
from sms_pipeline.core.records import Control, Run, Unsettled
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.producer import Producer
from sms_pipeline.producer.recovery import (
    QUIET_SECONDS,
    await_quiet,
    dispatch_again,
    quiet_seconds,
    take_dead_letters,
)
from sms_pipeline.testing.clock import START, ManualClock
from sms_pipeline.testing.ledger import memory_ledger
from sms_pipeline.views.reader import Reader
from tests.unit import make


def test_quiet_is_longer_where_batches_are() -> None:
    assert quiet_seconds(make.simulation()) == QUIET_SECONDS
    slow = make.simulation(senders=(make.profile(mean_time=30.0),), batch_size=2)
    assert quiet_seconds(slow) == 2 * (2 * 30 + 4 * 30)


def test_quiet_is_longer_where_senders_are_stopped_or_slow() -> None:
    outage = Event.model_validate({"at": 0, "for": 90, "outage": True})
    assert quiet_seconds(make.simulation(events=(outage,))) == QUIET_SECONDS + 90
    slowdown = Event.model_validate({"at": 0, "for": 90, "slowdown": 3})
    slow = make.simulation(
        senders=(make.profile(mean_time=30.0),), batch_size=2, events=(slowdown,)
    )
    assert quiet_seconds(slow) == 3 * 2 * (2 * 30 + 4 * 30)


# A clock that was set


def test_run_keeps_its_times_when_the_clock_was_set_back_before_it_was_resumed() -> None:
    # Given a run that was paused half-way
    clock = ManualClock()
    ledger = memory_ledger(clock)
    run = ledger.start_run(make.simulation(num_messages=20, batch_size=10, deadline=600.0), seed=7)
    ledger.record_batches(run.id, [make.row(run.id, queued_at=clock.wall())])
    ledger.control(run.id, Control.PAUSED)
    # When the clock is set back by an hour, and whoever resumes it starts only then
    clock.advance(60)
    clock.step_wall(-3_600)
    ledger.control(run.id, Control.RUNNING)
    published: list[Batch] = []
    again = Producer(ledger, published.append, run, Loads(run.simulation), clock=clock)
    dispatch_again(ledger, ledger.run(run.id), lambda _: None, clock)(again)
    # Then nothing of it happened before it began
    with ledger.reading() as connection:
        queued = connection.execute(select(schema.batches.c.queued_at)).scalars().all()
    steps = [step.at for step in ledger.snapshot(run).steps]
    assert (steps, set(queued)) == ([START, START + 60, START + 60], {START, START + 60})
    # And a worker goes by the same clock
    assert {clock_of(batch, clock).wall() for batch in published} == {START + 60}
    assert not audit_ledger(ledger, run, clock=clock).problems
    assert Reader(ledger, run, clock=clock).read().progress.seconds == 60


# Waiting


class Scene(ManualClock):
    """A run of 100 messages and its queues; things happen while somebody waits for quiet."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = memory_ledger(self)
        self.run = self.ledger.start_run(make.simulation(num_messages=100), seed=7)
        self.ledger.record_batches(
            self.run.id, [make.row(self.run.id, n, 10 * n) for n in range(9)]
        )
        #: Batches in the queues of the run's profiles, by the seconds since the start.
        self.queued: Callable[[float], int] = lambda _: 0
        #: Called after each wait, with the seconds since the start.
        self.meanwhile: Callable[[float], None] = lambda _: None
        self.said: list[str] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.meanwhile(self.monotonic())

    def depth(self, profiles: Iterable[str]) -> int:
        assert list(profiles) == ["fast"]
        return self.queued(self.monotonic())

    def await_quiet(self) -> float:
        """Wait; return how many seconds that took."""
        await_quiet(self.ledger, self, self.run, self.said.append, self)  # type: ignore[arg-type]
        return self.monotonic()

    def beat(self, seconds: float) -> None:
        """A worker is alive."""
        self.ledger.beat("w1", int(seconds) + 1)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_nobody_there_and_nothing_queued_is_quiet(scene: Scene) -> None:
    assert scene.await_quiet() == 0
    assert scene.said == []


def test_what_is_queued_is_waited_for_and_its_user_is_told_once(scene: Scene) -> None:
    scene.queued = lambda seconds: 1_234 if seconds < 7 else 0
    assert scene.await_quiet() == 7
    assert scene.said == [
        "waiting: the queues hold 1,234 batches, and no worker is online; --force does not wait"
    ]


def test_one_batch_is_no_plural(scene: Scene) -> None:
    scene.queued = lambda seconds: 1 if seconds < 7 else 0
    scene.await_quiet()
    assert scene.said == [
        "waiting: the queues hold 1 batch, and no worker is online; --force does not wait"
    ]


def test_user_who_resumes_a_paused_run_is_told_what_gets_it_going(scene: Scene) -> None:
    scene.ledger.control(scene.run.id, Control.PAUSED)
    scene.queued = lambda seconds: 3 if seconds < 7 else 0
    assert scene.await_quiet() == 7
    assert scene.said == [
        "waiting: run 1 is paused, so its batches stay in the queues; continue it with: "
        "sms-pipeline continue 1"
    ]


def test_worker_that_is_dead_is_not_waited_for_longer_than_it_takes_to_tell(scene: Scene) -> None:
    scene.ledger.join("w1", [make.profile()])
    # A living one would have beaten twice by then
    assert 2 <= scene.await_quiet() < QUIET_SECONDS


def test_worker_that_is_online_may_be_playing(scene: Scene) -> None:
    # Given a worker that takes what is queued, and settles its last batch after four seconds
    scene.ledger.join("w1", [make.profile()])
    scene.queued = lambda seconds: 3 if seconds < 2 else 0

    def play(seconds: float) -> None:
        scene.beat(seconds)
        if seconds == 4:
            scene.ledger.settle([make.settlement(scene.run.id)])

    scene.meanwhile = play
    # Then nothing is lost until nothing was settled for a while
    assert scene.await_quiet() == 4 + QUIET_SECONDS
    # And nobody is told that no worker is online while that is not known
    assert scene.said == [
        "waiting: the queues still hold batches, which workers will take",
        "waiting: workers are online and may be playing what is not settled",
    ]


def test_worker_that_is_online_is_waited_for_as_long_as_its_queues_hold_something(
    scene: Scene,
) -> None:
    scene.ledger.join("w1", [make.profile()])
    scene.queued = lambda seconds: 1 if seconds < 3 * QUIET_SECONDS else 0
    scene.meanwhile = scene.beat
    assert scene.await_quiet() == 3 * QUIET_SECONDS


# Dead letters


class DeadLetters:
    """A dead-letter queue."""

    def __init__(self, *bodies: object) -> None:
        self.bodies = list(bodies)

    def remove_dead_letters(self, is_known: Callable[[object], bool]) -> int:
        before = len(self.bodies)
        self.bodies = [body for body in self.bodies if not is_known(body)]
        return before - len(self.bodies)


def test_only_the_runs_own_batches_are_taken_from_the_dead_letters(
    ledger: Ledger, run: Run
) -> None:
    def body(**values: Any) -> bytes:
        batch = make.batch(2, **{"ledger": ledger.id, "run": run.id, **values})
        return orjson.dumps([[batch.to_wire()], {}, None])

    others = [body(run=run.id + 1), body(ledger="another"), b"no task", None]
    dead = DeadLetters(body(number=1), *others, body(number=2))
    assert take_dead_letters(ledger, dead, run) == 2  # type: ignore[arg-type]
    assert dead.bodies == others


# Again


class Resumed:
    """A producer that notes what it is to do."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def dispatch_again(self, unsettled: list[Unsettled]) -> int:
        self.events.append([entry.row.number for entry in unsettled])
        return len(unsettled)

    def dispatch(self) -> None:
        self.events.append("the rest")


def test_what_is_not_settled_comes_first_then_the_rest(ledger: Ledger, run: Run) -> None:
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(3)])
    ledger.settle([make.settlement(run.id, 1)])
    producer, said = Resumed(), list[str]()
    dispatch_again(ledger, run, said.append)(producer)  # type: ignore[arg-type]
    assert producer.events == [[0, 2], "the rest"]
    assert said == [f"run {run.id}: 2 batches dispatched again"]


def test_cancelled_run_is_settled_where_no_queue_has_it(ledger: Ledger, run: Run) -> None:
    # Given a run that was cancelled, by somebody who was interrupted then
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(3)])
    ledger.mark_published(run.id, [(1, make.NOON)])
    ledger.control(run.id, Control.CANCELLED)
    producer = Resumed()
    dispatch_again(ledger, ledger.run(run.id), lambda _: None)(producer)  # type: ignore[arg-type]
    # Then only what a queue may hold is dispatched again; workers settle it as cancelled
    assert producer.events == [[1], "the rest"]
    assert ledger.snapshot(run).counts.cancelled == 90
