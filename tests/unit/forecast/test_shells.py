"""Both shells drive the same protocols: what one run comes to does not depend on which."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import Any

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.records import Key, Run
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.steps import drive
from sms_pipeline.forecast.agenda import EPOCH, Agenda
from sms_pipeline.forecast.broker import Broker
from sms_pipeline.forecast.costs import COSTS, Processor
from sms_pipeline.forecast.producers import VirtualProducer
from sms_pipeline.forecast.standing import MemoryBooks
from sms_pipeline.forecast.workers import VirtualWorker
from sms_pipeline.forecast.world import World
from sms_pipeline.producer.load import Loads
from sms_pipeline.producer.producer import Producer
from sms_pipeline.testing import InMemoryBroker, ManualClock, memory_ledger
from sms_pipeline.worker.delivery import Delivery, Publish, Settle
from sms_pipeline.worker.process import Worker
from tests.unit import make

#: Half of the attempts fail, and nothing takes time: a `ManualClock` moves for nobody.
SIMULATION = Simulation(
    num_messages=500,
    senders=(make.profile("a", mean_time=0, failure_rate=0.5), make.profile("b", mean_time=0)),
    retry=RetryPolicy(max_attempts=3, backoff=2, jitter=0),
    routing="static",
)
SEED = 7

#: What a delivery asked for, in order, by the key of its batch.
Events = dict[Key, list[tuple[Any, ...]]]


def timeless(effect: Any) -> tuple[Any, ...]:
    """An effect without what depends on clocks and on who performed it."""
    match effect:
        case Settle(settlement):
            still = replace(
                settlement,
                worker="",
                settled_at=0.0,
                delivery_seconds=0.0,
                transit_seconds=0.0,
                longest_delivery=0.0,
                delivery_times={},
            )
            return ("Settle", still)
        case Publish(batch, delay):
            return ("Publish", batch.key, batch.offsets, delay)
    return (type(effect).__name__,)


def in_real_shell() -> Events:
    clock = ManualClock()
    ledger, broker = memory_ledger(clock), InMemoryBroker(clock)
    run = ledger.start_run(SIMULATION, SEED)
    Producer(ledger, broker.publish, run, Loads(SIMULATION), clock=clock).dispatch()
    worker = Worker(ledger, SIMULATION.senders, clock=clock)
    events: Events = defaultdict(list)

    def perform(batch: Batch, effect: Any) -> Any:
        events[batch.key].append(timeless(effect))
        if isinstance(effect, Publish):
            return broker.publish(effect.batch, effect.delay)
        return worker.perform(effect)

    worker.start()
    while (due := broker.next_due()) is not None:
        clock.advance(max(due - clock.monotonic(), 0.0))
        if (batch := broker.receive()) is not None:
            drive(worker.deliver(batch, queued=True), partial(perform, batch))
    worker.stop()
    assert ledger.snapshot(run).done
    return events


class Witness(VirtualWorker):
    """Notes what deliveries ask for."""

    def __init__(self, events: Events, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._events = events

    def steps(self, batch: Batch) -> Delivery:
        steps = super().steps(batch)
        effect = next(steps)
        while True:
            self._events[batch.key].append(timeless(effect))
            answer = yield effect
            try:
                effect = steps.send(answer)
            except StopIteration as end:
                return end.value


def in_simulated_shell() -> Events:
    agenda, events = Agenda(), Events()
    events = defaultdict(list)
    run = Run(1, EPOCH, SEED, SIMULATION.num_messages, SIMULATION)
    names = [profile.name for profile in SIMULATION.senders]
    books = MemoryBooks(run, {"w": SIMULATION.senders}, agenda)
    world = World(run, agenda, Broker(agenda), books, dict.fromkeys(names, COSTS), 0.02)
    processor = Processor(agenda)
    Witness(events, "w", SIMULATION.senders, 10, processor, world)
    VirtualProducer(Loads(SIMULATION), processor, world).begin()
    agenda.run(lambda: books.snapshot(run).done)
    assert books.snapshot(run).done
    return events


def test_every_delivery_asks_for_the_same_in_both_shells() -> None:
    real, simulated = in_real_shell(), in_simulated_shell()
    assert any(attempt == 2 for *_, attempt in real)
    assert simulated == real
