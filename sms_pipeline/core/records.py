"""What the ledger holds, as values: runs, batches, settlements, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

from sms_pipeline.core.counts import Counts, ProfileCounts, total
from sms_pipeline.core.failover import HandOver
from sms_pipeline.core.profiles import SenderProfile, capacity
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.core.simulation import Simulation

#: A worker that lives has written its heartbeat anew by then.
SEEN_AGAIN_SECONDS = 2.0

#: Who settles what was cancelled before any worker saw it.
CANCELLER = "cancel"

#: (run, batch number, attempt)
Key = tuple[int, int, int]


class Control(StrEnum):
    """What the user wants of a run. running <-> paused, and both -> cancelled, which is final."""

    #: Dispatch and send.
    RUNNING = "running"
    #: Dispatch nothing; workers put batches back to wait.
    PAUSED = "paused"
    #: Dispatch nothing; workers settle what they receive as cancelled.
    CANCELLED = "cancelled"


class Absorbed(StrEnum):
    """What came twice to a worker; none of it was counted twice."""

    #: The broker delivered a task again: its first receiver did not acknowledge it.
    REDELIVERED = "redelivered"
    #: The attempt was settled before: answered from the ledger, not played.
    ANSWERED = "answered"
    #: The attempt was settled while it was played again: its messages were sent twice.
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Run:
    """One rehearsal and the configuration it was started with."""

    id: int
    #: When the alert was asked for, seconds since the epoch. Delivery times and the deadline count
    #: from then.
    started_at: float
    seed: int
    total: int
    simulation: Simulation
    embedded: bool = False
    control: Control = Control.RUNNING
    next_index: int = 0
    next_batch: int = 0
    #: By which timeline its times go, those of all who work on it: see `clock.Timeline`.
    boot: str | None = None
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A dispatched range of messages."""

    run: int
    number: int
    profile: str
    first_index: int
    size: int
    queued_at: float
    published_at: float | None = None
    #: Who recorded it, and as which link of its chain: see `core.seal`.
    writer: str = field(default="", compare=False)
    link: int = field(default=0, compare=False)


#: What a settlement adds to the counters as it stands.
SUMMED = (
    "delivered",
    "failed",
    "expired",
    "cancelled",
    "retried",
    "send_seconds",
    "delivery_seconds",
    "transit_seconds",
)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one attempt of one batch came to."""

    key: Key
    #: Whose senders made it.
    profile: str
    worker: str
    messages: int
    delivered: int
    #: Out of attempts.
    failed: int
    retried: int
    #: Sum of the durations at the senders of all messages of this attempt.
    send_seconds: float
    #: Sum, over the messages that became delivered or failed, of the run's start to that moment …
    delivery_seconds: float
    #: … and of their dispatch to that moment.
    transit_seconds: float
    settled_at: float
    taken: bytes | None
    remainder: bytes | None
    #: By bucket of the histogram, and the longest of them, seconds.
    delivery_times: dict[int, int] = field(default_factory=dict)
    longest_delivery: float = 0.0
    #: Not delivered by the run's deadline.
    expired: int = 0
    cancelled: int = 0
    failed_indexes: Sequence[int] = ()
    expired_indexes: Sequence[int] = ()
    #: What went from profile to profile with it.
    handed_over: Sequence[HandOver] = field(default=(), compare=False)
    #: When its delivered messages were on the phone; None of senders without receipts.
    on_phone: OnPhone | None = None
    #: Who recorded it, and as which link of its chain: see `core.seal`.
    writer: str = field(default="", compare=False)
    link: int = field(default=0, compare=False)

    @classmethod
    def cancellation(
        cls,
        key: Key,
        profile: str,
        worker: str,
        messages: int,
        settled_at: float,
        taken: bytes | None = None,
    ) -> Settlement:
        """Of an attempt that was not made, because the run was cancelled."""
        return cls(
            key=key,
            profile=profile,
            worker=worker,
            messages=messages,
            delivered=0,
            failed=0,
            cancelled=messages,
            retried=0,
            send_seconds=0.0,
            delivery_seconds=0.0,
            transit_seconds=0.0,
            settled_at=settled_at,
            taken=taken,
            remainder=None,
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """What the ledger holds for an attempt: the caller acts on this, not on its own outcome."""

    #: None, too, where a newer attempt of the batch is settled: what it left is taken care of.
    remainder: bytes | None
    #: False when the ledger had the settlement before.
    new: bool = True


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process and one profile it serves."""

    id: str
    profile: str
    senders: int
    #: Mean seconds that an attempt keeps its sender busy.
    mean_time: float
    failure_rate: float
    heartbeat: int
    joined_at: float
    left_at: float | None
    shape: float
    max_time: float | None
    #: When it last wrote its heartbeat, seconds since the epoch on its own clock.
    seen_at: float

    @classmethod
    def playing(
        cls,
        profile: SenderProfile,
        id: str,
        heartbeat: int = 0,
        joined_at: float = 0.0,
        seen_at: float = 0.0,
    ) -> Self:
        """One that is there and plays `profile`."""
        return cls(
            id=id,
            profile=profile.name,
            senders=profile.count,
            mean_time=profile.mean_busy,
            failure_rate=profile.failure_rate,
            heartbeat=heartbeat,
            joined_at=joined_at,
            left_at=None,
            shape=profile.shape,
            max_time=profile.longest_busy,
            seen_at=seen_at,
        )

    @property
    def capacity(self) -> float:
        """Messages per second its senders can attempt; infinite when sending takes no time."""
        return capacity(self.senders, self.mean_time, self.shape, self.max_time)

    def sender_seconds(self, start: float, end: float) -> float:
        """What its senders could have worked between two moments, while it was there."""
        gone_at = self.seen_at + SEEN_AGAIN_SECONDS if self.left_at is None else self.left_at
        return self.senders * max(min(end, gone_at) - max(start, self.joined_at), 0.0)


