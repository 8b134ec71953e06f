"""Which queues exist in name only: those that report nothing and do not answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import AccessRefused, ChannelError, InternalError, NotFound
from kombu import Connection

from sms_pipeline.broker import mending
from sms_pipeline.broker.mending import ANSWER_SECONDS, DELETION_SECONDS, delete, name_only


class Broker:
    """Channels to a broker with queues: (messages, consumers, what consuming comes to)."""

    def __init__(self) -> None:
        self.queues: dict[str, tuple[int, int, Exception | None]] = {}
        self.opened: list[dict[str, Any]] = []
        self.dropped = 0
        self.consumed: list[str] = []
        self.deleted: list[str] = []

    def clone(self, **options: Any) -> Any:
        self.opened.append(options)
        return SimpleNamespace(
            channel=lambda: self, collect=self._drop, channel_errors=(ChannelError,)
        )

    def _drop(self) -> None:
        self.dropped += 1

    def queue_declare(self, queue: str, passive: bool) -> Any:
        assert passive
        if queue not in self.queues:
            raise NotFound(queue)
        messages, consumers, _ = self.queues[queue]
        return SimpleNamespace(queue=queue, message_count=messages, consumer_count=consumers)

    def basic_consume(self, queue: str, arguments: dict[str, Any]) -> str:
        assert arguments["x-priority"] < 0
        self.consumed.append(queue)
        if error := self.queues[queue][2]:
            raise error
        return f"tag of {queue}"

    def basic_cancel(self, tag: str, nowait: bool) -> None:
        assert nowait
        self.consumed.remove(tag.removeprefix("tag of "))

    def queue_delete(self, queue: str) -> None:
        self.deleted.append(queue)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(mending.Connection, "clone", made.clone)
    return made


CONNECTION = Connection("amqp://host")


def test_only_a_queue_that_does_not_answer_exists_in_name_only(broker: Broker) -> None:
    broker.queues = {
        "dead": (0, 0, TimeoutError()),
        "gives up": (0, 0, InternalError()),
        "empty": (0, 0, None),
        "full": (3, 0, TimeoutError()),
        "busy": (0, 2, TimeoutError()),
        "not ours": (0, 0, AccessRefused("no")),
    }
    assert name_only(CONNECTION, ["missing", *broker.queues]) == ["dead", "gives up"]
    # One with messages is not consumed from: it would have to take them back. And nobody stays
    assert sorted(broker.consumed) == ["dead", "gives up", "not ours"]


def test_no_wait_for_a_queue_is_endless_and_no_connection_stays(broker: Broker) -> None:
    broker.queues = {"dead": (0, 0, TimeoutError())}
    name_only(CONNECTION, ["dead"])
    delete(CONNECTION, ["dead"])
    assert broker.opened == [
        {"transport_options": {"read_timeout": seconds}}
        for seconds in (ANSWER_SECONDS, DELETION_SECONDS)
    ]
    assert broker.dropped == 2
    assert broker.deleted == ["dead"]


def test_a_broker_that_goes_away_is_an_error(broker: Broker) -> None:
    broker.queues = {"gone": (0, 0, ConnectionResetError("gone"))}
    with pytest.raises(ConnectionResetError):
        name_only(CONNECTION, ["gone"])
    assert broker.dropped == 1
