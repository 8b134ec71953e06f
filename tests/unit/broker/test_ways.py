"""A publisher that finds something missing at the broker mends it, or says what is the matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from amqp.exceptions import AccessRefused, ChannelError, NotFound, PreconditionFailed
from celery import Celery
from celery.exceptions import Reject
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from sms_pipeline.broker import mending, topology
from sms_pipeline.broker import publisher as publishing
from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.core.errors import BrokerRefusedError, BrokerUnavailableError
from tests.unit import make
from tests.unit.broker.test_publisher import AMQP_URL, app_with, hand_on


def not_confirmed() -> OperationalError:
    """As kombu raises it."""
    error = OperationalError("timed out")
    error.__cause__ = TimeoutError("timed out")
    return error


class Scene:
    """A publisher, and a broker with as much behind it as the test says."""

    def __init__(self) -> None:
        self.publisher = Publisher(AMQP_URL, "quorum")
        self.app: Celery = app_with("quorum")
        self.errors: list[Exception] = []
        self.options: list[dict[str, Any]] = []
        self.declared: list[str] = []
        self.dead: set[str] = set()
        self.deleted: list[str] = []

    def publish(self) -> None:
        self.publisher.publish(self.app, make.batch())

    def retry(self, delay: int = 5) -> None:
        hand_on(self.publisher, self.app, make.batch(), delay)

    def fail(self, error: Exception, times: int = 1) -> None:
        for _ in range(times):
            self.errors.append(error)
            with pytest.raises(type(error)):
                self.publish()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene()

    def publish(_: Producer, body: Any, **options: Any) -> None:
        made.options.append(options)
        if made.errors:
            raise made.errors.pop()

    def declare_queues(_: Connection, profiles: list[str], queue_type: str) -> list[Any]:
        made.declared += profiles
        return topology.profile_queues(profiles, queue_type)

    def declare_delays(_: Connection, queues: list[Any]) -> None:
        made.declared += [f"ways to {queue.name}" for queue in queues]

    monkeypatch.setattr(Producer, "publish", publish)
    monkeypatch.setattr(Connection, "collect", lambda *_: None)
    monkeypatch.setattr(publishing, "declare_queues", declare_queues)
    monkeypatch.setattr(publishing, "declare_delays", declare_delays)
    monkeypatch.setattr(mending, "name_only", lambda _, names: [n for n in names if n in made.dead])
    monkeypatch.setattr(mending, "delete", lambda _, names: made.deleted.extend(names))
    yield made


def test_a_message_that_no_queue_receives_comes_back(scene: Scene) -> None:
    scene.publish()
    scene.retry()
    assert [options["mandatory"] for options in scene.options] == [True, True]


@pytest.mark.parametrize("error", [NotFound("no exchange"), ChannelError("NO_ROUTE", (60, 50))])
def test_ways_that_are_gone_are_made_anew_once(scene: Scene, error: ChannelError) -> None:
    error.reply_code = error.reply_code or 312
    scene.fail(error)
    assert scene.declared == []
    scene.publish()
    scene.publish()
    assert scene.declared == ["fast", "ways to sms.fast", "ways to sms.fast.urgent"]


def test_ways_of_a_retry_are_made_anew(scene: Scene) -> None:
    # Celery hides what went wrong with a retry
    scene.errors.append(NotFound("no exchange"))
    with pytest.raises(Reject):
        scene.retry()
    scene.retry()
    assert scene.declared == ["fast", "ways to sms.fast", "ways to sms.fast.urgent"]


def test_the_way_back_of_what_was_taken_over_is_made_once(scene: Scene) -> None:
    # Given a worker of another profile, beside a profile whose workers never were there
    scene.publisher.declare(["slow"])
    scene.declared.clear()
    for _ in range(2):
        scene.retry()
    assert scene.declared == ["fast", "ways to sms.fast", "ways to sms.fast.urgent"]


def test_ways_that_could_not_be_made_are_tried_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.fail(NotFound("no exchange"))

    def gone(*_: Any) -> None:
        raise ConnectionResetError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "declare_queues", gone)
        with pytest.raises(BrokerUnavailableError):
            scene.publish()
    scene.publish()
    assert scene.declared == ["fast", "ways to sms.fast", "ways to sms.fast.urgent"]


def test_other_errors_make_nothing_anew(scene: Scene) -> None:
    scene.fail(OperationalError("gone"))
    scene.fail(not_confirmed())
    scene.publish()
    assert (scene.declared, scene.deleted) == ([], [])


def test_a_queue_in_name_only_is_told_once_publishes_are_not_confirmed(scene: Scene) -> None:
    scene.dead = {"sms.fast"}
    scene.fail(not_confirmed(), times=2)
    # And it stays so until somebody mends it
    for _ in range(2):
        with pytest.raises(BrokerUnavailableError, match=r"queue sms\.fast exists in name only"):
            scene.publish()
    assert (len(scene.options), scene.deleted) == (2, [])
    scene.dead.clear()
    scene.publish()
    assert len(scene.options) == 3


def test_a_waiting_room_in_name_only_is_told(scene: Scene) -> None:
    room = topology.delay_exchange(5).name
    scene.dead = {room}
    scene.fail(not_confirmed(), times=2)
    with pytest.raises(BrokerUnavailableError, match=f"queue {room} exists in name only"):
        scene.retry(delay=5)


def test_publishes_that_are_confirmed_in_between_are_no_reason_to_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "name_only", lambda *_: pytest.fail("looked"))
    for _ in range(3):
        scene.fail(not_confirmed())
        scene.publish()


def test_mending_deletes_what_does_not_answer_and_declares_all(scene: Scene) -> None:
    scene.dead = {"sms.slow", "sms.dead", topology.DELAY_QUEUES[3], "somebody else's"}
    mended = scene.publisher.mend(name for name in ["fast", "slow"])
    assert mended == scene.deleted == ["sms.slow", "sms.dead", topology.DELAY_QUEUES[3]]
    assert scene.declared == [
        "fast",
        "slow",
        *(f"ways to {name}" for name in topology.queue_names(["fast", "slow"])),
    ]


@pytest.mark.parametrize(
    ("url", "queue_type"), [(AMQP_URL, "classic"), ("memory://localhost", "quorum")]
)
def test_only_quorum_queues_can_exist_in_name_only(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, url: str, queue_type: str
) -> None:
    monkeypatch.setattr(mending, "name_only", lambda *_: pytest.fail("looked"))
    assert Publisher(url, queue_type).mend(["fast"]) == []
    assert scene.declared == ["fast"]


def test_a_broker_that_goes_away_while_it_is_mended_says_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> None:
        raise ConnectionResetError("gone")

    scene.dead = {"sms.fast"}
    monkeypatch.setattr(mending, "delete", gone)
    with pytest.raises(BrokerUnavailableError, match="the queues can't be mended: gone"):
        scene.publisher.mend(["fast"])
    monkeypatch.setattr(mending, "name_only", gone)
    with pytest.raises(BrokerUnavailableError, match="the queues can't be read: gone"):
        scene.publisher.mend(["fast"])


@pytest.mark.parametrize("refusal", [AccessRefused, PreconditionFailed])
def test_a_refusal_of_the_broker_is_told_from_its_absence(
    monkeypatch: pytest.MonkeyPatch, refusal: type[ChannelError]
) -> None:
    def refuse(*_: Any) -> None:
        raise refusal("no")

    monkeypatch.setattr(publishing, "declare_queues", refuse)
    with pytest.raises(BrokerRefusedError):
        Publisher(AMQP_URL, "quorum").declare(["fast"])


@pytest.mark.parametrize(("error", "answers"), [(None, True), (not_confirmed(), False)])
def test_broker_answers_if_it_confirms(
    scene: Scene, error: Exception | None, answers: bool
) -> None:
    scene.errors += [error] if error else []
    assert scene.publisher.answers() is answers
    assert scene.options[0]["confirm_timeout"]
    assert not scene.options[0].get("mandatory")
