"""From readings of the counters to what people want to know. Pure: views only render this."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sms_pipeline.config.simulation import Simulation
from sms_pipeline.core import checks, histogram
from sms_pipeline.core.checks import Evidence, Judgement, State
from sms_pipeline.core.rates import Pace
from sms_pipeline.core.records import Control, ProfileCounts, Snapshot, WorkerRow

#: A worker is online while its heartbeat changed within this time, on the reader's own clock.
ONLINE_SECONDS = 5.0
#: After so long a reader has seen the heartbeat of every living worker change.
SURVEY_SECONDS = 2.5


class Liveness:
    """Tells which workers are online, without comparing the clocks of two hosts."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = frozenset(trusted)
        self._heartbeats: dict[str, int] = {}
        self._changed_at: dict[str, float] = {}
        self._since: float | None = None

    def observe(self, now: float, workers: Iterable[WorkerRow]) -> tuple[WorkerRow, ...]:
        """Those of `workers` that are online; `now` on any clock that only moves forward."""
        self._since = now if self._since is None else self._since
        present = tuple(workers)
        for worker in present:
            before = self._heartbeats.get(worker.id)
            if before is not None and before != worker.heartbeat:
                self._changed_at[worker.id] = now
            self._heartbeats[worker.id] = worker.heartbeat
        return tuple(worker for worker in present if self._is_online(worker.id, now))

    def is_decided(self, now: float, workers: Iterable[WorkerRow]) -> bool:
        """Whether each of `workers` was watched long enough to tell."""
        unseen = any(
            worker.id not in self._trusted and worker.id not in self._changed_at
            for worker in workers
        )
        return not unseen or (self._since is not None and now - self._since >= SURVEY_SECONDS)

    def last_seen(self, worker: str, now: float) -> float | None:
        """Seconds since its heartbeat was seen to change; None if it never was."""
        changed = self._changed_at.get(worker)
        return None if changed is None else now - changed

    def _is_online(self, worker: str, now: float) -> bool:
        changed = self._changed_at.get(worker)
        return worker in self._trusted or (changed is not None and now - changed <= ONLINE_SECONDS)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of a run beyond its counters."""

    #: Messages by profile that were dispatched too long ago.
    stuck: Mapping[str, int] = field(default_factory=dict)
    #: Seconds since the epoch at which so many messages were delivered.
    reached_at: Mapping[int, float] = field(default_factory=dict)
    #: From the audit; None before it.
    lost: int | None = None
    doubled: int | None = None


_NOTHING_FOUND = Findings()


@dataclass(frozen=True, slots=True)
class Times:
    """Average times per message, in seconds; None while nothing was counted."""

    mean_send: float | None
    mean_delivery: float | None
    p50_delivery: float | None
    p95_delivery: float | None
    p99_delivery: float | None


@dataclass(frozen=True, slots=True)
class ProfileProgress:
    """A profile's part in a run."""

    name: str
    online_senders: int
    #: Messages dispatched to it, and its part of all dispatched so far, 0 to 1.
    dispatched: int
    share: float
    #: Messages dispatched to it whose first attempt is not settled.
    backlog: int
    retrying: int
    sent: int
    failed: int
    expired: int
    cancelled: int
    #: Attempts made at a sender: none is made at what expired or was cancelled.
    attempts: int
    failed_attempts: int
    #: As the run's configuration has it; workers may have been started with another.
    failure_rate: float | None
    #: Messages a second that its online senders can attempt, by their own mean times.
    capacity: float
    #: Attempts settled per attempt they could have made (`Pace.efficiency`): over the last
    #: seconds, or over the time watched when the run is done.
    efficiency: float | None
    times: Times

    @property
    def in_flight(self) -> int:
        """Messages dispatched to it that are not in a terminal state."""
        return self.backlog + self.retrying

    @property
    def is_unattended(self) -> bool:
        """Messages are in flight, and no sender is online for them."""
        return self.in_flight > 0 and not self.online_senders

    @property
    def failure_rate_seen(self) -> float | None:
        """Failed attempts per attempt made; None before the first."""
        return _failure_rate(self.failed_attempts, self.attempts)


