"""`send_sms`: a delivery driven inside Celery, and what becomes of the message in hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery, Task
from celery.exceptions import Reject
from celery.worker import state

from sms_pipeline.core.batch import TASK_NAME, Batch
from sms_pipeline.core.errors import EXIT_USAGE, BrokerUnavailableError
from sms_pipeline.core.records import Absorbed, Control, Key, Run
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import pipeline
from sms_pipeline.worker.foreign import MOST_RETURNS
from sms_pipeline.worker.pipeline import Pipeline
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.task import PUBLISH_PAUSES
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.worker.fakes import Scripted, Stop, aside

pytestmark = pytest.mark.usefixtures("_no_pipeline", "_running")

TEXT = "meet me at noon"


class FakePublisher:
    """Takes what is handed on, once it has refused as often as it was told to."""

    def __init__(self) -> None:
        self.retried: list[tuple[Task, Batch, int]] = []
        self.refusals: list[Exception] = []

    def retry(self, task: Task, batch: Batch, delay: int) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.retried.append((task, batch, delay))


class Notes(Worker):
    """A worker that remembers what came twice."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, [make.profile("fast", mean_time=0)], Scripted)
        self.stopping: Stop = Stop()
        self.noted: list[tuple[Absorbed, Key]] = []

    def note(self, kind: Absorbed, batch: Batch) -> None:
        self.noted.append((kind, batch.key))


@pytest.fixture
def worker(ledger: Ledger) -> Iterator[Notes]:
    made = Notes(ledger)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def publisher(worker: Notes) -> FakePublisher:
    """What the tasks of this process hand remainders to."""
    made = FakePublisher()
    pipeline.install(Pipeline(worker, made))  # type: ignore[arg-type]
    return made


@pytest.fixture
def task(app: Celery, publisher: FakePublisher) -> Task:
    return app.tasks[TASK_NAME]


@pytest.fixture
def batch(ledger: Ledger, run: Run) -> Batch:
    """Ten messages, of which two fail in each attempt."""
    ledger.record_batches(run.id, [make.row(run.id)])
    return make.batch(10, ledger=ledger.id, run=run.id, queued_at=time.time())


