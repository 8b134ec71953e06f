"""What an attempt came to: from the outcomes of its messages to the settlement. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core import histogram
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.bitmap import pack_offsets
from sms_pipeline.core.failover import HandOver, hand_overs
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.core.records import Settlement

#: Moments, seconds since the epoch, one for each message of an attempt.
Moments = NDArray[np.float64]


def due_at(batch: Batch) -> float:
    """Until when its messages may be sent, seconds since the epoch; infinite without a deadline."""
    return math.inf if batch.deadline is None else batch.started_at + batch.deadline


def expire(outcomes: Outcomes, ended_at: Moments, due: float) -> Outcomes:
    """`outcomes` without what came too late: neither delivered, nor to be tried again.

    Expired messages have no send time: some were given up before a sender took them.

    Args:
        outcomes: what became of each message.
        ended_at: when each ended; NaN for those that no sender took in time.
        due: when all must have ended, seconds since the epoch.
    """
    late = ~(ended_at <= due)
    if not late.any():
        return outcomes
    return outcomes._replace(
        durations=np.where(late, 0.0, outcomes.durations),
        delivered=outcomes.delivered & ~late,
        expired=late,
        busy=None,
    )


def settlement_of(
    batch: Batch,
    outcomes: Outcomes,
    ended_at: Moments,
    worker: str,
    settled_at: float,
    played_by: str | None = None,
) -> Settlement:
    """The settlement of an attempt that was made.

    A message that was not delivered is retried if the policy allows another attempt, else it has
    failed; one that expired is neither. One that its hours left unsent is always handed on.
    `played_by` is the profile that made the attempt; None:
    the one that it was meant for.
    """
    profile = played_by or batch.profile
    positions = batch.positions()
    delivered = outcomes.delivered
    expired = np.zeros_like(delivered) if outcomes.expired is None else outcomes.expired
    unsuccessful = ~delivered & ~expired
    unsent = np.zeros_like(delivered) if outcomes.unsent is None else outcomes.unsent
    retried = unsuccessful if batch.may_be_retried else unsuccessful & unsent
    failed = unsuccessful & ~retried
    timed = ended_at[delivered | failed]
    delivery_times = np.maximum(timed - batch.started_at, 0)
    return Settlement(
        key=batch.key,
        profile=profile,
        worker=worker,
        messages=len(positions),
        delivered=int(delivered.sum()),
        failed=int(failed.sum()),
        expired=int(expired.sum()),
        retried=int(retried.sum()),
        send_seconds=float(outcomes.durations.sum()),
        delivery_seconds=float(delivery_times.sum()),
        transit_seconds=float(np.maximum(timed - batch.queued_at, 0).sum()),
        longest_delivery=float(delivery_times.max(initial=0.0)),
        settled_at=settled_at,
        taken=_taken(batch),
        remainder=pack_offsets(positions[retried], batch.size) if retried.any() else None,
        delivery_times=histogram.count_buckets(delivery_times),
        failed_indexes=(batch.first_index + positions[failed]).tolist(),
        expired_indexes=(batch.first_index + positions[expired]).tolist(),
        handed_over=_handed_over(batch, profile, len(positions), int(retried.sum())),
        on_phone=_on_phone(batch, outcomes, ended_at),
    )


def _on_phone(batch: Batch, outcomes: Outcomes, ended_at: Moments) -> OnPhone | None:
    if outcomes.receipts is None:
        return None
    delivered_after = np.maximum(ended_at[outcomes.delivered] - batch.started_at, 0)
    return OnPhone.of(delivered_after + outcomes.receipts[outcomes.delivered])


def cancellation_of(
    batch: Batch, worker: str, settled_at: float, played_by: str | None = None
) -> Settlement:
    """The settlement of an attempt that was not made, because its run was cancelled."""
    profile, messages = played_by or batch.profile, batch.count
    settlement = Settlement.cancellation(
        batch.key, profile, worker, messages, settled_at, _taken(batch)
    )
    return replace(settlement, handed_over=_handed_over(batch, profile, messages, 0))


def _handed_over(batch: Batch, profile: str, messages: int, left: int) -> tuple[HandOver, ...]:
    return tuple(hand_overs(batch.home, batch.failover, batch.attempt, profile, messages, left))


def _taken(batch: Batch) -> bytes | None:
    return None if batch.offsets is None else pack_offsets(batch.positions(), batch.size)
