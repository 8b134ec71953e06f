"""From readings of the counters to what people want to know. Pure: views only show this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sms_pipeline.core.ahead import Moment, TimeLeft, next_retry
from sms_pipeline.core.checks import parse
from sms_pipeline.core.counts import Counts, ProfileCounts, of_messages
from sms_pipeline.core.hosts import HostPart, by_host
from sms_pipeline.core.liveness import Liveness, present_workers
from sms_pipeline.core.parts import parts_per_message
from sms_pipeline.core.rates import Pace
from sms_pipeline.core.records import Control, Retrying, Snapshot, WorkerRow, mean_failure_rate
from sms_pipeline.core.run_state import RunState, paused_seconds, state_of
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.thresholds import Evidence, Judgement, State, judge


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known about a run beyond its counters."""

    #: Messages by profile that were dispatched too long ago.
    stuck: Mapping[str, int] = field(default_factory=dict)
    #: Seconds since the epoch at which so many messages were delivered.
    reached_at: Mapping[int, float] = field(default_factory=dict)
    #: Batches whose messages are retried.
    retrying: Sequence[Retrying] = ()
    #: When the first batch was dispatched, seconds since the epoch; None if that is not known.
    origin: float | None = None
    #: From the audit; None before it.
    lost: int | None = None
    doubled: int | None = None


_NOTHING_FOUND = Findings()


@dataclass(frozen=True, slots=True)
class ProfileProgress:
    """A profile's part in a run."""

    name: str
    counts: Counts
    #: Senders that are online now; of a run that is done, those that took part in it.
    senders: int
    #: Its part of all messages dispatched so far, 0 to 1.
    share: float
    #: Share of attempts that fail as those senders are set, 0 to 1; as the configuration has it
    #: while there are none. None for a profile that is in neither.
    failure_rate: float | None
    #: Messages a second that those senders can attempt.
    capacity: float
    #: How busy senders were, 0 to 1: seconds on attempts that are settled, per second that senders
    #: were there while the run was on. None where that is not known, or sending takes no time.
    efficiency: float | None
    #: For each message that is delivered; None where the configuration has none.
    price: float | None = None
    #: Where those senders are, by name of the host.
    hosts: tuple[HostPart, ...] = ()

    @property
    def cost(self) -> float | None:
        """Money for what was delivered; None without a price."""
        return None if self.price is None else self.price * self.counts.delivered

    @property
    def is_unattended(self) -> bool:
        """Messages are in flight, and no sender is online for them."""
        return self.counts.in_flight > 0 and not self.senders


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
    state: RunState
    #: When the run was started, seconds since the epoch.
    started_at: float
    #: From the start of the run to now, or to the last settlement when done.
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
    #: Seconds for which the run was paused …
    paused_seconds: float
    #: … and for which nothing happened before a `resume`.
    interrupted_seconds: float
    #: Until it is done; None if that is not known, and while it stands still.
    eta_seconds: float | None
    #: Until the next message is tried again, while all that are left wait for that; else None.
    next_retry_seconds: float | None
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
    def cost(self) -> float | None:
        """Money for what was delivered, where there is a price; None if there is none at all."""
        costs = [part.cost for part in self.profiles if part.cost is not None]
        return sum(costs) if costs else None

    @property
    def reached(self) -> float:
        """Delivered messages, 0 to 1 of the run."""
        return self.counts.delivered / self.total


