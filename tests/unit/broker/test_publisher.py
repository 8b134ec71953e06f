"""Publishes return once the broker has confirmed them, and no wait for it is endless."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Reject
from kombu import Connection, Producer
from kombu.transport import memory

from sms_pipeline.broker import topology
from sms_pipeline.broker.publisher import (
    CONFIRM_TIMEOUT_SECONDS,
    CONNECT_TIMEOUT_SECONDS,
    Publisher,
    shown_as,
)
from sms_pipeline.config.settings import EMBEDDED_BROKER_URL, Settings
from sms_pipeline.core.batch import TASK_NAME, Batch
from sms_pipeline.core.errors import BrokerUnavailableError
from sms_pipeline.worker import task
from tests.unit import make

AMQP_URL = "amqp://user:secret@host//"


@pytest.fixture(autouse=True)
def _empty_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker in this process has no queues, and gets back what is not acknowledged."""
    monkeypatch.setattr(memory.Channel, "queues", {})
    monkeypatch.setattr(memory.Channel, "do_restore", True)
    memory.Transport.global_state.clear()


@pytest.fixture
def publisher() -> Publisher:
    """One whose broker is in this process, with the queues of `fast`."""
    return Publisher.open(Settings(), ["fast"])


def app_with(queue_type: str) -> Celery:
    """An app with our task and the queue of `fast`."""
    made = Celery("test", set_as_current=False)
    made.config_from_object("sms_pipeline.celeryconfig")
    made.conf.broker_url = EMBEDDED_BROKER_URL
    made.conf.task_queues = topology.profile_queues(["fast"], queue_type)
    assert task.send_sms.name in made.tasks
    return made


class Published:
    """What producers were given to publish, and whether the broker takes it."""

    def __init__(self) -> None:
        self.messages: list[tuple[Any, dict[str, Any]]] = []
        self.error: BaseException | None = None
        #: How often a connection was dropped.
        self.collected = 0

    @property
    def only(self) -> dict[str, Any]:
        ((_, options),) = self.messages
        return options


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    published = Published()

    def publish(_: Producer, body: Any, **options: Any) -> None:
        if published.error:
            raise published.error
        published.messages.append((body, options))

    def collect(_: Connection, *__: Any) -> None:
        published.collected += 1

    monkeypatch.setattr(Producer, "publish", publish)
    monkeypatch.setattr(Connection, "collect", collect)
    return published


def hand_on(publisher: Publisher, app: Celery, batch: Batch, delay: int) -> None:
    """Retry the task, as from within it."""
    found = app.tasks[TASK_NAME]
    found.push_request(id="1", called_directly=False, args=(), kwargs={}, is_eager=False)
    try:
        publisher.retry(found, batch, delay)
    finally:
        found.pop_request()


def destination(options: dict[str, Any]) -> tuple[str, str]:
    """(exchange, routing key): kombu takes an exchange or its name."""
    exchange = options["exchange"]
    return getattr(exchange, "name", exchange), options["routing_key"]


# Publishing


def test_batch_arrives_in_the_queue_of_its_profile(publisher: Publisher) -> None:
    batch = make.batch(3)
    publisher.publish(app_with("quorum"), batch)
    assert publisher.depth(["fast"]) == 1
    with Connection(EMBEDDED_BROKER_URL) as connection:
        message = connection.default_channel.basic_get("sms.fast")
        args, kwargs, _ = connection.default_channel.message_to_python(message).decode()
    assert kwargs == {}
    assert [Batch.from_wire(one) for one in args] == [batch]


def test_every_wait_for_the_broker_is_bounded(published: Published) -> None:
    publisher, app = Publisher(AMQP_URL, "quorum"), app_with("quorum")
    publisher.publish(app, make.batch())
    hand_on(publisher, app, make.batch(), delay=0)
    for _, options in published.messages:
        assert options["confirm_timeout"] == CONFIRM_TIMEOUT_SECONDS
        assert options["timeout"] == CONFIRM_TIMEOUT_SECONDS
        # Whoever asked tries again, and says so; kombu would do it silently.
        assert options["retry"] is False


def test_publishes_are_confirmed_on_connections_of_their_own() -> None:
    publisher = Publisher(AMQP_URL, "quorum")
    with publisher.producer() as producer:
        connection = producer.__connection__
        assert connection.transport_options["confirm_publish"] is True
        # A second try is over before the user is told.
        assert 2 * connection.connect_timeout <= CONNECT_TIMEOUT_SECONDS
    # A worker with confirms on Celery's own connections would hang.
    assert "confirm_publish" not in app_with("quorum").connection_for_write().transport_options


