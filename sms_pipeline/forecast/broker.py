"""A model of RabbitMQ: a line for each profile, delays in whole seconds, a prefetch limit."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from sms_pipeline.core.batch import Batch
from sms_pipeline.forecast.agenda import Agenda


class Consumer(Protocol):
    """Who receives batches."""

    @property
    def has_room(self) -> bool:
        """Whether it holds fewer batches than its prefetch limit."""

    def receive(self, batch: Batch) -> None:
        """Take a batch in hand."""


class Broker:
    """First in, first out for each profile; consumers of one profile take turns.

    So do the profiles of one consumer.
    """

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self._lines: dict[str, deque[Batch]] = {}
        self._consumers: dict[str, deque[Consumer]] = {}

    def subscribe(self, profile: str, consumer: Consumer) -> None:
        """Let `consumer` have what is published for `profile`."""
        self._lines.setdefault(profile, deque())
        self._consumers.setdefault(profile, deque()).append(consumer)

    def publish(self, batch: Batch, moment: float) -> None:
        """Have a batch ready for a worker at `moment`."""
        self._agenda.at(moment, lambda: self._enter(batch))

    def acknowledged(self) -> None:
        """A consumer has room again."""
        for profile in tuple(self._lines):
            self._push(profile)

    def _enter(self, batch: Batch) -> None:
        self._lines[batch.profile].append(batch)
        self._push(batch.profile)

    def _push(self, profile: str) -> None:
        line = self._lines[profile]
        while line and (consumer := self._next_with_room(profile)):
            consumer.receive(line.popleft())
            # The others come first next time.
            self._lines[profile] = self._lines.pop(profile)

    def _next_with_room(self, profile: str) -> Consumer | None:
        consumers = self._consumers[profile]
        for _ in range(len(consumers)):
            consumers.rotate(-1)
            if consumers[-1].has_room:
                return consumers[-1]
        return None
