"""How many batches a worker takes in hand, and how long one may take. Pure."""

from __future__ import annotations

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.errors import ConfigError

#: Threads that wait for a batch's last message or hold a remainder's publish.
_SPARE_THREADS = 50
#: Batches that senders can work on at once: one in play, one ahead, one whose tail is ending.
_BATCHES_AT_ONCE = 3
_MAX_THREADS = 1_000
#: RabbitMQ closes the channel of a delivery held for 30 minutes. One batch must need far less…
MAX_BATCH_SECONDS = 600.0
#: … and so must all that a worker takes in hand.
MAX_IN_HAND_SECONDS = 1_200.0


def threads_for(profile: SenderProfile, batch_size: int) -> int:
    """Batches that a worker takes in hand: clamp(3 * senders / batch + 50, 1, 1000).

    Never more than its senders can work off in `MAX_IN_HAND_SECONDS`.
    """
    wanted = -(-_BATCHES_AT_ONCE * profile.count // batch_size) + _SPARE_THREADS
    in_time = _MAX_THREADS
    if profile.mean_time:
        in_time = int(MAX_IN_HAND_SECONDS * profile.capacity / batch_size)
    return max(1, min(wanted, in_time, _MAX_THREADS))


def require_short_batches(profile: SenderProfile, batch_size: int) -> None:
    """Refuse senders that would hold one batch for more than `MAX_BATCH_SECONDS`.

    Raises:
        ConfigError: they would; the message says which numbers would do.
    """
    seconds = batch_size / profile.capacity
    if seconds <= MAX_BATCH_SECONDS:
        return
    senders = -(-batch_size * profile.mean_time // MAX_BATCH_SECONDS)
    fitting = max(1, int(MAX_BATCH_SECONDS * profile.capacity))
    raise ConfigError(
        f"profile {profile.name!r}: {profile.count} senders at {profile.mean_time:g} s need "
        f"{seconds:,.0f} s for a batch of {batch_size}, more than the {MAX_BATCH_SECONDS:.0f} s a "
        f"broker lets a message wait; use at least {senders:.0f} senders or batch_size {fitting}"
    )


def require_playable(simulation: Simulation) -> None:
    """Refuse a configuration with such a profile.

    Raises:
        ConfigError: as `require_short_batches`.
    """
    for profile in simulation.senders:
        require_short_batches(profile, simulation.batch_size_for(profile))
