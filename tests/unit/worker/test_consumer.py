"""What the worker's consumer changes of Celery's."""

from __future__ import annotations

import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import orjson
import pytest
from amqp.exceptions import RecoverableConnectionError
from billiard.einfo import ExceptionInfo  # type: ignore[import-untyped]
from celery import Celery
from celery.exceptions import Reject
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu import Connection, Message, message
from kombu.exceptions import OperationalError

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.batch import TASK_NAME
from sms_pipeline.worker import consumer, pipeline
from sms_pipeline.worker.consumer import (
    CONNECTION_CHECK_SECONDS,
    LONGEST_PAUSE_SECONDS,
    GuardedConsumer,
)
from sms_pipeline.worker.pipeline import Pipeline
from sms_pipeline.worker.signs import Part, SignsOfLife
from tests.unit import make

THREADS = 4
ROUNDS = 200
#: A retry has the id of its task, so the same ids succeed again and again.
IDS = 100


class _Request:
    name = "send_sms"

    def __init__(self, number: int) -> None:
        self.id = str(number)


def _closing() -> consumer.GuardedConsumer:
    """A consumer with nothing but what it looks at when its connection closes."""
    closing = consumer.GuardedConsumer.__new__(consumer.GuardedConsumer)
    closing.controller = closing.pool = SimpleNamespace(semaphore=None, flush=None)
    closing.task_buckets = {}
    closing.timer = None
    return closing


@pytest.fixture
def _restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_restless")
def test_threads_that_end_tasks_at_once_do_not_disturb_one_another() -> None:
    # Else the acknowledgement, which comes next, would not be sent.
    def end_tasks(thread: int) -> None:
        requests = [_Request(thread * IDS + number) for number in range(IDS)]
        for _ in range(ROUNDS):
            for request in requests:
                state.task_ready(request, successful=True)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(end_tasks, range(THREADS)))


@pytest.mark.usefixtures("_restless")
def test_a_connection_can_close_while_threads_take_and_end_tasks() -> None:
    # Else the error ends the worker.
    closing = _closing()
    stopping = threading.Event()

    def work(thread: int) -> None:
        while not stopping.is_set():
            requests = [_Request(thread * IDS + number) for number in range(IDS)]
            for request in requests:
                state.task_reserved(request)
                state.task_accepted(request)
            for request in requests:
                state.task_ready(request)

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            working = [pool.submit(work, thread) for thread in range(THREADS)]
            for _ in range(ROUNDS):
                closing.on_close()
        finally:
            stopping.set()
    assert [thread.exception() for thread in working] == [None] * THREADS


@pytest.mark.parametrize("name", ["reserved_requests", "active_requests", "scheduled_requests"])
def test_a_shared_set_holds_what_lives_and_nothing_else(name: str) -> None:
    shared = getattr(state, name)
    kept, gone = _Request(1), _Request(2)
    shared.add(kept)
    shared.add(gone)
    del gone
    assert list(shared) == [kept]
    shared.discard(kept)
    assert not list(shared)


@pytest.mark.parametrize("name", ["reserved_requests", "active_requests", "scheduled_requests"])
def test_a_shared_set_can_be_read_while_it_changes(name: str) -> None:
    shared = getattr(state, name)
    requests = [_Request(number) for number in range(IDS)]
    shared.update(requests)
    read = []
    for request in shared:
        read.append(request)
        shared.discard(request)
    assert len(read) == IDS


def test_sets_are_made_steady_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given Celery's own, as they are before our consumer is loaded
    names = ("reserved_requests", "active_requests", "scheduled_requests")
    shared: list[WeakSet[Any]] = [WeakSet() for _ in names]
    for name, own in zip(names, shared, strict=True):
        monkeypatch.setattr(state, name, own)
    monkeypatch.setattr(state, "successful_requests", set())
    consumer._steady_shared_sets()
    # Then all can be read while they change, and ids of what succeeded are not kept
    for one in shared:
        requests = [_Request(number) for number in range(IDS)]
        one.update(requests)
        read = []
        for request in one:
            read.append(request)
            one.discard(request)
        assert len(read) == IDS
    state.task_ready(_Request(1), successful=True)
    assert not state.successful_requests


