"""What lives once per worker process, and performs what a delivery asks for."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.clock import Clock, clock_of, lead_of
from sms_pipeline.core.errors import (
    BadBatchError,
    ForeignLedgerError,
    LedgerUnavailableError,
    UnknownRunError,
)
from sms_pipeline.core.gateway import Gateway, Outcomes, SimulatedGateway
from sms_pipeline.core.hosts import worker_id
from sms_pipeline.core.patience import patiently
from sms_pipeline.core.playing import came_to, if_started, terms_of
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Absorbed, Recorded, Standing
from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.core.submission import Seconds, Terms
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.delivery import (
    Delivery,
    Effect,
    Note,
    Play,
    Played,
    ReadStanding,
    Settle,
    deliver,
)
from sms_pipeline.worker.driver import SenderDriver
from sms_pipeline.worker.signs import SignsOfLife
from sms_pipeline.worker.takeover import Takeover
from sms_pipeline.worker.turns import Turns
from sms_pipeline.worker.writer import LEDGER_PAUSES, LedgerWriter

log = logging.getLogger(__name__)

#: Told which messages of an attempt have just been sent, for `--echo`; must return at once.
EchoHook = Callable[[Batch, Outcomes, NDArray[np.intp]], None]


#: Of a worker of all profiles.
_EVERY_PROFILE = "run"


def _name_of(profiles: Sequence[SenderProfile]) -> str:
    return profiles[0].name if len(profiles) == 1 else _EVERY_PROFILE


class Worker:
    """A worker process: takes batches, plays them, settles them."""

    def __init__(
        self,
        ledger: Ledger,
        profiles: Sequence[SenderProfile],
        gateways: Callable[[SenderProfile], Gateway] = SimulatedGateway,
        echo: EchoHook | None = None,
        clock: Clock = MACHINE_CLOCK,
        name: str | None = None,
    ) -> None:
        #: Unique for each process start; Celery knows it by the same name.
        self.id = worker_id(
            name or _name_of(profiles), socket.gethostname(), os.getpid(), uuid.uuid4().hex[:6]
        )
        self.turns = Turns()
        #: Whether it has received a batch of its own ledger.
        self.at_home = False
        #: Set once the worker shuts down; whoever waits for broker or ledger gives up then.
        self.stopping = threading.Event()
        #: The main loop, the driver and the ledger writer mark their turns here.
        self.signs = SignsOfLife()
        self.ledger = ledger
        self.profiles = profiles
        self._profiles = {profile.name: profile for profile in profiles}
        self._gateways = {profile.name: gateways(profile) for profile in profiles}
        self._echo = echo
        self._clock = clock
        banks = {profile.name: SenderBank(profile.lanes) for profile in profiles}
        self._driver = SenderDriver(banks, clock, self.signs)
        #: What it takes over; nothing if it plays several profiles, as the worker of `run` does.
        self.takeover = (
            Takeover(ledger, profiles[0], lambda: self.turns.is_idle, clock)
            if len(profiles) == 1
            else None
        )
        self._writer = LedgerWriter(
            ledger,
            self.id,
            lambda: self._driver.heartbeat,
            self.stopping,
            clock,
            self.signs,
            self.takeover.look if self.takeover else None,
        )
        # Wall-clock time of a moment on the monotonic clock that the driver uses.
        self._epoch = clock.wall() - clock.monotonic()

    def start(self) -> None:
        """Join the ledger's list of workers and start the threads.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        self.ledger.join(self.id, self.profiles)
        self._driver.start()
        self._writer.start()

    def abandon(self) -> None:
        """Play no more: whoever waits for a batch to end gets a `StoppingError`."""
        self.stopping.set()
        self._driver.stop()

    def stop(self) -> None:
        """Sign off and end the threads; batches that are not settled stay with the broker."""
        self.abandon()
        self._driver.join()
        self._writer.stop()
        self._writer.join()
        try:
            self.ledger.leave(self.id)
        except LedgerUnavailableError as error:
            log.warning("could not sign off: %s", error)

    def ledger_silence(self) -> float:
        """Seconds since the ledger last answered; it is asked at least once a second."""
        return max(self._clock.monotonic() - self._writer.answered_at, 0.0)

    def commit_age(self) -> float | None:
        """Seconds since settlements were last committed; None before that."""
        at = self._writer.committed_at
        return None if at is None else max(self._clock.monotonic() - at, 0.0)

    def accept(self, body: object) -> Batch:
        """Check that a task's argument is a batch that this worker may judge.

        Raises:
            BadBatchError: it can never be played here.
            ForeignLedgerError: it belongs to another ledger.
        """
        batch = Batch.from_wire(body)
        if batch.ledger != self.ledger.id:
            raise ForeignLedgerError("a batch of another ledger is in this queue")
        self.at_home = True
        if batch.profile not in self._gateways and batch.profile not in self._taken_over():
            raise BadBatchError(f"no senders of profile {batch.profile!r} here")
        return batch

    def deliver(self, batch: Batch, queued: bool) -> Delivery:
        """What to do with the batch; drive it with `perform`. See `delivery.deliver`."""
        clock = clock_of(batch, self._clock)
        return deliver(batch, self.id, clock, queued, self._profile_for(batch))

    def _profile_for(self, batch: Batch) -> str:
        """Whose senders play it: its own profile's, or those that took it over."""
        return batch.profile if batch.profile in self._gateways else self.profiles[0].name

    def _taken_over(self) -> Collection[str]:
        return self.takeover.known if self.takeover else ()

    def note(self, kind: Absorbed, batch: Batch) -> None:
        """Count what came twice, for the audit."""
        self._writer.note(kind, batch.run, batch.count)

    def perform(self, effect: Effect) -> Any:
        """Do what a delivery asks for, but for `Publish`: that is the broker's part.

        Raises:
            BadBatchError: the ledger has no such run.
            StoppingError: the worker stopped before that was done.
        """
        match effect:
            case ReadStanding(batch):
                return self._standing(batch)
            case Play(batch, give_up_at, profile, closes_at):
                return self._play(batch, profile or batch.profile, give_up_at, closes_at)
            case Settle(settlement):
                return self._writer.settle(settlement)
            case Note(kind, batch):
                return self.note(kind, batch)
        raise TypeError(f"not an effect that a worker performs: {type(effect).__name__}")

    def _standing(self, batch: Batch) -> Standing:
        try:
            standing = patiently(
                lambda: self.ledger.standing(batch.key),
                LedgerUnavailableError,
                LEDGER_PAUSES,
                self.stopping,
                _tell,
            )
        except UnknownRunError as error:
            raise BadBatchError(str(error)) from None
        if standing.recorded != Recorded(batch.home, batch.first_index, batch.size):
            raise BadBatchError(f"no producer has recorded {batch.describe()}")
        return standing

    def _play(self, batch: Batch, profile: str, give_up_at: float, closes_at: float) -> Played:
        outcomes = self._gateways[profile].attempt(batch)
        epoch = self._epoch + lead_of(batch, self._clock)
        terms = terms_of(batch, self._profiles[profile], outcomes, epoch)
        give_up_at, closes_at = give_up_at - epoch, closes_at - epoch
        until = min(give_up_at, closes_at)
        sent = partial(self._sent, batch, terms, outcomes, epoch) if self._echo else None
        finished = self._driver.play(profile, outcomes.durations, until, sent, terms)
        came = came_to(batch, outcomes, terms, finished, epoch, give_up_at, closes_at)
        return Played(*came)

    def _sent(
        self,
        batch: Batch,
        terms: Terms,
        outcomes: Outcomes,
        epoch: float,
        positions: NDArray[np.intp],
        starts: Seconds | None,
    ) -> None:
        """Tell of messages that have ended; what became of them may depend on when they started."""
        if starts is not None:
            delivered = if_started(batch, terms.spells, outcomes, epoch + starts)
            outcomes = outcomes._replace(delivered=delivered)
        if self._echo:
            self._echo(batch, outcomes, positions)


def _tell(error: BaseException, seconds: float) -> None:
    log.warning("%s; trying again in %.1f s", error, seconds)
