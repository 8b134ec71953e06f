"""What a run's messages have come to, as numbers that can be added up. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from sms_pipeline.core import histogram
from sms_pipeline.core.receipts import NO_RECEIPTS, OnPhone, total_on_phone


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Sums over settlements and dispatched batches. Counts are messages, unless they say attempts.

    Every message ends as one of delivered, failed, expired and cancelled.
    """

    dispatched: int = 0
    #: Those dispatched whose first attempt is settled, whoever made it.
    first_attempts: int = 0
    #: Messages that came from other profiles, …
    handed_in: int = 0
    #: … and that went to others.
    handed_away: int = 0
    attempts: int = 0
    delivered: int = 0
    #: Out of attempts.
    failed: int = 0
    #: Not delivered by the deadline.
    expired: int = 0
    cancelled: int = 0
    retried: int = 0
    send_seconds: float = 0.0
    delivery_seconds: float = 0.0
    transit_seconds: float = 0.0
    #: The longest delivery time, seconds.
    longest_delivery: float = 0.0
    #: Messages by bucket of the histogram of delivery times.
    delivery_times: dict[int, int] = field(default_factory=dict)
    #: When those delivered were on the phone, as far as their senders have receipts.
    on_phone: OnPhone = NO_RECEIPTS

    @property
    def finished(self) -> int:
        """Messages in a terminal state."""
        return self.delivered + self.failed + self.expired + self.cancelled

    @property
    def timed(self) -> int:
        """Messages that have a delivery time: those that expired or were cancelled have none."""
        return self.delivered + self.failed

    @property
    def attempts_made(self) -> int:
        """Attempts at a sender: none is made at what expired or was cancelled."""
        return self.attempts - self.expired - self.cancelled

    @property
    def failed_attempts(self) -> int:
        """Attempts that failed, whether or not another followed."""
        return self.retried + self.failed

    @property
    def failure_rate(self) -> float | None:
        """Failed attempts per attempt made, 0 to 1; None before the first."""
        return self.failed_attempts / self.attempts_made if self.attempts_made else None

    @property
    def backlog(self) -> int:
        """Messages dispatched whose first attempt is not settled."""
        return self.dispatched - self.first_attempts

    @property
    def retrying(self) -> int:
        """Messages that failed an attempt and whose next one is not settled."""
        return self.in_flight - self.backlog

    @property
    def in_flight(self) -> int:
        """Messages in no terminal state: dispatched or handed in, and not handed away."""
        return self.dispatched + self.handed_in - self.handed_away - self.finished

    @property
    def mean_send(self) -> float | None:
        """Seconds that an attempt took at its sender, on average; None before the first."""
        return self.send_seconds / self.attempts_made if self.attempts_made else None

    @property
    def mean_send_in_all(self) -> float | None:
        """Seconds at senders over all attempts of a message, on average; None before the first."""
        return self.send_seconds / self.timed if self.timed else None

    @property
    def mean_delivery(self) -> float | None:
        """Seconds from the run's start to a message's end, on average; None before the first."""
        return self.delivery_seconds / self.timed if self.timed else None

    @property
    def mean_transit(self) -> float | None:
        """Seconds from a message's dispatch to its end, on average; None before the first."""
        return self.transit_seconds / self.timed if self.timed else None

    def percentile(self, share: float) -> float | None:
        """The delivery time, in seconds, within which `share` (0 to 1) of the timed ones ended."""
        return histogram.percentile(self.delivery_times, share, self.longest_delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileCounts(Counts):
    """Those of one profile."""

    profile: str


#: What is added up as it stands.
_NUMBERS = tuple(
    one.name
    for one in fields(Counts)
    if one.name not in ("delivery_times", "longest_delivery", "on_phone")
)


def total(parts: Iterable[Counts]) -> Counts:
    """The sums of all parts."""
    added = list(parts)
    numbers = {name: sum(getattr(part, name) for part in added) for name in _NUMBERS}
    return Counts(
        **numbers,
        longest_delivery=max((part.longest_delivery for part in added), default=0.0),
        delivery_times=histogram.total(part.delivery_times for part in added),
        on_phone=total_on_phone(part.on_phone for part in added),
    )


def how_many(number: int, one: str, more: str = "") -> str:
    """1 row, 1,234 rows; `more` where it is not `one` with an s, or a verb follows."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def of_messages(number: int) -> str:
    """1 message, 1,234 messages."""
    return how_many(number, "message")


def of_attempts(number: int) -> str:
    """1 attempt, 4 attempts."""
    return how_many(number, "attempt")
