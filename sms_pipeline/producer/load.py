"""What each profile could take now. Pure: readings of the counters and the time are arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from sms_pipeline.core import routing
from sms_pipeline.core.counts import Counts
from sms_pipeline.core.failover import Failover
from sms_pipeline.core.liveness import Liveness, present_workers
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Snapshot, WorkerRow, mean_failure_rate
from sms_pipeline.core.routing import Load
from sms_pipeline.core.simulation import Simulation

#: A rate is observed over at least this long.
OBSERVE_SECONDS = 2.0


@dataclass
class _Busy:
    """Attempts of one profile, counted since its senders were last seen idle."""

    since: float
    attempts: int


class Observed:
    """The rate of attempts of each profile, over times in which all its senders had work."""

    def __init__(self) -> None:
        self._busy: dict[str, _Busy] = {}

    def rate(self, now: float, profile: str, attempts: int, is_busy: bool) -> float | None:
        """Attempts a second; None unless the senders were busy for `OBSERVE_SECONDS`."""
        if not is_busy:
            self._busy.pop(profile, None)
            return None
        busy = self._busy.setdefault(profile, _Busy(now, attempts))
        if now - busy.since < OBSERVE_SECONDS:
            return None
        return (attempts - busy.attempts) / (now - busy.since)


class Lost(NamedTuple):
    """A worker that was online and is not any more."""

    worker: str
    #: Seen alive so many seconds ago.
    silent: float
    profile: str
    #: Messages that it may hold, at most.
    messages: int


class Loads:
    """Turns successive readings of a run's counters into the load of each profile."""

    def __init__(
        self,
        simulation: Simulation,
        trusted: Iterable[str] = (),
        max_batches: Callable[[SenderProfile, int], int] | None = None,
    ) -> None:
        """
        Args:
            simulation: what the run was started with.
            trusted: workers that are online for certain: they live in this process.
            max_batches: of a profile and its batch size, how many batches it may hold.
        """
        self._simulation = simulation
        self._configured = {sender.name: sender for sender in simulation.senders}
        self._places = {name: place for place, name in enumerate(self._configured)}
        self._batch_sizes = {
            name: simulation.batch_size_for(sender) for name, sender in self._configured.items()
        }
        failover = simulation.failover or Failover()
        #: The profile that takes over messages of the others, after so many attempts.
        self._backup, self._attempts = failover.to, failover.attempts or math.inf
        self._liveness = Liveness(trusted)
        self._max_batches = max_batches
        self._observed = Observed()
        #: Messages by profile in batches that were dispatched so long ago that they count as lost.
        #: They must not block their profile for ever.
        self.stuck: Mapping[str, int] = {}
        #: Workers that were online at the last reading; None before that could be told.
        self.online: tuple[WorkerRow, ...] | None = None
        #: Workers that were online and are not any more, with what they may hold, at the last
        #: reading.
        self.lost: tuple[Lost, ...] = ()

    @property
    def anyone_online(self) -> bool:
        """False while no sender was online at the last reading."""
        return self.online != ()

    def read(self, snapshot: Snapshot, now: float) -> list[Load]:
        """Loads of the profiles that may get a batch; `now` on a clock that only moves forward."""
        if self._simulation.routing == "adaptive":
            return self._adaptive(snapshot, now)
        return self._static(snapshot, now)

    def rest(self) -> None:
        """Nothing may be sent for a while, so how fast it was says nothing of what comes then."""
        self._observed = Observed()

    def _adaptive(self, snapshot: Snapshot, now: float) -> list[Load]:
        """Of the profiles with senders online; of all profiles when there are none.

        Empty until it can tell who is online.
        """
        present = present_workers(snapshot.workers)
        online = self._liveness.observe(now, present)
        if not self._liveness.is_decided(now, present):
            return []
        self.online = online
        self.lost = self._lost(snapshot, present, now)
        return self._loads(snapshot, online or self._nominal_workers(), now)

    def _lost(
        self, snapshot: Snapshot, present: Iterable[WorkerRow], now: float
    ) -> tuple[Lost, ...]:
        """What they hold comes back to the others once the broker notices, or is stuck later."""
        backlog = {counts.profile: counts.backlog for counts in snapshot.profiles}
        return tuple(
            Lost(worker.id, silent, worker.profile, messages)
            for worker, silent in self._liveness.lost(now, present, self._simulation.stuck_after)
            if (messages := min(self._most_in_hand(worker), backlog.get(worker.profile, 0)))
        )

    def _most_in_hand(self, worker: WorkerRow) -> int:
        profile = self._profile(worker.profile, [worker])
        batch_size, in_play = self._batch_size(profile), _in_play(profile, worker.senders)
        return batch_size * routing.batches_in_hand(in_play, worker.capacity, batch_size)

    def _static(self, snapshot: Snapshot, now: float) -> list[Load]:
        """Of all profiles, as they would be if all that was published still waited."""
        idle = tuple(replace(counts, first_attempts=0, handed_in=0) for counts in snapshot.profiles)
        return self._loads(replace(snapshot, profiles=idle), self._nominal_workers(), now)

    def _nominal_workers(self) -> tuple[WorkerRow, ...]:
        """One worker for each configured profile."""
        return tuple(
            WorkerRow.playing(profile, profile.name) for profile in self._simulation.senders
        )

    def _loads(self, snapshot: Snapshot, workers: Iterable[WorkerRow], now: float) -> list[Load]:
        counts = {counts.profile: counts for counts in snapshot.profiles}
        present: dict[str, list[WorkerRow]] = {}
        for worker in workers:
            present.setdefault(worker.profile, []).append(worker)
        return [
            self._load(self._profile(name, found), counts.get(name, Counts()), found, now)
            for name, found in sorted(present.items(), key=self._place)
        ]

    def _place(self, named: tuple[str, object]) -> tuple[int, str]:
        """Configured profiles come first, in their order."""
        name, _ = named
        return (self._places.get(name, len(self._places)), name)

    def _profile(self, name: str, workers: list[WorkerRow]) -> SenderProfile:
        """The configured one; of workers that brought a profile of their own, what they play."""
        if name in self._configured:
            return self._configured[name]
        first = workers[0]
        return SenderProfile(
            name=name,
            count=first.senders,
            mean_time=first.mean_time,
            failure_rate=first.failure_rate,
            shape=first.shape,
            max_time=first.max_time,
        )

    def _batch_size(self, profile: SenderProfile) -> int:
        configured = self._batch_sizes.get(profile.name)
        return self._simulation.batch_size_for(profile) if configured is None else configured

    def _load(
        self, profile: SenderProfile, counts: Counts, workers: list[WorkerRow], now: float
    ) -> Load:
        senders = sum(worker.senders for worker in workers)
        in_play = _in_play(profile, senders)
        nominal = sum(worker.capacity for worker in workers)
        failure_rate = mean_failure_rate(workers)
        batch_size = self._batch_size(profile)
        with_lost = sum(lost.messages for lost in self.lost if lost.profile == profile.name)
        stuck = self.stuck.get(profile.name, 0)
        outstanding = routing.outstanding(counts.backlog, stuck, with_lost)
        if profile.name == self._backup:
            # Retries of its own are in its rate, those that come from others are not.
            outstanding += max(counts.retrying, 0)
        busy = outstanding >= in_play
        observed = self._observed.rate(now, profile.name, counts.attempts, busy)
        return Load(
            profile=profile.name,
            outstanding=outstanding,
            in_play=in_play,
            rate=routing.delivery_rate(
                nominal, failure_rate, observed, self._most_attempts(profile)
            ),
            batch_size=batch_size,
            max_batches=self._max_batches(profile, batch_size) if self._max_batches else None,
            workers=len(workers),
        )

    def _most_attempts(self, profile: SenderProfile) -> float:
        """Attempts that it makes at a message before another one goes on."""
        return math.inf if profile.name == self._backup else self._attempts


def _in_play(profile: SenderProfile, senders: int) -> int:
    """Messages under way while so many senders of a profile are busy."""
    return -(-profile.in_play * senders // profile.count)
