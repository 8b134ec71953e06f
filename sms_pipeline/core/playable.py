"""Which configurations no worker could play: a batch would take too long. Pure."""

from __future__ import annotations

from sms_pipeline.core.counts import how_many
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation

#: RabbitMQ closes the channel of a delivery held for 30 minutes: one batch must need far less.
MAX_BATCH_SECONDS = 600.0


def require_short_batches(profile: SenderProfile, batch_size: int) -> None:
    """Refuse senders that would hold one batch for more than `MAX_BATCH_SECONDS`.

    Raises:
        ConfigError: they would; the message says which numbers would do.
    """
    seconds = batch_size / profile.capacity
    if seconds <= MAX_BATCH_SECONDS:
        return
    senders = -(-batch_size * profile.mean_busy // MAX_BATCH_SECONDS)
    need = "needs" if profile.count == 1 else "need"
    fitting = max(1, int(MAX_BATCH_SECONDS * profile.capacity))
    raise ConfigError(
        f"profile {profile.name!r}: {how_many(profile.count, 'sender')} at {profile.mean_busy:g} s "
        f"{need} {seconds:,.0f} s for a batch of {batch_size}, more than the "
        f"{MAX_BATCH_SECONDS:.0f} s a broker lets a message wait; use at least {senders:.0f} "
        f"senders or batch_size {fitting}"
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
