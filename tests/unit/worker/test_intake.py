"""A worker takes no batches while its ledger is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from sms_pipeline.broker.topology import profile_queue
from sms_pipeline.worker import pipeline
from sms_pipeline.worker.intake import AWAY_SECONDS, LOOK_SECONDS, FollowLedger, Intake


class Consumer:
    """A `prefetch.QueueConsumer`: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.limits: dict[str, int] = {}

    def cancel(self) -> None:
        self.told.append("cancel")

    def consume(self) -> None:
        self.told.append("consume")

    def add_queue(self, queue: Any) -> None:
        self.told.append(f"add {queue.name}")

    def cancel_by_queue(self, name: str) -> None:
        self.told.append(f"cancel {name}")


def test_ledger_that_is_away_pauses_once_and_one_that_is_back_lets_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    following, consumer = Intake(), Consumer()
    for silence in (0.0, AWAY_SECONDS, AWAY_SECONDS + 1, 60.0):
        following.follow(consumer, silence)
    assert consumer.told == ["cancel"]
    for silence in (AWAY_SECONDS, 0.0, 0.0):
        following.follow(consumer, silence)
    assert consumer.told == ["cancel", "consume"]
    assert [record.getMessage() for record in caplog.records] == [
        "the ledger has not answered for 6 s; no more batches are taken until it does",
        "the ledger answers again; batches are taken again",
    ]


def test_consumer_of_a_new_connection_is_paused_as_well_and_only_it_goes_on() -> None:
    following, old, new = Intake(), Consumer(), Consumer()
    following.follow(old, 60.0)
    following.follow(new, 60.0)
    following.follow(new, 0.0)
    assert (old.told, new.told) == (["cancel"], ["cancel", "consume"])


def test_worker_that_shuts_down_does_not_begin_again() -> None:
    following, consumer = Intake(), Consumer()
    following.follow(consumer, 60.0)
    following.follow(consumer, 0.0, stopping=True)
    assert consumer.told == ["cancel"]


class Loop:
    """Celery's main loop, in a worker whose ledger answers."""

    def __init__(self, wanted: Mapping[str, int] | None = None) -> None:
        """`wanted`: of which queues it takes over how much; None: it takes over nothing."""
        self.silence = 0.0
        self.stopping = threading.Event()
        self.worker = SimpleNamespace(
            ledger_silence=lambda: self.silence,
            stopping=self.stopping,
            takeover=None if wanted is None else SimpleNamespace(wanted=wanted),
        )
        self.publisher = SimpleNamespace(queues_of=lambda name: [profile_queue(name, "quorum")])
        self.consumer: Any = SimpleNamespace(task_consumer=Consumer(), steps=[])
        self.seconds: float | None = None
        self._look: Callable[[], None]

    def begin(self) -> None:
        """Let the consumer of a connection begin."""
        FollowLedger(self.consumer).register_with_event_loop(self.consumer, self)

    def call_repeatedly(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        """See `kombu.asynchronous.Hub`."""
        self.seconds, self._look = seconds, partial(call, *arguments)

    def come_round(self, silence: float) -> list[str]:
        """What the consumer is told when the ledger has not answered for so long."""
        self.silence = silence
        self.consumer.task_consumer.told.clear()
        self._look()
        return list(self.consumer.task_consumer.told)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loop]:
    """A loop that has begun."""

    def begin(wanted: Mapping[str, int] | None = None) -> Loop:
        monkeypatch.setattr(pipeline, "_installed", [loop := Loop(wanted)])
        loop.begin()
        return loop

    return begin


@pytest.mark.parametrize("wanted", [None, {}])
def test_main_loop_looks_at_the_ledger_every_second(
    begun: Callable[..., Loop], wanted: Mapping[str, int] | None
) -> None:
    loop = begun(wanted)
    assert loop.seconds == LOOK_SECONDS
    assert [loop.come_round(silence) for silence in (0.0, 60.0, 60.0, 0.0)] == [
        [], ["cancel"], [], ["consume"],
    ]  # fmt: skip


def test_queues_that_are_taken_over_are_given_up_while_the_ledger_is_away(
    begun: Callable[..., Loop],
) -> None:
    loop = begun({"slow": 3})
    taken = ["add sms.slow", "consume"]
    assert loop.come_round(0.0) == taken
    assert loop.come_round(60.0) == ["cancel", "cancel sms.slow"]
    assert loop.come_round(0.0) == ["consume", *taken]


@pytest.mark.parametrize("before", [[], [60.0]], ids=["there", "away"])
def test_worker_that_shuts_down_begins_with_no_queue(
    begun: Callable[..., Loop], before: list[float]
) -> None:
    # Given a worker whose ledger was there, or away, when it was told to stop
    loop = begun({"slow": 3})
    for silence in before:
        loop.come_round(silence)
    loop.stopping.set()
    assert loop.come_round(0.0) == []