# Messages that can't be handled

TASK = {"task": TASK_NAME, "id": "1"}


class _Channel:
    """Notes what becomes of the one message, unless it is broken."""

    no_ack_consumers = None

    def __init__(self, broken: bool = False) -> None:
        self.ended: list[str] = []
        self._broken = broken

    def basic_ack(self, tag: int, multiple: bool) -> None:
        self.ended.append("acknowledged")

    def basic_reject(self, tag: int, requeue: bool) -> None:
        if self._broken:
            raise OperationalError("the connection is gone")
        self.ended.append("put back" if requeue else "dead")


def _message(
    body: bytes | object = ([], {}, None), channel: _Channel | None = None, **values: Any
) -> Message:
    return Message(
        **{
            "body": body if isinstance(body, bytes) else orjson.dumps(body),
            "channel": channel or _Channel(),
            "headers": TASK,
            "content_type": "application/json",
            "content_encoding": "utf-8",
            "delivery_tag": 7,
            "accept": {"application/json"},
            **values,
        }
    )


class _Pool:
    """Takes tasks, and keeps what it was given."""

    is_green = False

    def __init__(self) -> None:
        self.applied: list[tuple[Any, ...]] = []

    def apply_async(self, trace: object, args: tuple[Any, ...], **_: Any) -> None:
        self.applied.append(args)


class _Eventer:
    enabled = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send(self, type: str, **fields: Any) -> None:
        self.sent.append((type, fields))