@pytest.mark.parametrize("attempt", [0, 1])
def test_nothing_but_counts_is_shown_of_a_batch(published: Published, attempt: int) -> None:
    batch = make.batch(3, attempt=attempt)
    publisher, app = Publisher(AMQP_URL, "quorum"), app_with("quorum")
    publisher.publish(app, batch)
    hand_on(publisher, app, batch, delay=0)
    for _, options in published.messages:
        headers = options["headers"]
        assert (headers["argsrepr"], headers["kwargsrepr"]) == (batch.describe(), "")
        assert headers["ignore_result"] is True
        assert batch.to[:12] not in str(options)
    assert shown_as(batch)["argsrepr"].startswith("run 1, batch 0: 3 SMS")


def test_batch_carries_what_its_worker_needs(published: Published) -> None:
    batch = make.batch(3)
    publisher, app = Publisher(AMQP_URL, "quorum"), app_with("quorum")
    publisher.publish(app, batch)
    hand_on(publisher, app, batch, delay=0)
    for (args, _, _), options in published.messages:
        assert list(args) == [batch.to_wire()]
        assert options["headers"]["task"] == TASK_NAME
        assert destination(options) == ("sms", "sms.fast")
    assert [options["headers"]["retries"] for _, options in published.messages] == [0, 1]


@pytest.mark.parametrize(
    ("url", "queue_type", "delay", "waits_at_broker"),
    [
        (AMQP_URL, "quorum", 5, True),
        (AMQP_URL, "quorum", 0, False),
        (AMQP_URL, "classic", 5, False),
        (EMBEDDED_BROKER_URL, "quorum", 5, False),
    ],
)
def test_retry_waits_at_the_broker_where_that_can_be(
    published: Published, url: str, queue_type: str, delay: int, waits_at_broker: bool
) -> None:
    hand_on(Publisher(url, queue_type), app_with(queue_type), make.batch(), delay)
    options = published.only
    if waits_at_broker:
        exchange, routing_key = destination(options)
        assert exchange == topology.delay_exchange(delay).name
        # The delay in bits, then where it goes
        assert routing_key.endswith("0.1.0.1.sms.fast")
    else:
        assert destination(options) == ("sms", "sms.fast")
    # Else the worker holds it until it is due
    assert (options["headers"]["eta"] is not None) is (bool(delay) and not waits_at_broker)


@pytest.mark.parametrize("error", [TimeoutError(), KeyboardInterrupt()])
def test_connection_is_dropped_after_any_error(published: Published, error: BaseException) -> None:
    # A confirm that comes late would be taken for that of the next publish.
    publisher, app = Publisher(EMBEDDED_BROKER_URL, "quorum"), app_with("quorum")
    published.error = error
    with pytest.raises(type(error)):
        publisher.publish(app, make.batch())
    assert published.collected == 1
    # And the next publish has a connection again
    published.error = None
    publisher.publish(app, make.batch())
    assert len(published.messages) == published.collected == 1


def test_retry_that_is_not_confirmed_is_an_error(published: Published) -> None:
    published.error = TimeoutError()
    with pytest.raises(Reject):
        hand_on(Publisher(AMQP_URL, "quorum"), app_with("quorum"), make.batch(), delay=5)
    assert published.collected == 1


# Queues


