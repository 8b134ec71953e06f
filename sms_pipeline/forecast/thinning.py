"""Fewer messages and senders of the same shape, so that any forecast takes seconds. Pure.

One simulated message stands for `factor` messages. A profile gets as many times fewer senders, and
where it has too few for that, each of its messages takes as many times longer instead: its capacity
is that of the whole, divided by the factor, and times do not change. Batches get larger where there
would be too many of them; what the machine takes for a message or a batch is counted as often as it
stands for one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sms_pipeline.core.empirical import shape_of
from sms_pipeline.core.gamma import capped_mean
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.setting import Setting

#: No profile is thinned below so many senders: one that ends late would hold up too much.
LEAST_SENDERS = 20
#: With unlimited attempts: more than anybody will see.
_MOST_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is simulated in one run."""

    #: Attempts at messages …
    messages: int
    #: … and at batches.
    batches: int

    def divided(self, by: int) -> Budget:
        """A smaller one."""
        return Budget(self.messages // by, self.batches // by)


class Thinned(Simulation):
    """A configuration whose batches have sizes of their own."""

    #: By profile.
    batch_sizes: dict[str, int]

    def batch_size_for(self, profile: SenderProfile) -> int:
        """See `Simulation.batch_size_for`."""
        return self.batch_sizes[profile.name]


def thin(setting: Setting, budget: Budget) -> Setting:
    """A setting of the same shape within `budget`; `setting` itself if it is within."""
    whole = setting.simulation
    shares = shares_of(whole)
    attempts = sum(share * _attempts_at_messages(whole, one) for one, share in _zip(whole, shares))
    total = max(1, min(whole.num_messages, round(budget.messages / attempts)))
    factor = whole.num_messages / total
    coarser = max(1.0, _attempts_at_batches(whole, shares) / budget.batches)
    if factor == 1 and coarser == 1:
        return setting
    senders = tuple(_thin_profile(one, factor) for one in whole.senders)
    sizes = {
        one.name: max(1, round(whole.batch_size_for(one) * coarser / factor))
        for one in whole.senders
    }
    #: Batches that one batch stands for.
    batches = {
        one.name: factor * sizes[one.name] / whole.batch_size_for(one) for one in whole.senders
    }
    changed = {"num_messages": total, "senders": senders, "batch_sizes": sizes}
    return Setting(
        simulation=Thinned.model_construct(**{**dict(whole), **changed}),
        workers=setting.workers,
        costs={
            name: costs.times(messages=factor, batches=batches[name])
            for name, costs in setting.costs.items()
        },
        threads={
            name: max(1, math.ceil(threads / batches[name]))
            for name, threads in setting.threads.items()
        },
        factor=factor,
    )


def shares_of(simulation: Simulation) -> dict[str, float]:
    """About which share of the messages each profile gets."""
    rates = {one.name: one.capacity * (1 - one.failure_rate) for one in simulation.senders}
    endless = [name for name, rate in rates.items() if math.isinf(rate)]
    if endless:
        return {name: (name in endless) / len(endless) for name in rates}
    total = sum(rates.values())
    return {name: rate / total if total else 1 / len(rates) for name, rate in rates.items()}


def _zip(simulation: Simulation, shares: Mapping[str, float]) -> list[tuple[SenderProfile, float]]:
    return [(one, shares[one.name]) for one in simulation.senders]


def _attempts_at_messages(simulation: Simulation, profile: SenderProfile) -> float:
    """Attempts at a message, on average: 1 + p + p^2 + …"""
    most, rate = simulation.retry.max_attempts or _MOST_ATTEMPTS, profile.failure_rate
    return float(most) if rate == 1 else (1 - rate**most) / (1 - rate)


def _attempts_at_batches(simulation: Simulation, shares: Mapping[str, float]) -> float:
    """Attempts at all batches of a run: each needs as many as its unluckiest message."""
    most = simulation.retry.max_attempts or _MOST_ATTEMPTS
    found = 0.0
    for profile, share in _zip(simulation, shares):
        size, rate = simulation.batch_size_for(profile), profile.failure_rate
        tries = sum(1 - (1 - rate**attempt) ** size for attempt in range(most))
        found += max(simulation.num_messages * share / size, share > 0) * tries
    return found


def _thin_profile(profile: SenderProfile, factor: float) -> SenderProfile:
    count = max(min(profile.count, LEAST_SENDERS), round(profile.count / factor))
    # So many messages, one after the other, are one message here; about 1 where senders abound.
    bundle = factor * count / profile.count
    mean = capped_mean(profile.mean_time, profile.shape, profile.max_time)
    alike = abs(bundle - 1) < _ALIKE
    changes: dict[str, object] = {"count": count, "mean_time": mean * bundle}
    if not alike:
        shape = shape_of(profile.times) if profile.times else profile.shape
        changes |= {"shape": shape * bundle, "max_time": None, "times": None}
    elif profile.max_time is not None:
        changes |= {
            "mean_time": profile.mean_time * bundle,
            "max_time": profile.max_time * bundle,
        }
    return profile.model_copy(update=changes)


#: Bundles this near to 1 leave the shape of send times as it is.
_ALIKE = 0.2