@dataclass(frozen=True, slots=True)
class Progress:
    """A run at one moment."""

    run: int
    total: int
    seed: int
    #: What it was started with.
    simulation: Simulation
    control: Control
    sent: int
    failed: int
    #: Not sent by the deadline.
    expired: int
    cancelled: int
    #: Attempts made at a sender: none is made at what expired or was cancelled.
    attempts: int
    failed_attempts: int
    dispatched: int
    backlog: int
    retrying: int
    #: Of the first dispatch, seconds since the epoch; None before it.
    started_at: float | None
    #: From the first dispatch to now, or to the last settlement when done.
    seconds: float
    #: Messages a second that reached a terminal state over the last seconds…
    rate: float
    #: … and that were sent or failed over all; those that expired or were cancelled took no time.
    average_rate: float
    #: The rate of each of the last seconds, oldest first.
    history: tuple[float, ...]
    #: Seconds since this reader saw the number of finished messages change, or began to look.
    still_seconds: float
    eta_seconds: float | None
    times: Times
    profiles: tuple[ProfileProgress, ...]
    warnings: tuple[str, ...]
    thresholds: tuple[Judgement, ...] = ()

    @property
    def finished(self) -> int:
        """Messages in a terminal state."""
        return self.sent + self.failed + self.expired + self.cancelled

    @property
    def done(self) -> bool:
        """Every message is in a terminal state."""
        return self.finished >= self.total

    @property
    def missed(self) -> tuple[Judgement, ...]:
        """The thresholds that it does not keep to, whatever still happens."""
        return tuple(one for one in self.thresholds if one.state is State.MISSED)

    @property
    def share(self) -> float:
        """Finished messages, 0 to 1 of the run."""
        return self.finished / self.total

    @property
    def in_flight(self) -> int:
        """Messages dispatched that are not in a terminal state: backlog and retrying."""
        return self.backlog + self.retrying

    @property
    def reached(self) -> float:
        """Delivered messages, 0 to 1 of the run."""
        return self.sent / self.total

    @property
    def failure_rate_seen(self) -> float | None:
        """Failed attempts per attempt made; None before the first."""
        return _failure_rate(self.failed_attempts, self.attempts)

    def to_json(self) -> dict[str, Any]:
        """The fields of `--json`."""
        return {
            "run": self.run,
            "total": self.total,
            "seed": self.seed,
            "started_at": None if self.started_at is None else _iso(self.started_at),
            "sent": self.sent,
            "failed": self.failed,
            "expired": self.expired,
            "cancelled": self.cancelled,
            "attempts": self.attempts,
            "failed_attempts": self.failed_attempts,
            "failure_rate_seen": _rounded(self.failure_rate_seen),
            "seconds": round(self.seconds, 3),
            "messages_per_second": round(self.average_rate, 3),
            **_times_json(self.times),
            "done": self.done,
            "control": self.control.value,
            "rate": round(self.rate, 3),
            "history": [round(rate, 3) for rate in self.history],
            "still_seconds": round(self.still_seconds, 3),
            "eta_seconds": _rounded(self.eta_seconds),
            "reached": _rounded(self.reached),
            "dispatched": self.dispatched,
            "in_flight": self.in_flight,
            "backlog": self.backlog,
            "retrying": self.retrying,
            "profiles": [_profile_json(profile) for profile in self.profiles],
            "warnings": list(self.warnings),
            "thresholds": [judgement.to_json() for judgement in self.thresholds],
        }