def test_queues_are_declared_with_that_of_the_dead_letters(publisher: Publisher) -> None:
    assert set(memory.Channel.queues) == {"sms.fast", "sms.fast.urgent", "sms.dead"}
    assert publisher.depth(["fast", "unknown"]) == 0
    assert publisher.dead_letters() == 0


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_queues_have_the_type_that_is_configured(
    queue_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = {}
    real = memory.Channel.queue_declare

    def declare(self: Any, queue: str, **options: Any) -> Any:
        types[queue] = (options.get("arguments") or {}).get("x-queue-type")
        return real(self, queue, **options)

    monkeypatch.setattr(memory.Channel, "queue_declare", declare)
    Publisher.open(Settings(queue_type=queue_type), ["fast", "slow"])
    assert types == dict.fromkeys(["sms.dead", *topology.queue_names(["fast", "slow"])], queue_type)


def test_depth_counts_what_is_ready_and_what_waits_to_be_retried(publisher: Publisher) -> None:
    put(publisher, "sms.fast", b"1", b"2")
    put(publisher, "sms.slow", b"3")
    put(publisher, topology.DELAY_QUEUES[0], b"4")
    put(publisher, topology.DELAY_QUEUES[-1], b"5")
    put(publisher, "another", b"6")
    assert publisher.depth(["fast"]) == 4
    assert publisher.depth(["fast", "slow"]) == 5


def test_all_queues_are_read_over_one_connection(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Connection] = []
    clone = Connection.clone

    def counted(connection: Connection) -> Connection:
        made.append(connection)
        return clone(connection)

    monkeypatch.setattr(Connection, "clone", counted)
    put(publisher, topology.DELAY_QUEUES[-1], b"1")
    assert publisher.depth(["unknown", "fast"]) == len(made) == 1


def put(publisher: Publisher, queue: str, *bodies: bytes) -> None:
    with publisher.producer() as producer:
        for body in bodies:
            producer.channel.queue_declare(queue)
            producer.publish(body, exchange="", routing_key=queue)


def test_dead_letters_that_are_known_are_taken_and_the_others_left(publisher: Publisher) -> None:
    put(publisher, "sms.dead", b"mine 1", b"yours", b"mine 2")
    assert publisher.dead_letters() == 3
    assert publisher.remove_dead_letters(lambda body: b"mine" in to_bytes(body)) == 2
    assert publisher.dead_letters() == 1
    seen: list[bytes] = []

    def see(body: object) -> bool:
        seen.append(to_bytes(body))
        return False

    publisher.remove_dead_letters(see)
    assert seen == [b"yours"]


def to_bytes(body: object) -> bytes:
    """What is handed to `is_known`: a real broker's messages are text or bytes."""
    assert isinstance(body, str | bytes)
    return body if isinstance(body, bytes) else body.encode()


def test_dead_letter_that_another_has_taken_meanwhile_is_passed_over(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_ready", lambda _: 3)
    put(publisher, "sms.dead", b"one")
    assert publisher.remove_dead_letters(lambda _: True) == 1


# A broker that does not answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """With how much patience it was connected to."""
    asked: list[dict[str, Any]] = []

    def ensure_connection(_: Connection, *arguments: Any, **options: Any) -> None:
        asked.append(options)

    monkeypatch.setattr(Connection, "ensure_connection", ensure_connection)
    yield asked


def test_broker_is_connected_to_before_its_queues_are_declared(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    declared: list[list[str]] = []
    monkeypatch.setattr(Publisher, "declare", lambda _, profiles: declared.append([*profiles]))
    Publisher.open(Settings(), ["fast"])
    assert asked == []
    Publisher.open(Settings(broker_url=AMQP_URL), ["fast"])
    # The user is not left waiting
    assert asked == [{"max_retries": 1, "timeout": CONNECT_TIMEOUT_SECONDS}]
    assert declared == [["fast"], ["fast"]]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ConnectionRefusedError("refused"), "refused"), (TimeoutError(" "), "TimeoutError")],
)
def test_broker_that_is_not_there_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def ensure_connection(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Connection, "ensure_connection", ensure_connection)
    with pytest.raises(BrokerUnavailableError) as told:
        Publisher.open(Settings(broker_url=AMQP_URL), ["fast"])
    assert re.fullmatch(
        rf"the broker at amqp://user:\*\*@host\S+ can't be reached: {reason}", str(told.value)
    )


def test_calls_of_a_broker_that_went_away_say_so(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def declare(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("gone")

    monkeypatch.setattr(memory.Channel, "queue_declare", declare)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: publisher.declare(["fast"]), "the queues can't be declared: gone"),
        (lambda: publisher.depth(["fast"]), "queue sms.fast can't be read: gone"),
        (publisher.dead_letters, "queue sms.dead can't be read: gone"),
        (lambda: publisher.remove_dead_letters(bool), "queue sms.dead can't be read: gone"),
    ]
    for call, message in calls:
        with pytest.raises(BrokerUnavailableError) as told:
            call()
        assert str(told.value) == message


def test_broker_that_goes_away_while_dead_letters_are_taken_says_so(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: Any) -> None:
        raise ConnectionResetError("gone")

    put(publisher, "sms.dead", b"one")
    monkeypatch.setattr(memory.Channel, "basic_get", get)
    with pytest.raises(BrokerUnavailableError, match="dead letters can't be read: gone"):
        publisher.remove_dead_letters(bool)