class Tracker:
    """Turns successive snapshots of one run into its progress."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._liveness = Liveness(trusted)
        self._pace = Pace()
        self._time_left = TimeLeft()
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
        present = present_workers(snapshot.workers)
        self.online = self._liveness.observe(now, present)
        self.decided = self._liveness.is_decided(now, present)
        counts = snapshot.counts
        self._pace.observe(now, counts.finished, counts.attempts_made)
        profiles = self._profiles(snapshot, counts, wall)
        ended_at = _end(snapshot, wall)
        seconds = max(ended_at - snapshot.started_at, 0.0)
        state = state_of(snapshot, wall, self.decided and not self.online)
        retrying = findings.retrying
        return Progress(
            run=snapshot.run,
            total=snapshot.total,
            seed=snapshot.seed,
            simulation=snapshot.simulation,
            control=snapshot.control,
            counts=counts,
            state=state,
            started_at=snapshot.started_at,
            seconds=seconds,
            rate=self._pace.rate,
            average_rate=counts.timed / seconds if seconds else 0.0,
            history=self._pace.history,
            still_seconds=self._pace.still_seconds,
            paused_seconds=paused_seconds(snapshot.steps, ended_at),
            interrupted_seconds=sum(step.idle_seconds for step in snapshot.steps),
            eta_seconds=self._time_left.tell(
                snapshot,
                state,
                self.online,
                retrying,
                self._pace,
                Moment(now, wall),
                findings.origin,
            ),
            next_retry_seconds=next_retry(snapshot, retrying, wall)
            if state is RunState.RUNNING
            else None,
            profiles=profiles,
            warnings=_warnings(snapshot, profiles, findings.stuck) if self.decided else (),
            thresholds=_judgements(snapshot, counts, seconds, findings),
        )

    def _profiles(
        self, snapshot: Snapshot, counts: Counts, wall: float
    ) -> tuple[ProfileProgress, ...]:
        # Of a run that is done, the snapshot has only those who took part.
        shown = snapshot.workers if snapshot.done else self.online
        ended_at = _end(snapshot, wall)
        return tuple(
            _profile(snapshot, part, counts, shown, ended_at) for part in snapshot.profiles
        )


def _end(snapshot: Snapshot, wall: float) -> float:
    """When the run ended, or now."""
    return snapshot.settled_at if snapshot.done and snapshot.settled_at is not None else wall


def _profile(
    snapshot: Snapshot,
    part: ProfileCounts,
    counts: Counts,
    shown: Iterable[WorkerRow],
    ended_at: float,
) -> ProfileProgress:
    mine = [worker for worker in shown if worker.profile == part.profile]
    senders = sum(worker.senders for worker in mine)
    return ProfileProgress(
        name=part.profile,
        counts=part,
        senders=senders,
        share=part.dispatched / counts.dispatched if counts.dispatched else 0.0,
        failure_rate=_failure_rate(snapshot.simulation, part.profile, mine),
        capacity=sum(worker.capacity for worker in mine),
        efficiency=_efficiency(snapshot, part, ended_at),
        hosts=by_host(mine),
        price=_price(snapshot, part.profile),
    )


def _failure_rate(
    simulation: Simulation, profile: str, workers: Sequence[WorkerRow]
) -> float | None:
    if workers:
        return mean_failure_rate(workers)
    configured = {sender.name: sender.failure_rate for sender in simulation.senders}
    return configured.get(profile)


def _price(snapshot: Snapshot, profile: str) -> float | None:
    """Of a message: that of its parts, on average; of one where nobody knows them."""
    senders = snapshot.simulation.senders
    price = next((one.price for one in senders if one.name == profile), None)
    if price is None:
        return None
    return price * (parts_per_message(snapshot.simulation, snapshot.seed) or 1.0)


def _efficiency(snapshot: Snapshot, part: ProfileCounts, ended_at: float) -> float | None:
    available = sum(
        worker.sender_seconds(snapshot.started_at, ended_at)
        for worker in snapshot.workers
        if worker.profile == part.profile
    )
    if not available or not part.send_seconds:
        return None
    return min(part.send_seconds / available, 1.0)


def _judgements(
    snapshot: Snapshot, counts: Counts, seconds: float, findings: Findings
) -> tuple[Judgement, ...]:
    evidence = Evidence(
        total=snapshot.total,
        counts=counts,
        seconds=seconds,
        reached={
            count: max(at - snapshot.started_at, 0) for count, at in findings.reached_at.items()
        },
        lost=findings.lost,
        doubled=findings.doubled,
    )
    judged = [
        judge(parse(one.check), evidence, one.abort) for one in snapshot.simulation.thresholds
    ]
    return tuple(one.at_the_end() if snapshot.done else one for one in judged)


def _warnings(
    snapshot: Snapshot, profiles: Sequence[ProfileProgress], stuck: Mapping[str, int]
) -> tuple[str, ...]:
    control = snapshot.control
    steered = [] if control is Control.RUNNING else [f"the run is {control}"]
    waiting = [
        f"profile {profile.name}: {of_messages(profile.counts.in_flight)} waiting, no sender online"
        f"{_to_be_taken(snapshot, profiles)}"
        for profile in profiles
        if profile.is_unattended
    ]
    old = [
        f"profile {name}: {of_messages(messages)} stuck: dispatched long ago and not settled"
        for name, messages in stuck.items()
    ]
    return (*steered, *waiting, *_passed_over(snapshot, profiles), *old)


def _to_be_taken(snapshot: Snapshot, profiles: Iterable[ProfileProgress]) -> str:
    failover = snapshot.simulation.failover
    if failover is None or failover.unattended is None or not any(one.senders for one in profiles):
        return ""
    return "; idle workers of other profiles take them over"


def _passed_over(snapshot: Snapshot, profiles: Sequence[ProfileProgress]) -> Iterator[str]:
    """Profiles to which adaptive routing gives nothing though others get messages, and why."""
    counts = snapshot.counts
    adaptive = snapshot.simulation.routing == "adaptive"
    if not adaptive or snapshot.done or snapshot.control is not Control.RUNNING:
        return
    anyone_online = any(profile.senders for profile in profiles)
    all_dispatched = counts.dispatched >= snapshot.total
    # Before the first settlement its turn may be still to come.
    begun = all_dispatched or counts.first_attempts > 0
    for profile in profiles:
        if (
            not profile.senders
            and anyone_online
            and not all_dispatched
            and not profile.is_unattended
        ):
            yield f"profile {profile.name} gets no messages: nobody is online"
        elif profile.senders and begun and not profile.counts.dispatched:
            yield f"profile {profile.name} gets no messages: its queue would be empty last"