class Tracker:
    """Turns successive snapshots of one run into its progress."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._liveness = Liveness(trusted)
        self._pace = Pace()
        #: Whether it can tell by now who is online; before that it warns of nobody missing.
        self.decided = False

    def update(
        self,
        snapshot: Snapshot,
        now: float,
        wall: float,
        findings: Findings = _NOTHING_FOUND,
    ) -> Progress:
        """Progress at `now` (a clock that only moves forward) and `wall` (seconds since epoch)."""
        online = self._liveness.observe(now, snapshot.workers)
        self.decided = self._liveness.is_decided(now, snapshot.workers)
        merged = _merged(snapshot.profiles)
        self._pace.observe(
            now,
            merged.finished,
            {counts.profile: counts.attempts_made for counts in snapshot.profiles},
            _capacities(online),
        )
        profiles = self._profiles(snapshot, online, merged)
        finished = merged.finished
        rate = self._pace.rate
        seconds = _seconds(snapshot, finished, wall)
        return Progress(
            run=snapshot.run,
            total=snapshot.total,
            seed=snapshot.seed,
            simulation=snapshot.simulation,
            control=snapshot.control,
            sent=merged.delivered,
            failed=merged.failed,
            expired=merged.expired,
            cancelled=merged.cancelled,
            attempts=merged.attempts_made,
            failed_attempts=merged.failed_attempts,
            dispatched=merged.dispatched,
            backlog=merged.unsettled,
            retrying=merged.retrying,
            started_at=snapshot.started_at,
            seconds=seconds,
            rate=rate,
            average_rate=(merged.delivered + merged.failed) / seconds if seconds else 0.0,
            history=self._pace.history,
            still_seconds=self._pace.still_seconds,
            eta_seconds=_eta(snapshot.total - finished, rate),
            times=_times(merged),
            profiles=profiles,
            warnings=_warnings(snapshot.control, profiles, findings.stuck) if self.decided else (),
            thresholds=_judgements(snapshot, merged, seconds, findings),
        )

    def _profiles(
        self, snapshot: Snapshot, online: Iterable[WorkerRow], merged: ProfileCounts
    ) -> tuple[ProfileProgress, ...]:
        senders = Counter[str]()
        for worker in online:
            senders[worker.profile] += worker.senders
        capacities = _capacities(online)
        rates = _failure_rates(snapshot.simulation)
        done = merged.finished >= snapshot.total
        return tuple(
            ProfileProgress(
                name=counts.profile,
                online_senders=senders[counts.profile],
                dispatched=counts.dispatched,
                share=counts.dispatched / merged.dispatched if merged.dispatched else 0.0,
                backlog=counts.unsettled,
                retrying=counts.retrying,
                sent=counts.delivered,
                failed=counts.failed,
                expired=counts.expired,
                cancelled=counts.cancelled,
                attempts=counts.attempts_made,
                failed_attempts=counts.failed_attempts,
                failure_rate=rates.get(counts.profile),
                capacity=capacities.get(counts.profile, 0.0),
                efficiency=self._pace.efficiency(counts.profile, over_all=done),
                times=_times(counts),
            )
            for counts in snapshot.profiles
        )


def _judgements(
    snapshot: Snapshot, merged: ProfileCounts, seconds: float, findings: Findings
) -> tuple[Judgement, ...]:
    started_at = snapshot.started_at or 0.0
    evidence = Evidence(
        total=snapshot.total,
        sent=merged.delivered,
        failed=merged.failed,
        expired=merged.expired,
        cancelled=merged.cancelled,
        attempts=merged.attempts_made,
        failed_attempts=merged.failed_attempts,
        seconds=seconds,
        send_seconds=merged.send_seconds,
        delivery_seconds=merged.delivery_seconds,
        delivery_times=merged.delivery_times,
        reached={count: max(at - started_at, 0) for count, at in findings.reached_at.items()},
        lost=findings.lost,
        doubled=findings.doubled,
    )
    return tuple(
        checks.judge(checks.parse(one.check), evidence, one.abort)
        for one in snapshot.simulation.thresholds
    )


def _capacities(online: Iterable[WorkerRow]) -> dict[str, float]:
    """Messages a second that the online senders of each profile can attempt."""
    capacities: dict[str, float] = defaultdict(float)
    for worker in online:
        capacities[worker.profile] += worker.capacity
    return capacities


def _failure_rates(simulation: Simulation) -> dict[str, float]:
    return {sender.name: sender.failure_rate for sender in simulation.senders}


def _failure_rate(failed_attempts: int, attempts: int) -> float | None:
    return failed_attempts / attempts if attempts else None


def _merged(profiles: Iterable[ProfileCounts]) -> ProfileCounts:
    """The sums over all profiles."""
    parts = list(profiles)
    buckets: Counter[int] = Counter()
    for counts in parts:
        buckets.update(counts.delivery_times)
    return ProfileCounts(
        profile="",
        dispatched=sum(counts.dispatched for counts in parts),
        first_attempts=sum(counts.first_attempts for counts in parts),
        attempts=sum(counts.attempts for counts in parts),
        delivered=sum(counts.delivered for counts in parts),
        failed=sum(counts.failed for counts in parts),
        expired=sum(counts.expired for counts in parts),
        cancelled=sum(counts.cancelled for counts in parts),
        retried=sum(counts.retried for counts in parts),
        send_seconds=sum(counts.send_seconds for counts in parts),
        delivery_seconds=sum(counts.delivery_seconds for counts in parts),
        delivery_times=dict(buckets),
    )


def _times(counts: ProfileCounts) -> Times:
    timed = counts.delivered + counts.failed
    return Times(
        mean_send=counts.send_seconds / counts.attempts_made if counts.attempts_made else None,
        mean_delivery=counts.delivery_seconds / timed if timed else None,
        p50_delivery=histogram.percentile(counts.delivery_times, 0.50),
        p95_delivery=histogram.percentile(counts.delivery_times, 0.95),
        p99_delivery=histogram.percentile(counts.delivery_times, 0.99),
    )


def _seconds(snapshot: Snapshot, finished: int, wall: float) -> float:
    if snapshot.started_at is None:
        return 0.0
    done = finished >= snapshot.total and snapshot.settled_at is not None
    return max((snapshot.settled_at if done else wall) - snapshot.started_at, 0.0)  # type: ignore[operator]


def _eta(left: int, rate: float) -> float | None:
    if left == 0:
        return 0.0
    return left / rate if rate > 0 else None


def _warnings(
    control: Control, profiles: Iterable[ProfileProgress], stuck: Mapping[str, int]
) -> tuple[str, ...]:
    steered = [] if control is Control.RUNNING else [f"the run is {control}"]
    waiting = [
        f"profile {profile.name}: {profile.in_flight:,} messages waiting, no sender online"
        for profile in profiles
        if profile.is_unattended
    ]
    old = [
        f"profile {name}: {messages:,} messages dispatched long ago and not settled"
        for name, messages in stuck.items()
    ]
    return (*steered, *waiting, *old)


def _times_json(times: Times) -> dict[str, float | None]:
    return {
        "mean_send_seconds": _rounded(times.mean_send),
        "mean_delivery_seconds": _rounded(times.mean_delivery),
        "p50_delivery_seconds": _rounded(times.p50_delivery),
        "p95_delivery_seconds": _rounded(times.p95_delivery),
        "p99_delivery_seconds": _rounded(times.p99_delivery),
    }


def _profile_json(profile: ProfileProgress) -> dict[str, Any]:
    return {
        "name": profile.name,
        "online_senders": profile.online_senders,
        "dispatched": profile.dispatched,
        "share": _rounded(profile.share),
        "in_flight": profile.in_flight,
        "backlog": profile.backlog,
        "retrying": profile.retrying,
        "sent": profile.sent,
        "failed": profile.failed,
        "expired": profile.expired,
        "cancelled": profile.cancelled,
        "attempts": profile.attempts,
        "failed_attempts": profile.failed_attempts,
        "failure_rate": _rounded(profile.failure_rate),
        "failure_rate_seen": _rounded(profile.failure_rate_seen),
        "capacity": _rounded(profile.capacity),
        "efficiency": _rounded(profile.efficiency),
        **_times_json(profile.times),
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 6)
