"""One attempt, from what its gateway says to what came of it. The sender bank is between. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.events import Spell, slowdown_of, spells_for, with_failures
from sms_pipeline.core.gateway import Outcomes, event_draws
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.submission import PLAIN, Finished, Outage, Seconds, Terms


def terms_of(batch: Batch, profile: SenderProfile, outcomes: Outcomes, epoch: float) -> Terms:
    """On which terms a bank sends the messages of an attempt.

    Args:
        batch: the attempt.
        profile: the senders that make it.
        outcomes: what the gateway says.
        epoch: when the bank's clock shows 0, by the batch's timeline, seconds since the epoch.
    """
    spells = spells_for(profile.name, batch.events)
    is_limited = outcomes.busy is not None or profile.validity is not None
    if not (spells or batch.urgent or is_limited):
        return PLAIN
    return Terms(
        occupied=None if outcomes.busy is None else outcomes.busy * profile.lanes_each,
        slowdown=slowdown_of(spells, epoch),
        outages=tuple(
            Outage(one.start - epoch, one.end - epoch, one.out) for one in spells if one.out
        ),
        validity=np.inf if profile.validity is None else profile.validity,
        timed=bool(spells),
        spells=spells,
        urgent=batch.urgent,
    )


def came_to(
    batch: Batch,
    outcomes: Outcomes,
    terms: Terms,
    finished: Finished,
    epoch: float,
    give_up_at: float,
    closes_at: float = math.inf,
) -> tuple[Outcomes, Seconds]:
    """What became of each message, and when it ended, seconds since the epoch.

    One that no sender took in time has expired, and ended at no time (NaN); but where it was the
    carrier that gave it up, its attempt failed at that moment. Where its hours were over, it was
    left unsent.

    Args:
        batch: the attempt.
        outcomes: what the gateway said.
        terms: on which it was submitted.
        finished: what the bank made of it.
        epoch: as in `terms_of`.
        give_up_at: until when its messages might be sent, on the bank's clock.
        closes_at: when its hours are over, on the same clock.
    """
    ended_at = epoch + finished.finish_times
    if terms is PLAIN and closes_at == math.inf:
        return outcomes, ended_at
    busy = outcomes.durations if outcomes.busy is None else outcomes.busy
    delivered = outcomes.delivered
    if finished.start_times is not None:
        starts = finished.start_times
        busy = busy if terms.slowdown is None else busy * terms.slowdown(starts)
        delivered = if_started(batch, terms.spells, outcomes, epoch + starts)
    unsent = None
    if finished.gave_up_at < give_up_at:
        given_up = np.isnan(ended_at)
        unsent = given_up if finished.gave_up_at >= closes_at and given_up.any() else None
        ended_at = np.where(given_up, epoch + finished.gave_up_at, ended_at)
        busy, delivered = np.where(given_up, 0.0, busy), delivered & ~given_up
    return Outcomes(busy, delivered, receipts=outcomes.receipts, unsent=unsent), ended_at


def if_started(
    batch: Batch, spells: Iterable[Spell], outcomes: Outcomes, starts: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which messages are delivered if they start at these moments, seconds since the epoch."""
    return with_failures(outcomes.delivered, spells, starts, partial(event_draws, batch))