def receive(
    task: Task,
    *arguments: Any,
    delivery_info: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """What the pool thread of a worker does with a message."""
    task.push_request(args=arguments, kwargs=options, delivery_info=delivery_info)
    try:
        return task.run(*arguments, **options)
    finally:
        task.pop_request()


@contextmanager
def rejected(requeue: bool) -> Iterator[None]:
    """The message in hand is rejected: back to its queue, or to the dead letters."""
    with pytest.raises(Reject) as rejection:
        yield
    assert rejection.value.requeue is requeue


def test_remainder_is_handed_on_and_told(
    task: Task, batch: Batch, publisher: FakePublisher, ledger: Ledger, run: Run
) -> None:
    told = receive(task, batch.to_wire())
    ((by, remainder, delay),) = publisher.retried
    assert by is task
    assert (remainder.key, remainder.positions().tolist()) == ((run.id, 0, 1), [0, 1])
    assert told == f"retried as run 1, batch 0: 2 SMS, attempt 2 in {delay} s"
    assert ledger.snapshot(run).counts.delivered == 8


def test_batch_that_is_done_says_nothing(
    task: Task, batch: Batch, publisher: FakePublisher, ledger: Ledger, run: Run
) -> None:
    last = batch.model_copy(update={"retry": RetryPolicy(max_attempts=1)})
    assert receive(task, last.to_wire()) is None
    assert publisher.retried == []
    assert ledger.snapshot(run).counts.failed == 2


def test_batch_of_a_paused_run_goes_back_to_its_queue(
    task: Task, batch: Batch, publisher: FakePublisher, ledger: Ledger, run: Run
) -> None:
    ledger.control(run.id, Control.PAUSED)
    receive(task, batch.to_wire())
    assert [handed_on for _, handed_on, _ in publisher.retried] == [batch]


def test_batch_that_was_put_back_is_not_done_for_a_thread_that_has_received_it_again(
    task: Task, batch: Batch, worker: Notes, publisher: FakePublisher, ledger: Ledger, run: Run
) -> None:
    # Given a broker that delivers the batch again before it confirms that it has it
    ledger.control(run.id, Control.PAUSED)
    again: list[Future[Any]] = []
    confirm = publisher.retry

    def late(*arguments: Any) -> None:
        if not again:
            again.append(aside(receive, task, batch.to_wire()))
            wait_until(waiting.is_set, 30, "another thread waits for its turn")
        confirm(*arguments)

    waiting, claim = threading.Event(), worker.turns._claim

    def claimed(key: Key, mine: Future[bool]) -> Future[bool]:
        found = claim(key, mine)
        if found is not mine:
            waiting.set()
        return found

    worker.turns._claim = claimed  # type: ignore[method-assign]
    publisher.retry = late  # type: ignore[method-assign]
    # When the first has put it back
    receive(task, batch.to_wire())
    # Then so does the second: acknowledging what it holds would lose it
    again[0].result(30)
    assert [handed_on for _, handed_on, _ in publisher.retried] == [batch, batch]


@pytest.mark.parametrize(
    ("delivery_info", "noted"),
    [({"redelivered": True}, 1), ({"redelivered": False}, 0), ({}, 0), (None, 0)],
)
def test_what_the_broker_delivers_again_is_noted(
    task: Task, batch: Batch, worker: Notes, delivery_info: dict[str, Any], noted: int
) -> None:
    receive(task, batch.to_wire(), delivery_info=delivery_info)
    assert worker.noted == [(Absorbed.REDELIVERED, batch.key)] * noted


def test_batch_that_another_thread_has_just_done_is_not_done_again(
    task: Task, batch: Batch, worker: Notes, publisher: FakePublisher, ledger: Ledger, run: Run
) -> None:
    # Given a turn that another thread has taken and done
    @contextmanager
    def done_by_another(key: Key) -> Iterator[bool]:
        assert key == batch.key
        yield False

    worker.turns.turn = done_by_another  # type: ignore[method-assign]
    # Then this one is acknowledged, and that is all
    assert receive(task, batch.to_wire()) is None
    assert publisher.retried == []
    assert ledger.snapshot(run).counts.attempts == 0


# What can't be played


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), {}),
        ((TEXT,), {}),
        (({"text": TEXT},), {}),
        (({}, {}), {}),
        ((), {"batch": {"text": TEXT}}),
    ],
)
def test_what_is_no_batch_goes_to_the_dead_letters_and_nobody_reads_it(
    task: Task,
    publisher: FakePublisher,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with rejected(requeue=False):
        receive(task, *arguments, **options)
    assert "rejected to the dead-letter queue" in caplog.text
    assert TEXT not in caplog.text


@pytest.mark.parametrize("more", [({"second": 2},), ()])
def test_batch_with_other_arguments_beside_it_is_no_batch(
    task: Task, batch: Batch, publisher: FakePublisher, more: tuple[Any, ...]
) -> None:
    options: dict[str, Any] = {} if more else {"urgent": True}
    with rejected(requeue=False):
        receive(task, batch.to_wire(), *more, **options)
    assert publisher.retried == []


def test_batch_of_an_unknown_run_goes_to_the_dead_letters(task: Task, batch: Batch) -> None:
    with rejected(requeue=False):
        receive(task, batch.model_copy(update={"run": 99}).to_wire())


def test_batch_of_another_ledger_goes_back_and_ends_the_worker_once(
    task: Task, batch: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with rejected(requeue=True):
            receive(task, {**batch.to_wire(), "ledger": "another"})
    assert state.should_stop == EXIT_USAGE
    # It is the last line that a user sees of this worker.
    assert caplog.messages == [
        "a batch of another ledger is in this queue; it is put back. Check SMS_DATABASE_URL: "
        "producer and workers must name the same database"
    ]


@pytest.mark.parametrize(("returns", "requeue"), [(MOST_RETURNS - 1, True), (MOST_RETURNS, False)])
def test_leftover_batch_of_another_ledger_does_not_end_a_worker_that_is_at_home(
    task: Task, batch: Batch, caplog: pytest.LogCaptureFixture, returns: int, requeue: bool
) -> None:
    receive(task, batch.to_wire())
    task.push_request(**{"args": [], "x-delivery-count": returns})
    with rejected(requeue):
        task.run({**batch.to_wire(), "ledger": "another"})
    task.pop_request()
    assert state.should_stop is None
    assert ("put aside, as a dead letter" in caplog.text) is not requeue


@pytest.mark.parametrize("redelivered", [True, False])
def test_on_a_classic_queue_it_goes_back_once(
    task: Task, batch: Batch, caplog: pytest.LogCaptureFixture, redelivered: bool
) -> None:
    receive(task, batch.to_wire())
    foreign = {**batch.to_wire(), "ledger": "another"}
    with rejected(requeue=not redelivered):
        receive(task, foreign, delivery_info={"redelivered": redelivered})
    assert ("put aside, as a dead letter" in caplog.text) is redelivered


def test_worker_that_ends_already_keeps_its_exit_code(task: Task, batch: Batch) -> None:
    state.should_stop = 0
    with rejected(requeue=True):
        receive(task, {**batch.to_wire(), "ledger": "another"})
    assert state.should_stop == 0


def test_batch_in_hand_goes_back_when_the_worker_stops(
    task: Task, batch: Batch, worker: Notes
) -> None:
    worker.abandon()
    with rejected(requeue=True):
        receive(task, batch.to_wire())


def test_rejection_is_not_told_twice(caplog: pytest.LogCaptureFixture) -> None:
    # Celery logs the traceback of each rejection, after what was said of it here.
    trace = logging.getLogger("celery.app.trace")
    for error in (Reject("not a batch"), ValueError("news")):
        trace.error("raised", exc_info=error)
    trace.error("without an error")
    assert "not a batch" not in caplog.text
    assert "news" in caplog.text
    assert "without an error" in caplog.text


# The broker is away


def test_remainder_is_published_again_until_that_is_confirmed(
    task: Task,
    batch: Batch,
    worker: Notes,
    publisher: FakePublisher,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a broker that is away, which Celery tells in its own way
    wrapped = Reject("can't be retried")
    wrapped.__context__ = TimeoutError()
    told = BrokerUnavailableError("no answer for 5 s")
    publisher.refusals = [told, ConnectionResetError(), wrapped]
    receive(task, batch.to_wire())
    # Then it is asked again after pauses, and the user is told the cause each time
    assert len(publisher.retried) == 1
    assert len(worker.stopping.waits) == 3
    assert all(
        PUBLISH_PAUSES.first <= wait <= PUBLISH_PAUSES.longest for wait in worker.stopping.waits
    )
    said = [line for line in caplog.messages if "is not confirmed by the broker" in line]
    assert [line.partition("(")[2].partition(")")[0] for line in said] == [
        "TimeoutError",
        "ConnectionResetError",
        "no answer for 5 s",
    ]
    assert "run 1, batch 0: 2 SMS, attempt 2 is not confirmed" in said[0]


def test_worker_that_stops_leaves_the_batch_to_another_that_can_publish(
    task: Task, batch: Batch, worker: Notes, publisher: FakePublisher
) -> None:
    worker.stopping.set()
    publisher.refusals = [ConnectionResetError()]
    with rejected(requeue=True):
        receive(task, batch.to_wire())
    assert publisher.retried == []


# Without a broker


@pytest.mark.parametrize("control", [Control.RUNNING, Control.PAUSED])
def test_eager_task_sends_all_attempts_at_once(
    task: Task,
    batch: Batch,
    publisher: FakePublisher,
    ledger: Ledger,
    run: Run,
    control: Control,
) -> None:
    # More attempts than Celery's own limit of retries
    ledger.control(run.id, control)
    stubborn = batch.model_copy(update={"retry": RetryPolicy(max_attempts=6)})
    result = task.apply(args=(stubborn.to_wire(),))
    assert result.state == "SUCCESS"
    counts = ledger.snapshot(run).counts
    assert (counts.delivered, counts.failed, counts.attempts) == (8, 2, 10 + 5 * 2)
    assert publisher.retried == []
