"""What one simulated run is like: drawn from its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from sms_pipeline.core.failover import Failover
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.core.simulation import Simulation
from tests.simulation.chance import Fault

#: Faults at each effect, one in so many; 0: only the world around makes trouble.
_RATES = (0.0, 0.003, 0.01, 0.03, 0.08)
_DISTURBANCES = (0, 1, 2, 4, 8)
PROFILES = ("a", "b")
#: Between two heartbeats of workers that somebody looks at.
LOOKING_SECONDS = 2.4
#: When a dead worker is replaced, seconds.
REPLACE_SECONDS = (2.0, 2.0, 60.0)
_NEVER = 1_000


@dataclass(frozen=True, slots=True)
class Setting:
    """The run, its workers, and what may go wrong."""

    simulation: Simulation
    #: The profile that each worker serves.
    workers: tuple[str, ...]
    #: The host of each worker; the producer is on the first host.
    hosts: tuple[str, ...]
    prefetch: int
    rate: float
    kinds: frozenset[Fault]
    #: When the world makes trouble, seconds from the start.
    disturbances: tuple[float, ...]
    #: Returns before a message is a dead letter.
    delivery_limit: int
    #: Most batches recorded at once, and cancelled at once.
    group: int
    #: Between two heartbeats.
    heartbeat: float
    #: Whether the last `resume` waits until all is quiet.
    resume_waits: bool
    #: Whether old messages come back after the run was audited and sealed.
    comes_back: bool
    #: After how many seconds a worker that is gone is replaced.
    replace: float = 2.0


def draw(rng: random.Random) -> Setting:
    """One of many."""
    messages = rng.randint(100, 240)
    failure_rate = rng.choice((0.0, 0.2, 0.5))
    profiles = tuple(
        SenderProfile(
            name=name,
            count=rng.randint(2, 12),
            mean_time=rng.choice((0.0, 0.02, 0.2)),
            failure_rate=failure_rate,
        )
        for name in PROFILES
    )
    routing = rng.choice(("adaptive", "static"))
    simulation = Simulation(
        num_messages=messages,
        senders=profiles,
        batch_size=-(-messages // rng.randint(4, 12)),
        max_text_length=5,
        routing=routing,
        deadline=rng.choice((None, None, None, 2.0, 8.0, 40.0)),
        stuck_after=rng.choice((5.0, 300.0)),
        retry=RetryPolicy(
            max_attempts=rng.choice((1, 2, 3, None)), backoff=rng.choice((0.0, 1.0, 3.0))
        ),
    )
    workers = (*PROFILES, rng.choice(PROFILES))
    one_host = rng.random() < 0.5
    setting = Setting(
        simulation=simulation,
        workers=workers,
        hosts=("h0",) * 3 if one_host else ("h0", "h1", "h2"),
        prefetch=rng.randint(1, 4),
        rate=rng.choice(_RATES),
        kinds=frozenset(one for one in Fault if rng.random() < 0.5),
        disturbances=tuple(
            sorted(rng.random() ** 2 * 20 for _ in range(rng.choice(_DISTURBANCES)))
        ),
        delivery_limit=rng.choice((_NEVER, _NEVER, 3)),
        group=rng.choice((2, 5, 100)),
        heartbeat=LOOKING_SECONDS if routing == "adaptive" else 60.0,
        resume_waits=rng.random() < 0.1,
        comes_back=rng.random() < 0.1,
    )
    return _with_failover(setting, rng)


def _with_failover(setting: Setting, rng: random.Random) -> Setting:
    """Where a dead worker is not replaced for long, or never was, others take over."""
    simulation = setting.simulation
    failover = _failover(rng, simulation.retry)
    simulation = simulation.model_copy(update={"failover": failover})
    setting = replace(setting, simulation=simulation, replace=rng.choice(REPLACE_SECONDS))
    if failover is None or failover.unattended is None or rng.random() < 0.5:
        return setting
    only = rng.choice((setting.workers, 3 * (rng.choice(PROFILES),)))
    return replace(setting, workers=only, heartbeat=LOOKING_SECONDS)


def _failover(rng: random.Random, retry: RetryPolicy) -> Failover | None:
    attempts, to = rng.choice(((None, None), (1, "a"), (1, "b"), (2, "b")))
    if attempts is not None and not retry.allows_after(attempts - 1):
        attempts = to = None
    unattended = rng.choice((None, 1.0, 3.0))
    return rng.choice((None, *3 * (Failover(attempts=attempts, to=to, unattended=unattended),)))
