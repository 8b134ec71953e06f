"""Who may have got a message twice, though it was counted once. Pure.

An attempt is sent again where its worker vanished before it was settled, and where `resume` gave it
to the broker once more. The ledger does not know which attempts a vanished worker had begun, so all
are named that it may have had.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sms_pipeline.core.bitmap import Offsets, unpack_offsets
from sms_pipeline.core.failover import Failover, profile_of
from sms_pipeline.core.records import SEEN_AGAIN_SECONDS, BatchRow, Settlement, WorkerRow
from sms_pipeline.core.unattended import MAX_TAKEN_SECONDS


class Open(NamedTuple):
    """An attempt while it was to be made."""

    number: int
    #: Seconds since the epoch; infinite while it is not settled.
    since: float
    settled_at: float
    #: Who settled it.
    worker: str | None
    #: Of its messages in the batch.
    offsets: Offsets


class MaybeTwice(NamedTuple):
    """Messages of an attempt that may have been sent twice."""

    batch: BatchRow
    #: 1 is the first.
    attempt: int
    #: Of the messages, in the run.
    indexes: Sequence[int]
    why: str


def vanished(workers: Iterable[WorkerRow], online: Iterable[str]) -> list[WorkerRow]:
    """Workers that neither signed off nor are there any more."""
    present = set(online)
    return [one for one in workers if one.left_at is None and one.id not in present]


def maybe_twice(
    batch: BatchRow,
    chain: Sequence[Settlement],
    gone: Sequence[WorkerRow],
    resumed_at: Iterable[float],
    failover: Failover | None = None,
    everyone: Sequence[WorkerRow] = (),
) -> Iterator[MaybeTwice]:
    """The attempts at a batch that may have been sent twice.

    Args:
        batch: the batch.
        chain: its settlements, by attempt.
        gone: workers that vanished.
        resumed_at: when the run was resumed, seconds since the epoch.
        failover: of the run.
        everyone: all workers that ever were there.
    """
    moments = list(resumed_at)
    for attempt in _attempts(batch, chain):
        meant_for = profile_of(batch.profile, attempt.number, failover)
        why = [
            f"worker {one.id} vanished"
            for one in gone
            if _may_have_begun(one, attempt) and _may_have_had(one, meant_for, failover, everyone)
        ]
        why += ["resumed" for at in moments if attempt.since <= at < attempt.settled_at]
        if why:
            indexes = (batch.first_index + attempt.offsets).tolist()
            yield MaybeTwice(batch, attempt.number + 1, indexes, why[0])


def _may_have_had(
    worker: WorkerRow, profile: str, failover: Failover | None, everyone: Iterable[WorkerRow]
) -> bool:
    """Whether attempts meant for a profile came to a worker: its own, or those it took over.

    None was taken over if a worker of that profile was there all the time that one may be in hand.
    """
    if worker.profile == profile:
        return True
    if failover is None or failover.unattended is None:
        return False
    return not any(
        one.profile == profile
        and one.joined_at <= worker.seen_at - MAX_TAKEN_SECONDS
        and (one.left_at or one.seen_at) >= worker.seen_at
        for one in everyone
    )


def _may_have_begun(worker: WorkerRow, attempt: Open) -> bool:
    gone_by = worker.seen_at + SEEN_AGAIN_SECONDS
    return (
        attempt.worker != worker.id
        and attempt.since <= gone_by
        and attempt.settled_at >= worker.joined_at
        # What another one had settled before that was not with this one.
        and attempt.settled_at >= worker.seen_at - SEEN_AGAIN_SECONDS
    )


def _attempts(batch: BatchRow, chain: Sequence[Settlement]) -> Iterator[Open]:
    """Those that were made or are still to be made; one that was cancelled was not sent."""
    since, left = batch.queued_at, np.arange(batch.size)
    for number, settlement in enumerate(chain):
        if settlement.cancelled:
            return
        yield Open(number, since, settlement.settled_at, settlement.worker, left)
        if settlement.remainder is None:
            return
        since, left = settlement.settled_at, unpack_offsets(settlement.remainder, batch.size)
    yield Open(len(chain), since, math.inf, None, left)
