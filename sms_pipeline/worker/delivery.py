"""What a worker does with a batch that the broker delivered: the protocol.

It asks for effects and is told what came of them (`core.steps`). Whoever drives it acknowledges the
batch when the protocol has ended, and not before: what was settled and handed on is safe then.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.bitmap import unpack_offsets
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.records import Absorbed, Control, Settled, Settlement, Standing
from sms_pipeline.core.retry import retry_delay
from sms_pipeline.core.settling import Moments, cancellation_of, due_at, expire, settlement_of

#: A batch of a paused run comes back to a worker after so long: `continue` takes effect by then.
PAUSE_SECONDS = 2
#: A batch that waits for its hours comes back at the latest after so long: `cancel` takes effect
#: by then.
LONGEST_CLOSED_SECONDS = 60
#: How the result of a delivery begins when it hands messages on to another attempt.
RETRIED = "retried as "


@dataclass(frozen=True, slots=True)
class ReadStanding:
    """What the user wants of the batch's run, and what is settled for this attempt: `Standing`."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Play:
    """Send the messages of this attempt; the answer is `Played`, once all have ended."""

    batch: Batch
    #: Messages that no sender can start by then are not sent; seconds since the epoch.
    give_up_at: float
    #: The profile whose senders make it; None: the one that it is meant for.
    profile: str | None = None
    #: When the run's hours are over: the same, but these are left unsent, not expired.
    closes_at: float = math.inf


class Played(NamedTuple):
    """What became of each message, and when."""

    outcomes: Outcomes
    #: NaN for messages that were given up.
    ended_at: Moments


@dataclass(frozen=True, slots=True)
class Settle:
    """Commit a settlement; the answer is what the ledger holds then: `Settled`."""

    settlement: Settlement


@dataclass(frozen=True, slots=True)
class Publish:
    """Give a batch to the broker, for a worker to receive in `delay` seconds.

    Answered once the broker has confirmed it.
    """

    batch: Batch
    delay: int


@dataclass(frozen=True, slots=True)
class Note:
    """Count what came twice."""

    kind: Absorbed
    batch: Batch


Effect = ReadStanding | Play | Settle | Publish | Note
#: What it hands on, in words, if anything.
Delivery = Generator[Effect, Any, str | None]


def deliver(
    batch: Batch, worker: str, clock: Clock, queued: bool = True, profile: str | None = None
) -> Delivery:
    """Play one attempt of the batch, settle it, and hand its remainder to the next attempt.

    An attempt that is settled already is answered from the ledger. The remainder that is handed on
    is always the stored one.

    Args:
        batch: what was delivered.
        worker: who settles it.
        clock: tells when it was settled.
        queued: False in eager mode, where no queue can hold the batch of a paused run.
        profile: the profile whose senders make the attempt; None: the one that it is meant for.
    """
    profile = profile or batch.profile
    standing: Standing = yield ReadStanding(batch)
    if standing.settled is not None:
        yield Note(Absorbed.ANSWERED, batch)
        settled = standing.settled
    elif queued and (standing.control is Control.PAUSED or not _may_play(batch, profile)):
        # Not held: a message that stays unacknowledged for long is taken away by the broker.
        return (yield from _publish(batch, PAUSE_SECONDS))
    elif standing.control is Control.CANCELLED:
        settled = yield Settle(cancellation_of(batch, worker, clock.wall(), profile))
    elif queued and closed_for(batch, clock.wall()):
        return (yield from _publish(batch, _back_after(batch, clock.wall())))
    else:
        made = yield from _attempt(batch, profile, worker, clock, queued)
        if made is None:
            return (yield from _publish(batch, _back_after(batch, clock.wall())))
        settled, batch = made
    if settled.remainder is None:
        return None
    remainder = batch.remainder(unpack_offsets(settled.remainder, batch.size))
    return (yield from _publish(remainder, retry_delay(batch.retry, batch.seed, batch.key)))


def _may_play(batch: Batch, profile: str) -> bool:
    """Not if it is of a run without failover, and came to a queue that others look after."""
    return batch.profile == profile or batch.may_be_taken_over


def closed_for(batch: Batch, wall: float) -> float:
    """Seconds until its run may send, or until its messages expire; 0 if that is now."""
    opens_in = batch.window.opens_in(wall) if batch.window else 0.0
    return max(min(opens_in, due_at(batch) - wall), 0.0)


def _back_after(batch: Batch, wall: float) -> int:
    """Whole seconds until it should come back."""
    return max(math.ceil(min(closed_for(batch, wall), LONGEST_CLOSED_SECONDS)), 1)


def _attempt(
    batch: Batch, profile: str, worker: str, clock: Clock, queued: bool
) -> Generator[Effect, Any, tuple[Settled, Batch] | None]:
    """The settlement, and the batch as its next attempt is to know it.

    None if its hours were over before a sender took any of it: then no attempt was made.
    """
    due = due_at(batch)
    closes_at = batch.window.closes_at(clock.wall()) if batch.window and queued else math.inf
    played: Played = yield Play(batch, due, profile, closes_at)
    unsent = played.outcomes.unsent
    if unsent is not None and unsent.all():
        return None
    outcomes = expire(played.outcomes, played.ended_at, due)
    settlement = settlement_of(batch, outcomes, played.ended_at, worker, clock.wall(), profile)
    settled: Settled = yield Settle(settlement)
    if not settled.new:
        yield Note(Absorbed.REPEATED, batch)
    if unsent is None:
        return settled, batch
    return settled, batch.model_copy(update={"spared": batch.spared + 1})


def _publish(batch: Batch, delay: int) -> Delivery:
    yield Publish(batch, delay)
    return f"{RETRIED}{batch.describe()} in {delay} s"
