"""How many batches a worker takes in hand. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

from sms_pipeline.broker.topology import QUORUM
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.routing import batches_in_hand
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.unattended import MAX_TAKEN_SECONDS


def threads_for(profile: SenderProfile, batch_size: int) -> int:
    """Threads of a worker: one for each batch that it takes in hand."""
    return batches_in_hand(profile.in_play, profile.capacity, batch_size)


def taken_in_hand(profile: SenderProfile, batch_size: int) -> int:
    """The same of batches of a profile that has no workers, beside its own.

    No more than its senders can play in `MAX_TAKEN_SECONDS`.
    """
    threads = threads_for(profile, batch_size)
    if math.isinf(profile.capacity):
        return threads
    return max(1, min(threads, int(MAX_TAKEN_SECONDS * profile.capacity / batch_size)))


def threads_of(simulation: Simulation) -> dict[str, int]:
    """The same for a worker of each profile, by name."""
    return {
        profile.name: threads_for(profile, simulation.batch_size_for(profile))
        for profile in simulation.senders
    }


class Hands(NamedTuple):
    """How a worker process shares its threads between urgent batches and others."""

    threads: int
    #: Batches of each queue that are taken in hand; None: of all queues, one for each thread.
    prefetch: int | None = None

    @classmethod
    def of(cls, in_hand: int, queue_type: str) -> Self:
        """Of one that takes so many batches in hand, and as many urgent ones.

        Not on classic queues: there a batch whose retry is not due yet is held by the worker, and
        a limit to each queue would let such batches fill it.
        """
        if queue_type != QUORUM:
            return cls(in_hand)
        return cls(2 * in_hand, in_hand)
