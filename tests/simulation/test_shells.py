"""The simulated run and the real shells ask for the same effects on the same small run.

The simulation runs the code of the real shells, with other threads, another broker and another
clock below it. Here these are held against the real ones: threads that play and commit, the fake
broker of `sms_pipeline.testing`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from celery.exceptions import Reject

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.records import Key
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.producer import Producer
from sms_pipeline.testing import InMemoryBroker, ManualClock, memory_ledger
from sms_pipeline.worker import pipeline, process
from sms_pipeline.worker.delivery import Note, Publish, Settle
from sms_pipeline.worker.pipeline import Pipeline
from sms_pipeline.worker.process import Worker
from tests.simulation.broker import Message
from tests.simulation.setting import PROFILES, Setting
from tests.simulation.worker import OwnGateway, WorkerProcess, run_send_sms
from tests.simulation.world import World, virtual
from tests.unit import make

SEED = 3
SIMULATION = Simulation(
    num_messages=120,
    senders=(make.profile("a", mean_time=0, failure_rate=0.5), make.profile("b", mean_time=0)),
    batch_size=15,
    retry=RetryPolicy(max_attempts=3, backoff=2, jitter=0),
    routing="static",
)
CALM = Setting(
    simulation=SIMULATION,
    workers=PROFILES,
    hosts=("h0", "h0"),
    prefetch=3,
    rate=0.0,
    kinds=frozenset(),
    disturbances=(),
    delivery_limit=1_000,
    group=100,
    heartbeat=60.0,
    resume_waits=False,
    comes_back=False,
)
FOREIGN = "elsewhere"

#: What deliveries asked for, and what became of the message, in order, by what was delivered.
Events = dict[Key | str, list[Any]]


def every_second(batch: Batch) -> Outcomes:
    """Of the first attempt half is delivered, of the second a quarter, whoever sends it."""
    return Outcomes(np.zeros(batch.count), batch.positions() % 2 ** (batch.attempt + 1) == 0)


class EverySecond:
    """A gateway of which nothing is left to chance."""

    def __init__(self, _profile: object) -> None:
        pass

    def attempt(self, batch: Batch) -> Outcomes:
        return every_second(batch)


def timeless(effect: Any) -> Any:
    """An effect without what depends on clocks, and on who performed it."""
    match effect:
        case Settle(settlement):
            return replace(
                settlement,
                worker="",
                settled_at=0.0,
                delivery_seconds=0.0,
                transit_seconds=0.0,
                longest_delivery=0.0,
                delivery_times={},
            )
        case Publish(batch, delay):
            return "publish", batch.key, batch.offsets, delay
        case Note(kind, batch):
            return kind, batch.key
    return type(effect).__name__


@contextmanager
def witnessed() -> Iterator[Events]:
    """All that deliveries ask for, whichever shell performs it."""
    events: Events = defaultdict(list)
    deliver = process.deliver

    def seen(batch: Batch, *arguments: Any) -> Generator[Any, Any, str | None]:
        steps, answer = deliver(batch, *arguments), None
        while True:
            try:
                effect = steps.send(answer)
            except StopIteration as end:
                told: str | None = end.value
                return told
            events[batch.key].append(timeless(effect))
            answer = yield effect

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "deliver", seen)
        yield events


def fate_of(body: Any, run: Callable[[], Any], events: Events) -> Reject | None:
    """Note what becomes of a message."""
    rejection = None
    try:
        told = run()
    except Reject as error:
        rejection, told = error, f"{error.reason}, {'back' if error.requeue else 'aside'}"
    is_ours = isinstance(body, dict) and "number" in body and body["ledger"] != FOREIGN
    events[(body["run"], body["number"], body["attempt"]) if is_ours else repr(body)].append(told)
    return rejection


def beside(ledger: str, run: int) -> list[tuple[str, Any]]:
    """Messages that come beside the run's own: (queue, body)."""
    foreign = make.batch(15, ledger=FOREIGN, run=run, profile="a")
    unrecorded = make.batch(15, ledger=ledger, run=run, number=99, profile="a")
    stale = make.batch(15, ledger=ledger, run=run, number=0, profile="a", queued_at=EPOCH)
    batches = [("a", one.to_wire()) for one in (foreign, unrecorded, stale)]
    return [("a", None), ("b", {"text": "x"}), ("b", 5), *batches]


def in_real_shells() -> Events:
    clock = ManualClock(wall=EPOCH)
    ledger, broker = memory_ledger(clock), InMemoryBroker(clock)
    run = ledger.start_run(SIMULATION, SEED)
    Producer(ledger, broker.publish, run, Loads(SIMULATION), clock=clock).dispatch()
    worker = Worker(ledger, SIMULATION.senders, EverySecond, clock=clock)

    def retry(_task: object, batch: Batch, delay: int) -> None:
        broker.publish(batch, delay)

    def receive(body: Any, returns: int = 0) -> None:
        request = SimpleNamespace(delivery_info={"redelivered": returns > 0}, is_eager=False)
        vars(request)["x-delivery-count"] = returns
        rejection = fate_of(
            body, lambda: run_send_sms(SimpleNamespace(request=request), body), events
        )
        if rejection and rejection.requeue:
            receive(body, returns + 1)

    before = pipeline.installed()
    pipeline.install(Pipeline(worker, SimpleNamespace(retry=retry)))  # type: ignore[arg-type]
    worker.start()
    try:
        with witnessed() as events:
            while (due := broker.next_due()) is not None:
                clock.advance(max(due - clock.monotonic(), 0.0))
                if (batch := broker.receive()) is not None:
                    receive(batch.to_wire())
            assert ledger.snapshot(run).done
            for _, body in beside(ledger.id, run.id):
                receive(body)
    finally:
        worker.stop()
        pipeline.restore(before)
    return events


def in_simulation(monkeypatch: pytest.MonkeyPatch) -> Events:
    run_task = WorkerProcess.run_task

    def noted(self: WorkerProcess, tag: int, bound: Any, body: Any) -> None:
        if rejection := fate_of(body, lambda: run_task(self, tag, bound, body), events):
            raise rejection

    monkeypatch.setattr(OwnGateway, "draw", lambda _gateway, batch: every_second(batch))
    monkeypatch.setattr(WorkerProcess, "run_task", noted)
    with witnessed() as events, virtual(SEED, CALM):
        world = World(SEED, CALM)
        world.play()
        assert world.own.snapshot(world.run).done
        for profile, body in beside(world.own.id, world.run.id):
            world.broker.put(Message(profile, body))
        world.settle_down()
        world.hub.close()
    assert not world.hub.crashes
    return events


def test_every_delivery_asks_for_the_same_and_ends_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = in_real_shells()
    simulated = in_simulation(monkeypatch)
    assert any(key[2] == 2 for key in real if isinstance(key, tuple))
    assert len(real[repr(None)]) == 1
    assert simulated == real
