"""What became of one message, attempt by attempt. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from sms_pipeline.core.bitmap import bitmap_as_number
from sms_pipeline.core.records import BatchRow, Settlement


class Outcome(StrEnum):
    """What an attempt came to for one message."""

    DELIVERED = "delivered"
    #: The attempt failed, and another follows.
    RETRIED = "failed, to be retried"
    #: The attempt failed, and it was the last.
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Attempt(NamedTuple):
    """One attempt at a message."""

    #: 1 is the first.
    number: int
    #: When its batch was settled, seconds since the epoch.
    settled_at: float
    profile: str
    worker: str
    outcome: Outcome


def attempts_at(
    index: int, batch: BatchRow, chain: Iterable[Settlement], not_reached: str | None
) -> Iterator[Attempt]:
    """The settled attempts at a message, in order.

    Args:
        index: the message's, in the run.
        batch: the batch it is in.
        chain: the batch's settlements, by attempt.
        not_reached: the reason under which it is listed as not reached, if it is.
    """
    # The last message of a batch is the lowest bit.
    bit = 1 << (batch.size - 1 - (index - batch.first_index))
    for settlement in chain:
        if (
            settlement.taken is not None
            and not bitmap_as_number(settlement.taken, batch.size) & bit
        ):
            return
        yield Attempt(
            number=settlement.key[2] + 1,
            settled_at=settlement.settled_at,
            profile=settlement.profile,
            worker=settlement.worker,
            outcome=_outcome(settlement, batch.size, bit, not_reached),
        )


def _outcome(settlement: Settlement, size: int, bit: int, not_reached: str | None) -> Outcome:
    if settlement.cancelled:
        return Outcome.CANCELLED
    if settlement.remainder is not None and bitmap_as_number(settlement.remainder, size) & bit:
        return Outcome.RETRIED
    return Outcome(not_reached) if not_reached else Outcome.DELIVERED
