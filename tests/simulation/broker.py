"""A model of RabbitMQ: at least once, prefetch, confirms, delays, dead letters."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import BrokerUnavailableError
from tests.simulation import hub as hubs
from tests.simulation.chance import ACKNOWLEDGE, DELIVER, PUBLISH, Chance, Fault
from tests.simulation.hub import Hub, Process

#: Between a publish, its confirm and a delivery, seconds.
LATENCY = 0.005
#: How late what is late may come: within the pauses of retries, and long after all of them.
LATENESS = (0.5, 5.0, 60.0)
#: How long a broker is away, and a connection takes to come back.
AWAY_SECONDS = 3.0
HEARTBEAT_SECONDS = 30.0
RECONNECT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Message:
    """What lies in a queue."""

    profile: str
    body: Any
    #: The number of the batch of this run that it is; None of garbage.
    batch: int | None = None
    #: How often it went back to its queue.
    returns: int = 0

    @classmethod
    def of(cls, batch: Batch) -> Message:
        """A batch as it is published."""
        return cls(batch.profile, batch.to_wire(), batch.number)

    def __str__(self) -> str:
        if self.batch is None:
            return f"garbage for {self.profile}"
        return f"batch {self.batch}, attempt {self.body['attempt'] + 1}"


class Receiver(Protocol):
    """A worker that consumes."""

    process: Process
    profile: str
    #: Whether it has another ledger.
    is_foreign: bool

    def receive(self, tag: int, message: Message) -> None:
        """Take a message in hand; `Broker.acknowledge` or `Broker.reject` says when it is done."""


class Connection:
    """Of one worker: what it holds, and how much it may."""

    def __init__(self, receiver: Receiver, prefetch: int) -> None:
        self.receiver = receiver
        self.prefetch = prefetch
        self.unacked: dict[int, Message] = {}
        self.open = True
        #: Whose queues it consumes.
        self.profiles = frozenset({receiver.profile})

    @property
    def has_room(self) -> bool:
        return self.open and self.receiver.process.alive and len(self.unacked) < self.prefetch


class Broker:
    """Queues, one for each profile."""

    def __init__(self, hub: Hub, chance: Chance, profiles: tuple[str, ...], limit: int) -> None:
        """
        Args:
            hub: the time.
            chance: decides what goes wrong.
            profiles: those that have a queue.
            limit: returns before a message becomes a dead letter.
        """
        self._hub = hub
        self._chance = chance
        self._limit = limit
        self._tags = itertools.count()
        self._rng = chance.stream("broker's pauses")
        self.lines: dict[str, deque[Message]] = {name: deque() for name in profiles}
        self.connections: list[Connection] = []
        self.dead: list[Message] = []
        #: What workers of this ledger put aside.
        self.refused: list[Message] = []
        #: Everything that was ever stored, to be delivered again long after.
        self.stored: list[Message] = []
        #: Messages on their way to a queue: waiting retries, and what comes late.
        self.delayed = 0
        self.up = True
        #: Batches that may be missing, because a queue was lost with them or they are dead letters.
        self.missing: set[int] = set()

    # Publishing

    def publish(self, process: Process, effect: str, message: Message, delay: float = 0.0) -> None:
        """Store a message; return when that is confirmed.

        Raises:
            BrokerUnavailableError: it is not confirmed. The broker may have it all the same.
        """
        hubs.sleep(self._latency())
        fault = self._chance.fault(process.name, effect, PUBLISH, message)
        if fault is Fault.DIES_BEFORE:
            process.die()
        if not self.up or fault is Fault.REFUSED:
            raise BrokerUnavailableError("the broker is away")
        if fault is not Fault.DIES_DURING:
            late = self._lateness() if fault is Fault.ARRIVES_LATE else 0.0
            self._store(message, delay + late)
        if fault is Fault.TWICE:
            self._store(message, delay)
        if fault in (Fault.DIES_DURING, Fault.DIES_DONE):
            process.die()
        hubs.sleep(self._lateness() if fault is Fault.LATE else self._latency())
        if fault is Fault.CONFIRM_LOST:
            raise BrokerUnavailableError("no confirm")
        if fault is Fault.DIES_AFTER:
            process.die()

    def put(self, message: Message) -> None:
        """Store what nobody in the run has published now."""
        self._store(message, 0.0)

    def _store(self, message: Message, delay: float) -> None:
        self.stored.append(message)
        self._enter_after(delay, message)

    def _enter_after(self, delay: float, message: Message) -> None:
        self.delayed += 1

        def enter() -> None:
            if not self.up:
                self._hub.agenda.after(1.0, enter)
                return
            self.delayed -= 1
            self._queue(message).append(message)
            self._push(message.profile)

        self._hub.agenda.after(delay, enter)

    def _queue(self, message: Message) -> deque[Message]:
        return self.lines[message.profile]

    # Delivering

    def connect(self, receiver: Receiver, prefetch: int) -> Connection:
        """Let a worker consume."""
        connection = Connection(receiver, prefetch)
        self.connections.append(connection)
        self._push(receiver.profile)
        return connection

    def also_consume(self, connection: Connection, profiles: frozenset[str]) -> None:
        """Let a worker have the queues of these profiles beside its own."""
        connection.profiles = profiles | {connection.receiver.profile}
        self._push_all(connection)

    def _push_all(self, connection: Connection) -> None:
        for profile in sorted(connection.profiles):
            self._push(profile)

    def cut(self, connection: Connection, forever: bool = False) -> None:
        """Take from a worker all that it holds; it comes back a little later, or never."""
        if not connection.open:
            return
        connection.open = False
        held, connection.unacked = connection.unacked, {}
        for message in reversed(held.values()):
            self._give_back(message)
        if forever:
            self.connections.remove(connection)
        else:
            self._hub.agenda.after(self._rng.random() * RECONNECT_SECONDS, self._opened(connection))

    def _opened(self, connection: Connection) -> Callable[[], None]:
        def reopen() -> None:
            if not connection.receiver.process.alive:
                return
            if not self.up:
                self._hub.agenda.after(1.0, reopen)
                return
            connection.open = True
            # What it had taken over is looked after anew on each connection.
            connection.profiles = frozenset({connection.receiver.profile})
            self._push(connection.receiver.profile)

        return reopen

    def acknowledge(self, connection: Connection, tag: int) -> None:
        """Forget a message, if its worker is still the one that holds it."""
        process = connection.receiver.process
        fault = self._chance.fault(
            process.name, "acknowledge", ACKNOWLEDGE, connection.unacked.get(tag, "what it lost")
        )
        if fault is Fault.DIES_BEFORE:
            process.die()
        if fault is Fault.CUT:
            self.cut(connection)
        if fault is Fault.LATE:
            hubs.sleep(self._lateness())
        self._take_off(connection, tag)
        if fault is Fault.DIES_AFTER:
            process.die()

    def reject(self, connection: Connection, tag: int, requeue: bool) -> None:
        """Give a message back, or put it aside."""
        message = self._take_off(connection, tag)
        if message is None:
            return
        if not requeue:
            if not connection.receiver.is_foreign:
                self.refused.append(message)
            self._put_aside(message)
            return
        self.delayed += 1

        def back() -> None:
            self.delayed -= 1
            self._give_back(message)

        # Not at once: a worker that puts all back would have it again in the same moment.
        self._hub.agenda.after(self._latency(), back)

    def _take_off(self, connection: Connection, tag: int) -> Message | None:
        message = connection.unacked.pop(tag, None)
        self._push_all(connection)
        return message

    def _give_back(self, message: Message) -> None:
        returned = replace(message, returns=message.returns + 1)
        if returned.returns > self._limit:
            self._put_aside(returned)
            return
        self._queue(message).appendleft(returned)
        self._hub.agenda.after(0.0, lambda: self._push(message.profile))

    def _put_aside(self, message: Message) -> None:
        self.dead.append(message)
        if message.batch is not None:
            self.missing.add(message.batch)

    def _push(self, profile: str) -> None:
        line = self.lines[profile]
        while self.up and line:
            with_room = [
                one for one in self.connections if profile in one.profiles and one.has_room
            ]
            if not with_room:
                return
            self._deliver(with_room[int(self._rng.random() * len(with_room))], line)

    def _deliver(self, connection: Connection, line: deque[Message]) -> None:
        about = f"{line[0]}, to {connection.receiver.process.name}"
        fault = self._chance.fault("broker", "deliver", DELIVER, about)
        if fault is Fault.OUT_OF_ORDER:
            line.rotate(-int(self._rng.random() * len(line)))
        message, tag = line.popleft(), next(self._tags)
        if fault is Fault.TWICE:
            self._enter_after(self._rng.random() * LATENCY, message)
        if fault is Fault.LATE:
            self._enter_after(self._lateness(), message)
            return
        connection.unacked[tag] = message
        connection.receiver.receive(tag, message)
        if fault is Fault.CUT:
            self._hub.agenda.after(self._rng.random(), lambda: self.cut(connection))

    # What befalls the broker itself

    def restart(self) -> None:
        """Go away for a while; what is stored stays, what is held comes back."""
        if not self.up:
            return
        self.up = False
        for connection in list(self.connections):
            self.cut(connection)
        self._hub.agenda.after(self._rng.random() * AWAY_SECONDS, self.heal)

    def lose_queue(self, profile: str) -> None:
        """A queue was not on disk yet when the broker was killed: what is in it is gone."""
        for connection in list(self.connections):
            held = connection.unacked.items()
            gone = {tag: one for tag, one in held if one.profile == profile}
            self.missing.update(one.batch for one in gone.values() if one.batch is not None)
            for tag in gone:
                del connection.unacked[tag]
        line = self.lines[profile]
        self.missing.update(one.batch for one in line if one.batch is not None)
        line.clear()
        self.restart()

    def heal(self) -> None:
        """Be there."""
        self.up = True
        for profile in self.lines:
            self._push(profile)

    @property
    def empty(self) -> bool:
        """Whether nothing waits, is held, or is on its way."""
        return self.only_in(set())

    def only_in(self, profiles: Collection[str]) -> bool:
        """The same, but for what waits in the queues of these profiles."""
        held = any(one.unacked for one in self.connections)
        waiting = any(line for name, line in self.lines.items() if name not in profiles)
        return not (self.delayed or held or waiting)

    def depth(self, profiles: list[str]) -> int:
        """See `Publisher.depth`: what waits, that whose time has not come included."""
        return self.delayed + sum(len(self.lines[one]) for one in profiles if one in self.lines)

    def remove_dead_letters(self) -> int:
        """See `Publisher.remove_dead_letters`."""
        taken, self.dead = len(self.dead), []
        return taken

    def noticed_after(self) -> float:
        """How long after a worker's death the broker knows of it: at once, or by its heartbeat."""
        return self._rng.random() * (HEARTBEAT_SECONDS if self._rng.random() < 0.1 else LATENCY)

    def _latency(self) -> float:
        return LATENCY * self._rng.random()

    def _lateness(self) -> float:
        return self._rng.random() * self._rng.choice(LATENESS)
