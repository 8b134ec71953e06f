"""A worker process on virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import SimulatedGateway
from sms_pipeline.core.playing import came_to, terms_of
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Settlement
from sms_pipeline.core.submission import Finished
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.costs import Processor
from sms_pipeline.forecast.part_draws import parts_in
from sms_pipeline.forecast.senders import Senders
from sms_pipeline.forecast.shell import Driven
from sms_pipeline.forecast.world import World
from sms_pipeline.worker.delivery import (
    Delivery,
    Effect,
    Note,
    Play,
    Played,
    Publish,
    ReadStanding,
    Settle,
    closed_for,
    deliver,
)

_Delivery = Driven[Effect, str | None]


class VirtualWorker:
    """Takes batches from the broker, and performs what a delivery asks for."""

    def __init__(
        self,
        name: str,
        profiles: Sequence[SenderProfile],
        threads: int,
        processor: Processor,
        world: World,
    ) -> None:
        """
        Args:
            name: tells it from other workers.
            profiles: what it plays.
            threads: batches that it takes in hand.
            processor: does its work.
            world: all else.
        """
        self.id = name
        self._threads = threads
        self._processor = processor
        self._world = world
        self._in_hand = 0
        self._profiles = {profile.name: profile for profile in profiles}
        parts = parts_in(world.run.simulation)
        self._gateways = {profile.name: SimulatedGateway(profile, parts) for profile in profiles}
        self._senders = Senders(world.agenda, profiles, world.stride)
        for profile in profiles:
            world.broker.subscribe(profile.name, self)

    @property
    def has_room(self) -> bool:
        """See `Consumer.has_room`."""
        return self._in_hand < self._threads

    def receive(self, batch: Batch) -> None:
        """See `Consumer.receive`."""
        self._in_hand += 1
        agenda, costs = self._world.agenda, self._world.costs[batch.profile]
        delivery: _Delivery = Driven(self.steps(batch), self._perform, self._acknowledge)
        ready = self._processor.take(costs.play_batch + costs.play_message * batch.count)
        agenda.at(ready + costs.deliver, delivery.begin)

    def steps(self, batch: Batch) -> Delivery:
        """What to do with a batch."""
        return deliver(batch, self.id, self._world.agenda)

    def _acknowledge(self, _result: str | None) -> None:
        self._in_hand -= 1
        self._world.broker.acknowledged()

    def _perform(self, effect: Effect, delivery: _Delivery) -> None:
        match effect:
            case ReadStanding(batch):
                delivery.answer(self._world.books.standing(batch.key))
            case Play(batch, give_up_at, _, closes_at):
                self._play(batch, give_up_at, closes_at, delivery.answer)
            case Settle(settlement):
                self._settle(settlement, delivery.answer)
            case Publish(batch, delay):
                self._publish(batch, delay, delivery.answer)
            case Note():
                delivery.answer()

    def _play(
        self, batch: Batch, give_up_at: float, closes_at: float, answer: Callable[[Played], None]
    ) -> None:
        outcomes = self._gateways[batch.profile].attempt(batch)
        terms = terms_of(batch, self._profiles[batch.profile], outcomes, EPOCH)
        give_up_at, closes_at = give_up_at - EPOCH, closes_at - EPOCH

        def ended(finished: Finished) -> None:
            came = came_to(batch, outcomes, terms, finished, EPOCH, give_up_at, closes_at)
            later = self._world.slower.get(batch.profile, 0.0)
            self._world.agenda.after(later, lambda: answer(Played(*came)))

        self._senders.play(
            batch.profile, outcomes.durations, min(give_up_at, closes_at), ended, terms
        )

    def _settle(self, settlement: Settlement, answer: Callable[[object], None]) -> None:
        def commit() -> None:
            (settled,) = self._world.books.settle([settlement])
            self._world.settled(settlement)
            answer(settled)

        self._world.agenda.after(self._world.costs[settlement.profile].settle, commit)

    def _publish(self, batch: Batch, delay: int, answer: Callable[[], None]) -> None:
        costs = self._world.costs[batch.profile]
        sent = self._processor.take(costs.retry_batch)
        comes = sent + delay + costs.retry
        # Workers put it back again and again until its hours begin.
        comes += closed_for(batch, EPOCH + comes)
        self._world.broker.publish(batch, comes)
        self._world.agenda.at(sent + costs.publish, answer)
