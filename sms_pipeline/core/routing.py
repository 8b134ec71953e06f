"""Which profile gets the next batch, and when none should. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Work that may wait in front of busy senders: enough to bridge a pause of the producer, little
#: enough that senders that join find something to take.
BACKLOG_SECONDS = 5.0
#: Messages that may wait however fast the senders are: about 35 MB at the broker.
MAX_WAITING_MESSAGES = 500_000
#: Unsettled messages for each sender, or each in play: that one, and those of the same batch
#: that ended before its slowest did.
MESSAGES_PER_SENDER = 3
#: A profile with few slow senders may hold this many batches all the same.
MIN_BATCHES = 4
#: A rate seen while senders were busy is trusted up to this factor; so an estimate that is too low
#: corrects itself.
GROWTH = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """What routing needs to know about a profile."""

    profile: str
    #: Messages of this run dispatched to it whose first attempt is not settled, but for those that
    #: its online senders can't come by; and those that others handed over to it.
    outstanding: int
    #: Messages that are under way while all its senders are busy: one for each sender, or more.
    in_play: int
    #: Messages a second that its senders deliver or leave to others; may be infinite.
    rate: float
    batch_size: int
    #: Batches that may be outstanding whatever the rate; None = no such limit.
    max_batches: int | None = None
    #: Worker processes that its senders are in.
    workers: int = 1

    @property
    def cap(self) -> float:
        """Messages that may be outstanding.

        3 * in_play + min(5 s * rate, 500,000), at least 4 batches and one for each worker, at most
        `max_batches`.
        """
        waiting = min(self.rate * BACKLOG_SECONDS, MAX_WAITING_MESSAGES)
        least = max(MIN_BATCHES, self.workers) * self.batch_size
        cap = max(MESSAGES_PER_SENDER * self.in_play + waiting, least)
        return cap if self.max_batches is None else min(cap, self.max_batches * self.batch_size)

    @property
    def has_room(self) -> bool:
        """Whether one more batch fits under the cap."""
        return self.outstanding + self.batch_size <= self.cap

    @property
    def empty_after(self) -> float:
        """Seconds until its queue would be empty if it got one more batch."""
        return (self.outstanding + self.batch_size) / self.rate if self.rate else math.inf


#: Batches that senders can work on at once: one in play, one ahead, one whose tail is ending.
_BATCHES_AT_ONCE = 3
#: Threads that wait for a batch's last message or hold a remainder's publish.
_SPARE_BATCHES = 50
_MAX_BATCHES = 1_000
#: RabbitMQ closes the channel of a delivery held for 30 minutes: all that a worker takes in hand
#: must be done well before.
MAX_IN_HAND_SECONDS = 1_200.0


def batches_in_hand(in_play: int, capacity: float, batch_size: int) -> int:
    """Batches that a worker takes in hand: clamp(3 * in_play / batch + 50, 1, 1000).

    `in_play` is how many messages are under way while all its senders are busy. Never more than
    they, at `capacity` messages a second, can work off in `MAX_IN_HAND_SECONDS`.
    """
    wanted = -(-_BATCHES_AT_ONCE * in_play // batch_size) + _SPARE_BATCHES
    in_time = _MAX_BATCHES
    if math.isfinite(capacity):
        in_time = int(MAX_IN_HAND_SECONDS * capacity / batch_size)
    return max(1, min(wanted, in_time, _MAX_BATCHES))


def outstanding(backlog: int, stuck: int, with_lost: int) -> int:
    """Messages of the backlog that count against those who can send them.

    backlog - max(stuck, with_lost), at least 0. Those that are stuck and those that lost workers
    may hold are the same messages, or will be.
    """
    return max(backlog - max(stuck, with_lost), 0)


def delivery_rate(
    nominal: float, failure_rate: float, observed: float | None, most_attempts: float = math.inf
) -> float:
    """Messages a second that senders deliver, or leave to others after `most_attempts`.

    min(nominal, 2 * observed) * (1 - p) / (1 - p ** most_attempts), where p is the failure rate.
    `observed` is a rate of attempts seen while all senders were busy; None when there was none.
    """
    attempts = nominal if observed is None else min(nominal, GROWTH * observed)
    if failure_rate == 1:
        return 0.0 if math.isinf(most_attempts) else attempts / most_attempts
    go_on: float = failure_rate**most_attempts
    return attempts * (1 - failure_rate) / (1 - go_on)


def choose(loads: Sequence[Load]) -> Load | None:
    """The profile whose queue would be empty soonest; among equals that with the least waiting."""
    return min(loads, key=lambda load: (load.empty_after, load.outstanding), default=None)


def choose_with_room(loads: Sequence[Load]) -> Load | None:
    """As `choose`, among the profiles that have room; None when no more should be dispatched."""
    return choose([load for load in loads if load.has_room])
