"""A worker takes no batches while its ledger is away."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sms_pipeline.worker import pipeline
from sms_pipeline.worker.intake import AWAY_SECONDS, LOOK_SECONDS, FollowLedger, Intake


class Consumer:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def cancel(self) -> None:
        self.told.append("cancel")

    def consume(self) -> None:
        self.told.append("consume")


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


def test_main_loop_looks_at_the_ledger_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a worker whose ledger is away
    worker: Any = SimpleNamespace(
        ledger_silence=lambda: 60.0,
        stopping=SimpleNamespace(is_set=lambda: False),
        takeover=None,
    )
    installed = SimpleNamespace(worker=worker, publisher=SimpleNamespace(queues_of=None))
    monkeypatch.setattr(pipeline, "_installed", [installed])
    calls: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []
    hub: Any = SimpleNamespace(
        call_repeatedly=lambda seconds, call, *arguments: calls.append((seconds, call, arguments))
    )
    consumer: Any = SimpleNamespace(task_consumer=Consumer(), steps=[])

    # When its loop begins and comes round
    FollowLedger(consumer).register_with_event_loop(consumer, hub)
    ((seconds, look, arguments),) = calls
    look(*arguments)

    # Then nothing more is taken
    assert seconds == LOOK_SECONDS
    assert consumer.task_consumer.told == ["cancel"]