class Setting:
    """A consumer as it is between connecting and consuming, and what it works with."""

    def __init__(self, app: Celery) -> None:
        self.pool = _Pool()
        self.events = _Eventer()
        self.requests: list[Any] = []
        #: What a consumer does with a request.
        self.take: Callable[[Any], None] = self.requests.append
        self.consumer = GuardedConsumer(
            self._take,
            app=app,
            controller=SimpleNamespace(state=state, semaphore=None, use_eventloop=False),
            pool=self.pool,
            timer=SimpleNamespace(call_at=None),
            disable_rate_limits=True,
        )
        self.consumer.event_dispatcher = self.events
        self.consumer.update_strategies()
        self.handle = self.consumer.create_task_handler()

    def _take(self, request: Any) -> None:
        self.take(request)

    def handled(self, message: Message) -> Any:
        """The request that a message becomes."""
        self.handle(message)
        return self.requests[-1]


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Whether the worker of this process stops; it does not."""
    stopping = threading.Event()
    worker: Any = SimpleNamespace(stopping=stopping, signs=SignsOfLife())
    monkeypatch.setattr(pipeline, "_installed", [Pipeline(worker, None)])  # type: ignore[arg-type]
    return stopping


@pytest.fixture
def setting(app: Celery, stopping: threading.Event, _running: None) -> Setting:
    return Setting(app)


def test_task_reaches_the_pool_and_is_not_settled_by_its_arrival(setting: Setting) -> None:
    channel = _Channel()
    for embed in (None, {"callbacks": None}):
        request = setting.handled(_message(([{"run": 1}], {}, embed), channel))
        assert (request.id, request.args) == ("1", [{"run": 1}])
    assert channel.ended == []


def test_batch_is_acknowledged_once_its_task_has_ended_and_not_before(setting: Setting) -> None:
    channel = _Channel()
    request = setting.handled(_message(channel=channel))
    request.on_accepted(1, 0.0)
    assert channel.ended == []
    request.on_success((0, "None", 1.0))
    assert channel.ended == ["acknowledged"]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (Reject("not a batch", requeue=False), "dead"),
        (Reject("the worker stops", requeue=True), "put back"),
        # A batch whose task failed is not done.
        (ZeroDivisionError(), "dead"),
    ],
)
def test_batch_whose_task_failed_is_not_acknowledged(
    setting: Setting, error: Exception, end: str
) -> None:
    channel = _Channel()
    request = setting.handled(_message(channel=channel))
    request.on_accepted(1, 0.0)
    try:
        raise error
    except Exception:
        request.on_failure(ExceptionInfo())
    assert channel.ended == [end]


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        ({}, TASK, "not a task's body"),
        (None, TASK, "not a task's body"),
        ("text", TASK, "not a task's body"),
        ([], TASK, "not a task's body"),
        ([[], {}], TASK, "not a task's body"),
        ([{}, {}, {}], TASK, "not a task's body"),
        ([[], [], {}], TASK, "not a task's body"),
        ([[], {}, []], TASK, "not a task's body"),
        ([[], {}, {}, {}], TASK, "not a task's body"),
        (b"[[1", TASK, "DecodeError"),
        (b"[[1", {}, "can't be decoded"),
        ([[], {}, {}], {}, "not a task"),
        ([[], {}, {}], None, "not a task"),
        ([[], {}, {}], {"task": "another", "id": "1"}, "unknown task"),
        ([[], {}, {}], {**TASK, "eta": "soon"}, "invalid task"),
        ([[], {}, {}], {"task": TASK_NAME}, "KeyError"),
    ],
)
def test_what_is_no_task_goes_to_the_dead_letters_with_its_reason(
    setting: Setting,
    body: object,
    headers: dict[str, Any] | None,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = _Channel()
    message = _message(body, channel)
    message.headers = headers
    setting.handle(message)
    assert channel.ended == ["dead"]
    assert caplog.messages == [f"message rejected to the dead-letter queue: {reason}"]
    assert setting.requests == []


def test_body_that_its_headers_mean_to_unpack_is_not_decoded(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    # Kombu trusts this type, and decodes it by any codec of Python's.
    channel, bomb = _Channel(), zlib.compress(b"0" * 1_000)
    message = _message(bomb, channel, content_type="application/data", content_encoding="zlib")
    setting.handle(message)
    assert channel.ended == ["dead"]
    assert message._decoded_cache is None
    assert caplog.messages == ["message rejected to the dead-letter queue: not JSON"]


@pytest.mark.parametrize("headers", [{}, {"expires": "2001-01-01T00:00:00+00:00"}])
def test_task_that_was_revoked_or_is_too_old_is_not_dropped(
    setting: Setting, headers: dict[str, str]
) -> None:
    channel = _Channel()
    message = _message(([{"run": 1}], {}, None), channel)
    message.headers |= headers
    state.revoked.add(message.headers["id"])
    try:
        request = setting.handled(message)
    finally:
        state.revoked.discard(message.headers["id"])
    assert request.args == [{"run": 1}]
    assert channel.ended == []


def test_body_of_another_type_goes_to_the_dead_letters_unread(setting: Setting) -> None:
    channel = _Channel()
    setting.handle(_message(b"\x80\x04.", channel, content_type="application/x-python-serialize"))
    assert channel.ended == ["dead"]


def test_message_that_breaks_the_handler_goes_to_the_dead_letters(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    channel = _Channel()
    setting.take = lambda request: 1 // 0  # type: ignore[assignment]
    setting.handle(_message(channel=channel))
    assert channel.ended == ["dead"]
    assert "dead-letter queue: ZeroDivisionError" in caplog.text


def test_pool_that_is_closed_is_not_the_messages_fault(
    setting: Setting, stopping: threading.Event
) -> None:
    stopping.set()
    channel = _Channel()
    setting.take = lambda request: 1 // 0  # type: ignore[assignment]
    setting.handle(_message(channel=channel))
    # It stays unacknowledged: the broker delivers it to another worker.
    assert channel.ended == []


@pytest.mark.parametrize("kind", ["connection_errors", "channel_errors"])
def test_broken_connection_is_not_the_messages_fault(setting: Setting, kind: str) -> None:
    channel = _Channel()
    error = getattr(setting.consumer, kind)[0]

    def take(request: object) -> None:
        raise error("gone")

    setting.take = take
    # The consumer starts over, with a new connection.
    with pytest.raises(error):
        setting.handle(_message(channel=channel))
    assert channel.ended == []


def test_message_that_has_ended_is_not_rejected(setting: Setting) -> None:
    message = _message(channel=(channel := _Channel()))

    def take(request: object) -> None:
        message.ack()
        raise ValueError

    setting.take = take
    setting.handle(message)
    assert channel.ended == ["acknowledged"]


def test_rejection_that_the_broker_does_not_hear_is_told(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.consumer.connection_errors = (OperationalError,)
    setting.handle(_message({}, _Channel(broken=True)))
    assert "Couldn't reject 7" in caplog.text


# What is shown of a batch


def test_body_is_decoded_once_and_its_text_is_let_go(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []

    def loads(body: bytes, *_: Any, **__: Any) -> Any:
        decoded.append(body)
        return orjson.loads(body)

    monkeypatch.setattr(message, "loads", loads)
    arrived = _message(([{"run": 1}], {}, None))
    request = setting.handled(arrived)
    request.execute_using_pool(setting.pool)
    # Celery decodes what it gets in the pool if it knows a content type for it
    (_name, _id, options, body, content_type, encoding) = setting.pool.applied[0]
    assert (body, content_type, encoding) == ([[{"run": 1}], {}, None], None, None)
    assert options["args"] == [{"run": 1}]
    assert len(decoded) == 1
    assert arrived.body is None


@pytest.mark.parametrize("safe", [True, False])
def test_arguments_are_told_in_short_whoever_asks(setting: Setting, safe: bool) -> None:
    text = make.batch(2).describe()
    headers = {**TASK, "argsrepr": text, "kwargsrepr": ""}
    request = setting.handled(_message(([{"to": "555"}], {}, None), headers=headers))
    told = request.info(safe=safe)
    assert (told["args"], told["kwargs"]) == (text, "")
    assert told["id"] == "1"
    assert "555" not in str(request.info())


RETRY = "retried as run 1, batch 0: 2 SMS, attempt 2 in 3 s"


@pytest.mark.parametrize(
    ("type", "fields", "shown"),
    [
        (
            "task-succeeded",
            {"result": repr(RETRY), "runtime": 1.0},
            ("task-retried", {"exception": RETRY, "traceback": ""}),
        ),
        (
            "task-succeeded",
            {"result": "None", "runtime": 1.0},
            ("task-succeeded", {"result": "None", "runtime": 1.0}),
        ),
        ("task-succeeded", {"result": None}, ("task-succeeded", {"result": None})),
        ("task-succeeded", {}, ("task-succeeded", {})),
        ("task-custom", {"result": RETRY}, ("task-custom", {"result": RETRY})),
    ],
)
def test_attempt_that_hands_something_on_is_shown_as_a_retry(
    setting: Setting,
    type: str,
    fields: dict[str, Any],
    shown: tuple[str, dict[str, Any]],
) -> None:
    request = setting.handled(_message())
    setting.events.sent.clear()
    request.send_event(type, **fields)
    assert setting.events.sent == [(shown[0], {"uuid": "1", **shown[1]})]


# The connection


class _Hub:
    def __init__(self) -> None:
        self.repeated: list[tuple[float, Callable[[], None]]] = []

    def call_repeatedly(self, seconds: float, call: Callable[[], None]) -> None:
        self.repeated.append((seconds, call))


def test_connection_is_looked_at_every_second_beside_what_celery_does(setting: Setting) -> None:
    registered: list[tuple[Any, ...]] = []
    setting.consumer.blueprint.send_all = lambda *arguments, **options: registered.append(
        (*arguments, options["args"])
    )
    setting.consumer.register_with_event_loop(hub := _Hub())
    assert registered == [(setting.consumer, "register_with_event_loop", (hub,))]
    ((seconds, look),) = hub.repeated
    assert seconds == CONNECTION_CHECK_SECONDS
    # A connection that was cut off unnoticed starts the consumer over
    setting.consumer.connection = SimpleNamespace(connected=False)
    with pytest.raises(RecoverableConnectionError, match=r"^the connection was closed unnoticed$"):
        look()
    assert RecoverableConnectionError in Connection("amqp://").recoverable_connection_errors
    # One that is up, or about to be made, does not
    for connection in (SimpleNamespace(connected=True), None):
        setting.consumer.connection = connection
        look()


def test_main_loop_comes_round_with_each_look_and_may_wait_for_its_broker(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.consumer.blueprint.send_all = lambda *arguments, **options: None
    setting.consumer.register_with_event_loop(hub := _Hub())
    signs = pipeline.pipeline().worker.signs
    # Given a loop that was last seen long ago
    signs.mark(Part.LOOP, (now := MACHINE_CLOCK.monotonic()) - 1_000)
    ((_, look),) = hub.repeated
    # When it comes round, even to find that the connection is closed
    setting.consumer.connection = SimpleNamespace(connected=False)
    with pytest.raises(RecoverableConnectionError):
        look()
    assert signs.silence(Part.LOOP, now) == 0.0
    # And while it connects, for however long, nothing is expected of it
    awaited: list[float | None] = []

    def connect(_consumer: Consumer, connection: Any) -> Any:
        awaited.append(signs.silence(Part.LOOP, now + 1e6))
        return connection

    monkeypatch.setattr(Consumer, "ensure_connected", connect)
    connection = Connection("amqp://host")
    assert setting.consumer.ensure_connected(connection) is connection
    assert awaited == [None]


def test_broker_that_is_back_is_found_soon_however_long_it_was_away(setting: Setting) -> None:
    asked: list[dict[str, Any]] = []

    class Away(Connection):  # type: ignore[misc]
        def ensure_connection(self, *_: Any, **options: Any) -> Any:
            asked.append(options)
            return self

    setting.consumer.ensure_connected(Away("amqp://host"))
    assert [options["interval_max"] for options in asked] == [LONGEST_PAUSE_SECONDS]


# Delayed delivery


def test_delayed_delivery_is_ours_and_in_the_place_of_celerys() -> None:
    *steps, last = GuardedConsumer.Blueprint.default_steps
    theirs = Consumer.Blueprint.default_steps
    differing = [(ours, own) for ours, own in zip(steps, theirs, strict=True) if ours != own]
    assert last == "sms_pipeline.worker.intake:FollowLedger"
    assert differing == [
        (
            "sms_pipeline.worker.consumer:RequiredDelayedDelivery",
            "celery.worker.consumer.delayed_delivery:DelayedDelivery",
        )
    ]


def test_delayed_delivery_is_set_up_where_the_consumer_is_connected(
    setting: Setting, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a list of brokers of which the first is down, so that the consumer is at the second
    done: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        consumer,
        "declare_delays",
        lambda connection, queues: done.append((connection.hostname, [q.name for q in queues])),
    )
    connection = Connection("amqp://one//;amqp://other//")
    connection.maybe_switch_next()
    setting.consumer.connection = connection
    consumer.RequiredDelayedDelivery(setting.consumer).start(setting.consumer)
    assert done == [("other", list(app.amqp.queues))]


def test_set_up_that_fails_is_an_error(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    # Celery goes on without, and what is retried would vanish.
    def refuse(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(consumer, "declare_delays", refuse)
    setting.consumer.connection = Connection("amqp://one")
    with pytest.raises(ConnectionRefusedError):
        consumer.RequiredDelayedDelivery(setting.consumer).start(setting.consumer)
