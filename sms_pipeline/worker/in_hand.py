"""How many batches a worker takes in hand, and how long one may take. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

from sms_pipeline.broker.topology import QUORUM
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.routing import batches_in_hand
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.unattended import MAX_TAKEN_SECONDS

#: RabbitMQ closes the channel of a delivery held for 30 minutes: one batch must need far less.
MAX_BATCH_SECONDS = 600.0


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


def require_short_batches(profile: SenderProfile, batch_size: int) -> None:
    """Refuse senders that would hold one batch for more than `MAX_BATCH_SECONDS`.

    Raises:
        ConfigError: they would; the message says which numbers would do.
    """
    seconds = batch_size / profile.capacity
    if seconds <= MAX_BATCH_SECONDS:
        return
    senders = -(-batch_size * profile.mean_busy // MAX_BATCH_SECONDS)
    fitting = max(1, int(MAX_BATCH_SECONDS * profile.capacity))
    raise ConfigError(
        f"profile {profile.name!r}: {profile.count} senders at {profile.mean_busy:g} s need "
        f"{seconds:,.0f} s for a batch of {batch_size}, more than the {MAX_BATCH_SECONDS:.0f} s a "
        f"broker lets a message wait; use at least {senders:.0f} senders or batch_size {fitting}"
    )


def require_playable(simulation: Simulation) -> None:
    """Refuse a configuration with such a profile.

    Raises:
        ConfigError: as `require_short_batches`.
    """
    sizes = {one.name: simulation.batch_size_for(one) for one in simulation.senders}
    if simulation.failover and simulation.failover.to:
        # What it is handed comes in batches of the other profiles.
        sizes[simulation.failover.to] = max(sizes.values())
    for profile in simulation.senders:
        require_short_batches(profile, sizes[profile.name])
