"""The models below a simulated run: threads, broker, ledger."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest

from sms_pipeline.core.errors import BrokerUnavailableError, LedgerUnavailableError
from sms_pipeline.ledger.store import Ledger
from tests.simulation import hub as hubs
from tests.simulation.broker import Broker, Connection, Message
from tests.simulation.chance import Chance, Fault
from tests.simulation.database import database, unavailable
from tests.simulation.hub import Died, Flag, Future, Hub, Inbox, Process
from tests.unit import make


@pytest.fixture
def hub() -> Hub:
    return Hub()


def run(hub: Hub) -> None:
    """Until nothing is left to do."""
    hub.agenda.run(lambda: False)
    assert hub.crashes == []


# Threads


def test_threads_take_turns_in_virtual_time(hub: Hub) -> None:
    process, said = Process(hub, "p"), list[tuple[str, float]]()

    def work(name: str, seconds: float) -> None:
        for _ in range(2):
            hubs.sleep(seconds)
            said.append((name, hub.now))

    process.start(lambda: work("slow", 3.0))
    process.start(lambda: work("fast", 2.0))
    run(hub)
    assert said == [("fast", 2.0), ("slow", 3.0), ("fast", 4.0), ("slow", 6.0)]


@pytest.mark.parametrize("wait", [lambda: hubs.sleep(9), Future().result, Flag().wait])
def test_killed_process_does_nothing_more(hub: Hub, wait: Callable[[], Any]) -> None:
    process, ended = Process(hub, "p"), list[type[BaseException]]()

    def work() -> None:
        try:
            wait()
        except BaseException as error:
            ended.append(type(error))
            raise

    process.start(work)
    hub.agenda.after(1.0, process.kill)
    run(hub)
    assert ended == [Died]
    assert not process.busy


def test_waits_end_with_an_answer_or_when_their_time_is_up(hub: Hub) -> None:
    process, flag, inbox, future = Process(hub, "p"), Flag(), Inbox(), Future()
    seen = list[Any]()

    def work() -> None:
        seen.append((flag.wait(1.0), hub.now))
        with pytest.raises(queue.Empty):
            inbox.get(1.0)
        seen.append((inbox.get(9.0), hub.now))
        seen.append((future.result(), hub.now))
        seen.append((flag.wait(9.0), hub.now))

    process.start(work)
    hub.agenda.at(3.0, lambda: inbox.put("letter"))
    hub.agenda.at(4.0, lambda: future.set_result("answer"))
    hub.agenda.at(5.0, flag.set)
    run(hub)
    assert seen == [(False, 1.0), ("letter", 3.0), ("answer", 4.0), (True, 5.0)]


def test_what_nobody_expects_is_kept_but_ctrl_c_is_let_through(hub: Hub) -> None:
    def fail(error: type[BaseException]) -> None:
        raise error

    process = Process(hub, "p")
    process.start(lambda: fail(ZeroDivisionError))
    hub.agenda.run(lambda: False)
    assert [name for name, _ in hub.crashes] == ["p"]
    process.start(lambda: fail(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        hub.agenda.run(lambda: False)


# RabbitMQ


class Consumer(Process):
    """Takes what comes, and keeps it until it is told to acknowledge."""

    profile, is_foreign = "a", False

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub, "consumer")
        self.process = self
        self.taken: list[tuple[int, Message]] = []

    def receive(self, tag: int, message: Message) -> None:
        self.taken.append((tag, message))


class Stage:
    """A broker with one consumer."""

    def __init__(self, hub: Hub, *kinds: Fault, prefetch: int = 2, limit: int = 9) -> None:
        self.hub = hub
        self.chance = Chance(1)
        self.chance.rate, self.chance.kinds = float(bool(kinds)), frozenset(kinds)
        self.broker = Broker(hub, self.chance, ("a",), limit)
        self.consumer = Consumer(hub)
        self.connection: Connection = self.broker.connect(self.consumer, prefetch)
        self.refused = 0

    def publish(self, *numbers: int, delay: float = 0.0) -> None:
        producer = Process(self.hub, "producer")

        def work() -> None:
            for number in numbers:
                try:
                    message = Message("a", {"attempt": 0}, number)
                    self.broker.publish(producer, "publish", message, delay)
                except BrokerUnavailableError:
                    self.refused += 1

        producer.start(work)
        run(self.hub)

    def in_consumer(self, work: Callable[[], None]) -> None:
        self.consumer.start(work)
        run(self.hub)

    @property
    def numbers(self) -> list[int | None]:
        return [message.batch for _, message in self.consumer.taken]


def test_no_more_is_delivered_than_the_prefetch_allows(hub: Hub) -> None:
    stage = Stage(hub)
    stage.publish(1, 2, 3)
    assert stage.numbers == [1, 2]
    stage.in_consumer(lambda: stage.broker.acknowledge(stage.connection, 0))
    assert stage.numbers == [1, 2, 3]


def test_what_a_dead_connection_held_comes_again_and_late_acknowledgements_count_for_nothing(
    hub: Hub,
) -> None:
    stage = Stage(hub)
    stage.publish(1)
    stage.broker.cut(stage.connection)
    run(hub)
    assert [(message.batch, message.returns) for _, message in stage.consumer.taken] == [
        (1, 0),
        (1, 1),
    ]
    stage.in_consumer(lambda: stage.broker.acknowledge(stage.connection, 0))
    assert not stage.broker.empty
    stage.in_consumer(lambda: stage.broker.acknowledge(stage.connection, 1))
    assert stage.broker.empty


def test_delayed_message_comes_when_its_time_has_come(hub: Hub) -> None:
    stage = Stage(hub)
    stage.publish(1, delay=5.0)
    assert stage.numbers == [1]
    assert hub.now >= 5.0


@pytest.mark.parametrize(
    ("fault", "refused", "delivered"),
    [
        (Fault.REFUSED, 1, []),
        (Fault.CONFIRM_LOST, 1, [1]),
        (Fault.DIES_DURING, 0, []),
        (Fault.DIES_DONE, 0, [1]),
        (Fault.TWICE, 0, [1, 1]),
    ],
)
def test_publish_that_goes_wrong(
    hub: Hub, fault: Fault, refused: int, delivered: list[int]
) -> None:
    stage = Stage(hub, fault)
    stage.publish(1)
    assert (stage.refused, stage.numbers[: len(delivered)]) == (refused, delivered)


def test_message_that_comes_back_too_often_is_a_dead_letter(hub: Hub) -> None:
    stage = Stage(hub, limit=1)
    stage.publish(1)
    for _ in range(2):
        stage.broker.cut(stage.connection)
        run(hub)
    assert [message.batch for message in stage.broker.dead] == [1]
    assert stage.broker.missing == {1}


def test_lost_queue_is_empty_and_what_was_in_it_is_known(hub: Hub) -> None:
    stage = Stage(hub, prefetch=1)
    stage.publish(1, 2)
    stage.broker.lose_queue("a")
    run(hub)
    assert stage.broker.empty
    assert stage.broker.missing == {1, 2}


# The ledger


@pytest.fixture
def ledger() -> Ledger:
    database().clear()
    hub = Hub()
    ledger = database().open(Process(hub, "p").clock)
    made = ledger.start_run(make.simulation(num_messages=100), seed=7)
    assert made.id == 1
    return ledger


def fail() -> None:
    raise unavailable()


@pytest.mark.parametrize(
    ("trap", "is_done"),
    [
        (lambda: database().fail_at_statement(0), False),
        (lambda: database().fail_at_statement(3), False),
        (lambda: database().fail_at_commit(fail), False),
        (lambda: database().fail_after_commit(fail), True),
    ],
)
def test_transaction_that_fails_is_rolled_back_or_done(
    ledger: Ledger, trap: Callable[[], None], is_done: bool
) -> None:
    # Given a transaction whose outcome its caller is not told
    trap()
    with pytest.raises(LedgerUnavailableError):
        ledger.record_batches(1, [make.row(1)])
    database().disarm()
    assert len(ledger.unsettled(1)) == is_done
    # When it is made again, then it is done once
    assert ledger.record_batches(1, [make.row(1)])
    assert len(ledger.unsettled(1)) == 1


def test_each_run_begins_with_an_empty_ledger(ledger: Ledger) -> None:
    database().clear()
    assert ledger.latest_run_id() is None
