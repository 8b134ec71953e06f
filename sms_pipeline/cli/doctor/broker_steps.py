"""The checks of the brokers, in order."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from amqp.exceptions import AccessRefused

from sms_pipeline.broker import topology
from sms_pipeline.cli.doctor import broker_verdicts as verdicts
from sms_pipeline.cli.doctor.broker_link import (
    CONNECT_SECONDS,
    Address,
    BlockedError,
    BrokerLink,
    Greeting,
    UnreachableError,
    address_of,
)
from sms_pipeline.cli.doctor.broker_probes import BrokerProbe, SilentQueueError
from sms_pipeline.cli.doctor.check import Check
from sms_pipeline.cli.doctor.examination import STEP_SECONDS, NothingMoreError, Step
from sms_pipeline.cli.doctor.management import Management
from sms_pipeline.core.clock import Clock

#: The delay that is tried, the shortest there is, and for how long its message is waited for.
_DELAY_SECONDS = 1
_DELAY_PATIENCE_SECONDS = 5.0
#: What celery uses for remote control and events, besides what is declared in `topology`.
_CONTROL_EXCHANGE = "celery.pidbox"
_EVENT_EXCHANGE = "celeryev"
#: More round trips than any step makes; most are for the queues in which retries wait.
_MOST_TRIPS = 400


class Brokers(NamedTuple):
    """What is asked for, and how."""

    urls: Sequence[str]
    profiles: Sequence[str]
    queue_type: str
    clock: Clock

    def subjects(self) -> list[list[Step]]:
        """One for each URL, one for what holds for them all, one for the check that is slow."""
        each = [_OneBroker(self, url).steps() for url in self.urls]
        subjects = [*each, _AnyBroker(self).steps()]
        if self.queue_type == "quorum":
            subjects.append(_AnyBroker(self).slow_steps())
        return subjects


class _OneBroker:
    """The broker of one URL."""

    def __init__(self, brokers: Brokers, url: str) -> None:
        self._queue_type = brokers.queue_type
        self._address = address_of(url)
        self._link = BrokerLink(url)
        self._probe = BrokerProbe(self._link, url, brokers.queue_type, brokers.clock)

    def steps(self) -> list[Step]:
        name = verdicts.name_of(self._address)
        return [
            Step(name, self._reach, CONNECT_SECONDS + STEP_SECONDS, vital=True),
            Step(verdicts.ALARMS, self._alarms),
        ]

    def _reach(self) -> Iterator[Check]:
        try:
            greeting = self._link.connect()
        except UnreachableError as error:
            yield verdicts.unreachable(self._address, error.trouble, str(error))
        else:
            yield verdicts.reached(self._address, greeting, self._queue_type)

    def _alarms(self) -> Iterator[Check]:
        try:
            yield verdicts.takes_messages(self._probe.seconds_to_publish())
        except BlockedError:
            yield verdicts.blocked()
        finally:
            self._link.close()


class _AnyBroker:
    """The first broker that answers, for what is the same whichever is asked."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        #: Of the one that has answered.
        self._url: str
        self._address: Address
        self._probe: BrokerProbe
        self._round_trip = 0.0

    def steps(self) -> list[Step]:
        first_seconds = CONNECT_SECONDS * len(self._brokers.urls) + STEP_SECONDS
        asked: list[tuple[str, Callable[[], Check]]] = [
            (verdicts.RIGHTS, self._rights),
            (verdicts.QUEUES, self._queues),
            (verdicts.PREFETCH, self._prefetch),
            (verdicts.DELAY, self._delay),
            (verdicts.LIMIT, self._limit),
            (verdicts.MEMBERS, self._members),
            (verdicts.TIMEOUT, verdicts.consumer_timeout),
        ]
        return [
            Step(verdicts.CLUSTER, self._cluster, first_seconds),
            Step(verdicts.CLUSTER, self._connect, first_seconds),
            *(
                Step(name, _one(check), self._patience, vital=name == verdicts.RIGHTS)
                for name, check in asked
            ),
        ]

    def _patience(self) -> float:
        """For a step, once it is known how far away the broker is."""
        return STEP_SECONDS + _MOST_TRIPS * self._round_trip

    def slow_steps(self) -> list[Step]:
        patience = verdicts.LONGEST_TRANSFER_SECONDS + STEP_SECONDS
        return [
            Step(verdicts.CLUSTER, self._connect, patience),
            Step(verdicts.TRANSFERS, _one(self._transfers), patience),
        ]

    def _cluster(self) -> Iterator[Check]:
        """Who answers is told by the checks of the URLs; here only whether they belong together."""
        greetings: dict[str, Greeting] = {}
        for url in self._brokers.urls:
            link = BrokerLink(url)
            with suppress(UnreachableError):
                greetings[str(address_of(url))] = link.connect()
                link.close()
        if not greetings:
            raise NothingMoreError
        if len(greetings) > 1:
            yield verdicts.same_cluster(greetings)

    def _connect(self) -> list[Check]:
        """To the first that answers. There is nothing to tell that its own check does not tell."""
        for url in self._brokers.urls:
            link = BrokerLink(url)
            try:
                link.connect()
            except UnreachableError:
                continue
            self._url, self._address = url, address_of(url)
            queue_type, clock = self._brokers.queue_type, self._brokers.clock
            self._probe = BrokerProbe(link, url, queue_type, clock)
            self._round_trip = link.round_trip(clock)
            return []
        raise NothingMoreError

    def _rights(self) -> Check:
        return verdicts.rights(self._address, list(self._missing_rights()))

    def _missing_rights(self) -> Iterator[str]:
        """In the words of RabbitMQ: to configure is to declare or delete."""
        batches = topology.queue_names(self._brokers.profiles)
        retries = topology.DELAY_QUEUES[0]
        control = f"doctor@{socket.gethostname()}.{_CONTROL_EXCHANGE}"
        made = (*batches, topology.DEAD_LETTER_QUEUE, retries, control)
        exchanges = (topology.EXCHANGE.name, topology.DEAD_LETTER_EXCHANGE.name, retries)
        of_celery = (_CONTROL_EXCHANGE, _EVENT_EXCHANGE)
        written = (topology.EXCHANGE.name, retries, _EVENT_EXCHANGE)
        for verb, kind, names, is_allowed in (
            ("configure", "queue", made, self._probe.may_configure_queue),
            ("configure", "exchange", exchanges + of_celery, self._probe.may_configure_exchange),
            ("write", "exchange", written, self._probe.may_write_exchange),
            ("read", "queue", (*batches, control), self._probe.may_read_queue),
        ):
            yield from (f"{verb} {kind} {name}" for name in names if not is_allowed(name))

    def _queues(self) -> Check:
        try:
            return self._declared()
        except SilentQueueError as error:
            # For the checks that follow.
            self._connect()
            return verdicts.silent_queue(self._address, str(error))

    def _declared(self) -> Check:
        queue_type = self._brokers.queue_type
        wanted = topology.profile_queues(self._brokers.profiles, queue_type)
        wanted.append(topology.dead_letter_queue(queue_type))
        found = [queue for queue in wanted if self._probe.has_queue(queue.name)]
        said = {queue.name: self._probe.disagreement(queue) for queue in found}
        waiting = [name for name in topology.DELAY_QUEUES if self._probe.has_queue(name)]
        if len(waiting) == len(topology.DELAY_QUEUES):
            said["in which retries wait"] = self._probe.delay_disagreement()
        disagreements = {name: words for name, words in said.items() if words}
        return verdicts.queues(self._address, [queue.name for queue in found], disagreements)

    def _delay_queues(self) -> int:
        return sum(map(self._probe.has_queue, topology.DELAY_QUEUES))

    def _prefetch(self) -> Check:
        queue_type = self._brokers.queue_type
        is_classic = queue_type == "classic"
        return verdicts.prefetch(not is_classic or self._probe.takes_global_prefetch(), queue_type)

    def _delay(self) -> Check:
        if self._brokers.queue_type == "classic":
            return verdicts.delay_on_classic()
        there = self._delay_queues()
        if there == 0:
            took = self._probe.delay_by_own_queue(_DELAY_SECONDS, _DELAY_PATIENCE_SECONDS)
        elif there == len(topology.DELAY_QUEUES):
            took = self._probe.delay_by_retry_queues(_DELAY_SECONDS, _DELAY_PATIENCE_SECONDS)
        else:
            return verdicts.partial_delay(there, len(topology.DELAY_QUEUES))
        return verdicts.delay(_DELAY_SECONDS, took, _DELAY_PATIENCE_SECONDS)

    def _limit(self) -> Check:
        if self._brokers.queue_type == "classic":
            return verdicts.limit_on_classic()
        return verdicts.limit(self._probe.times_returned(verdicts.LEAST_RETURNS))

    def _members(self) -> Check:
        if self._brokers.queue_type == "classic":
            return verdicts.members_of_classic()
        batches = topology.queue_names(self._brokers.profiles)
        wanted = {*batches, topology.DEAD_LETTER_QUEUE, *topology.DELAY_QUEUES}
        management = Management(self._url)
        nodes, members = management.nodes(), management.members()
        if nodes is None or members is None:
            return verdicts.members_not_told(self._address, management.port, batches[0])
        return verdicts.members([one for one in members if one.queue in wanted], nodes)

    def _transfers(self) -> Check:
        return verdicts.transfers(
            self._probe.repeats_transfer_after(verdicts.LONGEST_TRANSFER_SECONDS)
        )


def _one(check: Callable[[], Check]) -> Callable[[], Iterator[Check]]:
    """A step of one check.

    A broker that is blocked or refuses something, or a queue that is silent, ends the examination:
    other checks tell it.
    """

    def run() -> Iterator[Check]:
        try:
            yield check()
        except (BlockedError, AccessRefused, SilentQueueError):
            raise NothingMoreError from None

    return run
