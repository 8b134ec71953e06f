"""From readings of the counters to what people want to know. Pure: views only show this."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sms_pipeline.core.checks import parse
from sms_pipeline.core.counts import Counts
from sms_pipeline.core.liveness import Liveness
from sms_pipeline.core.rates import Pace
from sms_pipeline.core.records import Control, Snapshot, WorkerRow
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.thresholds import Evidence, Judgement, State, judge


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known about a run beyond its counters."""

    #: Messages by profile that were dispatched too long ago.
    stuck: Mapping[str, int] = field(default_factory=dict)
    #: Seconds since the epoch at which so many messages were delivered.
    reached_at: Mapping[int, float] = field(default_factory=dict)
    #: From the audit; None before it.
    lost: int | None = None
    doubled: int | None = None


_NOTHING_FOUND = Findings()


@dataclass(frozen=True, slots=True)
class ProfileProgress:
    """A profile's part in a run."""

    name: str
    counts: Counts
    online_senders: int
    #: Its part of all messages dispatched so far, 0 to 1.
    share: float
    #: Share of attempts that fail as the run's configuration has it, 0 to 1; None for a profile
    #: that is not in it. Workers may have been started with another.
    failure_rate: float | None
    #: Messages a second that its online senders can attempt, by their own mean times.
    capacity: float
    #: Attempts settled per attempt they could have made (`Pace.efficiency`): over the last
    #: seconds, or over the time watched when the run is done.
    efficiency: float | None

    @property
    def is_unattended(self) -> bool:
        """Messages are in flight, and no sender is online for them."""
        return self.counts.in_flight > 0 and not self.online_senders


@dataclass(frozen=True, slots=True)
class Progress:
    """A run at one moment."""

    run: int
    total: int
    seed: int
    #: What it was started with.
    simulation: Simulation
    control: Control
    counts: Counts
    #: Of the first dispatch, seconds since the epoch; None before it.
    started_at: float | None
    #: From the first dispatch to now, or to the last settlement when done.
    seconds: float
    #: Messages a second that reached a terminal state over the last seconds…
    rate: float
    #: … and that were delivered or failed over all; those that expired or were cancelled took no
    #: time.
    average_rate: float
    #: The rate of each of the last seconds, oldest first.
    history: tuple[float, ...]
    #: Seconds since this reader saw the number of finished messages change, or started.
    still_seconds: float
    eta_seconds: float | None
    profiles: tuple[ProfileProgress, ...]
    warnings: tuple[str, ...]
    thresholds: tuple[Judgement, ...] = ()

    @property
    def done(self) -> bool:
        """Every message is in a terminal state."""
        return self.counts.finished >= self.total

    @property
    def share(self) -> float:
        """Messages in a terminal state, 0 to 1 of the run."""
        return self.counts.finished / self.total

    @property
    def missed(self) -> tuple[Judgement, ...]:
        """The thresholds that are missed for good."""
        return tuple(one for one in self.thresholds if one.state is State.MISSED)

    @property
    def reached(self) -> float:
        """Delivered messages, 0 to 1 of the run."""
        return self.counts.delivered / self.total


class Tracker:
    """Turns successive snapshots of one run into its progress."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._liveness = Liveness(trusted)
        self._pace = Pace()
        #: Whether it can tell by now who is online; before that it warns about nobody.
        self.decided = False
        #: Workers that are online, as of the last update.
        self.online: tuple[WorkerRow, ...] = ()

    def update(
        self,
        snapshot: Snapshot,
        now: float,
        wall: float,
        findings: Findings = _NOTHING_FOUND,
    ) -> Progress:
        """Progress at `now` (a clock that only moves forward) and `wall` (seconds since epoch)."""
        online = self.online = self._liveness.observe(now, snapshot.workers)
        self.decided = self._liveness.is_decided(now, snapshot.workers)
        counts = snapshot.counts
        self._pace.observe(
            now,
            counts.finished,
            {one.profile: one.attempts_made for one in snapshot.profiles},
            _capacities(online),
        )
        profiles = self._profiles(snapshot, online, counts)
        rate = self._pace.rate
        seconds = _seconds(snapshot, wall)
        return Progress(
            run=snapshot.run,
            total=snapshot.total,
            seed=snapshot.seed,
            simulation=snapshot.simulation,
            control=snapshot.control,
            counts=counts,
            started_at=snapshot.started_at,
            seconds=seconds,
            rate=rate,
            average_rate=counts.timed / seconds if seconds else 0.0,
            history=self._pace.history,
            still_seconds=self._pace.still_seconds,
            eta_seconds=_eta(snapshot.total - counts.finished, rate),
            profiles=profiles,
            warnings=_warnings(snapshot.control, profiles, findings.stuck) if self.decided else (),
            thresholds=_judgements(snapshot, counts, seconds, findings),
        )

    def _profiles(
        self, snapshot: Snapshot, online: Iterable[WorkerRow], counts: Counts
    ) -> tuple[ProfileProgress, ...]:
        senders = Counter[str]()
        for worker in online:
            senders[worker.profile] += worker.senders
        capacities = _capacities(online)
        rates = {sender.name: sender.failure_rate for sender in snapshot.simulation.senders}
        return tuple(
            ProfileProgress(
                name=part.profile,
                counts=part,
                online_senders=senders[part.profile],
                share=part.dispatched / counts.dispatched if counts.dispatched else 0.0,
                failure_rate=rates.get(part.profile),
                capacity=capacities.get(part.profile, 0.0),
                efficiency=self._pace.efficiency(part.profile, over_all=snapshot.done),
            )
            for part in snapshot.profiles
        )


def _judgements(
    snapshot: Snapshot, counts: Counts, seconds: float, findings: Findings
) -> tuple[Judgement, ...]:
    started_at = snapshot.started_at or 0.0
    evidence = Evidence(
        total=snapshot.total,
        counts=counts,
        seconds=seconds,
        reached={count: max(at - started_at, 0) for count, at in findings.reached_at.items()},
        lost=findings.lost,
        doubled=findings.doubled,
    )
    return tuple(
        judge(parse(one.check), evidence, one.abort) for one in snapshot.simulation.thresholds
    )


def _capacities(online: Iterable[WorkerRow]) -> dict[str, float]:
    """Messages a second that the online senders of each profile can attempt."""
    capacities: dict[str, float] = defaultdict(float)
    for worker in online:
        capacities[worker.profile] += worker.capacity
    return capacities


def _seconds(snapshot: Snapshot, wall: float) -> float:
    if snapshot.started_at is None:
        return 0.0
    ended_at = snapshot.settled_at if snapshot.done else None
    return max((wall if ended_at is None else ended_at) - snapshot.started_at, 0.0)


def _eta(left: int, rate: float) -> float | None:
    if left == 0:
        return 0.0
    return left / rate if rate > 0 else None


def _warnings(
    control: Control, profiles: Iterable[ProfileProgress], stuck: Mapping[str, int]
) -> tuple[str, ...]:
    steered = [] if control is Control.RUNNING else [f"the run is {control}"]
    waiting = [
        f"profile {profile.name}: {profile.counts.in_flight:,} messages waiting, no sender online"
        for profile in profiles
        if profile.is_unattended
    ]
    old = [
        f"profile {name}: {messages:,} messages stuck: dispatched long ago and not settled"
        for name, messages in stuck.items()
    ]
    return (*steered, *waiting, *old)