def mean_failure_rate(workers: Sequence[WorkerRow]) -> float:
    """Share of attempts that fail at all their senders, 0 to 1; 0 if there are none."""
    senders = sum(worker.senders for worker in workers)
    failing = sum(worker.failure_rate * worker.senders for worker in workers)
    return failing / senders if senders else 0.0


class Steering(StrEnum):
    """What was done to a run from outside."""

    PAUSED = "paused"
    CONTINUED = "continued"
    CANCELLED = "cancelled"
    RESUMED = "resumed"


class Step(NamedTuple):
    """One such act."""

    what: Steering
    #: Seconds since the epoch.
    at: float
    #: Of `resume`: how long nothing had happened before it, seconds.
    idle_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent reading of a run's counters."""

    run: int
    total: int
    seed: int
    #: What the run was started with.
    simulation: Simulation
    control: Control
    profiles: tuple[ProfileCounts, ...]
    #: Worker processes that were there while the run was on, and may be there still; of a run that
    #: is done, those that settled something of it.
    workers: tuple[WorkerRow, ...]
    #: When the run was started, and when an attempt was last settled; None before that.
    started_at: float
    settled_at: float | None
    #: Whether its broker lives, and dies, with the process that started it.
    embedded: bool = False
    #: When something was last dispatched or settled; None if nothing ever was.
    active_at: float | None = None
    #: When and how the run was steered, in order.
    steps: tuple[Step, ...] = ()

    @property
    def last_sign(self) -> float:
        """When something last happened, seconds since the epoch; that it was steered counts."""
        steered_at = max((step.at for step in self.steps), default=0.0)
        return max(self.active_at or 0.0, self.started_at, steered_at)

    @property
    def counts(self) -> Counts:
        """The sums over all profiles."""
        return total(self.profiles)

    @property
    def dispatched(self) -> int:
        """Messages that were dispatched, of all profiles: all else in `counts` takes longer."""
        return sum(counts.dispatched for counts in self.profiles)

    @property
    def done(self) -> bool:
        """Every message is in a terminal state."""
        return sum(counts.finished for counts in self.profiles) >= self.total


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that was not delivered."""

    message_index: int
    batch: int
    profile: str
    #: "failed" (out of attempts) or "expired".
    reason: str
    attempts: int
    failed_at: float


class Unsettled(NamedTuple):
    """A batch that is not at its end: what its next attempt would be."""

    row: BatchRow
    attempt: int
    #: Bitmap of the messages it would take; None = the whole batch.
    remainder: bytes | None


class Retrying(NamedTuple):
    """Messages of a batch that failed an attempt and whose next one is not settled."""

    batch: int
    #: The profile that the batch was dispatched to.
    home: str
    #: The attempt that failed; 0 is the first.
    attempt: int
    messages: int
    #: When that was settled, seconds since the epoch.
    settled_at: float


class Recorded(NamedTuple):
    """Which messages a batch has, as its producer wrote it down."""

    profile: str
    first_index: int
    size: int


class Standing(NamedTuple):
    """What a worker must know before it plays an attempt."""

    control: Control
    #: What is settled for the attempt; None if nothing is.
    settled: Settled | None
    #: None if no producer has recorded such a batch.
    recorded: Recorded | None = None
