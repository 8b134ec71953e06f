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
#: Unsettled messages for each sender: one in play, and those of the same batch that ended before
#: its slowest did.
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
    #: Messages of this run dispatched to it whose first attempt is not settled.
    outstanding: int
    senders: int
    #: Messages a second that its senders deliver; may be infinite.
    rate: float
    batch_size: int
    #: Batches that may be outstanding whatever the rate; None = no such limit.
    max_batches: int | None = None

    @property
    def cap(self) -> float:
        """Messages that may be outstanding.

        3 * senders + min(5 s * rate, 500,000), at least 4 batches, at most `max_batches`.
        """
        waiting = min(self.rate * BACKLOG_SECONDS, MAX_WAITING_MESSAGES)
        cap = max(MESSAGES_PER_SENDER * self.senders + waiting, MIN_BATCHES * self.batch_size)
        return cap if self.max_batches is None else min(cap, self.max_batches * self.batch_size)

    @property
    def has_room(self) -> bool:
        """Whether one more batch fits under the cap."""
        return self.outstanding + self.batch_size <= self.cap

    @property
    def empty_after(self) -> float:
        """Seconds until its queue would be empty if it got one more batch."""
        return (self.outstanding + self.batch_size) / self.rate if self.rate else math.inf


def delivery_rate(nominal: float, failure_rate: float, observed: float | None) -> float:
    """Messages a second that senders deliver: min(nominal, 2 * observed) * (1 - failure_rate).

    `observed` is a rate of attempts seen while all senders were busy; None when there was none.
    """
    attempts = nominal if observed is None else min(nominal, GROWTH * observed)
    return 0.0 if failure_rate == 1 else attempts * (1 - failure_rate)


def choose(loads: Sequence[Load]) -> Load | None:
    """The profile whose queue would be empty soonest; among equals that with the least waiting."""
    return min(loads, key=lambda load: (load.empty_after, load.outstanding), default=None)


def choose_with_room(loads: Sequence[Load]) -> Load | None:
    """As `choose`, among the profiles that have room; None when no more should be dispatched."""
    return choose([load for load in loads if load.has_room])
