"""The model of RabbitMQ."""

from __future__ import annotations

from sms_pipeline.core.batch import Batch
from sms_pipeline.forecast.agenda import Agenda
from sms_pipeline.forecast.broker import Broker
from tests.unit import make


class Hands:
    """A consumer that takes so many batches."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held: list[int] = []

    @property
    def has_room(self) -> bool:
        return len(self.held) < self.limit

    def receive(self, batch: Batch) -> None:
        self.held.append(batch.number)


def published(agenda: Agenda, broker: Broker, *moments: float, profile: str = "fast") -> None:
    for number, moment in enumerate(moments):
        broker.publish(make.batch(number=number, profile=profile), moment)
    agenda.run(lambda: False)


def test_first_in_first_out_as_far_as_there_is_room() -> None:
    agenda, hands = Agenda(), Hands(2)
    broker = Broker(agenda)
    broker.subscribe("fast", hands)
    published(agenda, broker, 3.0, 1.0, 2.0)
    assert hands.held == [1, 2]
    hands.held.clear()
    broker.acknowledged()
    assert hands.held == [0]


def test_consumers_of_a_profile_take_turns() -> None:
    agenda, one, other = Agenda(), Hands(9), Hands(1)
    broker = Broker(agenda)
    broker.subscribe("fast", one)
    broker.subscribe("fast", other)
    published(agenda, broker, 1.0, 2.0, 3.0, 4.0)
    assert len(other.held) == 1
    assert sorted(one.held + other.held) == [0, 1, 2, 3]


def test_profiles_have_lines_of_their_own() -> None:
    agenda, fast, slow = Agenda(), Hands(0), Hands(9)
    broker = Broker(agenda)
    broker.subscribe("fast", fast)
    broker.subscribe("slow", slow)
    published(agenda, broker, 1.0)
    published(agenda, broker, 2.0, profile="slow")
    assert (fast.held, slow.held) == ([], [0])


def test_who_consumes_several_lines_is_given_of_each_in_turn() -> None:
    agenda, hands, given = Agenda(), Hands(1), list[int]()
    broker = Broker(agenda)
    broker.subscribe("fast", hands)
    broker.subscribe("slow", hands)
    for number, profile in enumerate(["fast", "fast", "fast", "slow", "slow"]):
        broker.publish(make.batch(number=number, profile=profile), 1.0)
    agenda.run(lambda: False)
    while hands.held:
        given.append(hands.held.pop())
        broker.acknowledged()
    assert given == [0, 3, 1, 4, 2]
