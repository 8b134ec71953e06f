"""Fewer messages and senders of the same shape, so that any forecast takes seconds. Pure.

A long run is mostly its middle, in which nothing changes: most of that is left out. Of what is
left, one simulated message stands for `factor` messages, if it is still too much. A profile gets as
many times fewer senders, and where it has too few for that, each of its messages takes as many
times longer instead: its capacity is that of the whole, divided by the factor, and times do not
change. Batches get larger where there would be too many of them, and a profile's workers may become
one; what the machine takes for a message or a batch is counted as often as it stands for one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sms_pipeline.core.empirical import shape_of
from sms_pipeline.core.gamma import capped_mean
from sms_pipeline.core.profiles import SLOWEST_MEANS, SenderProfile
from sms_pipeline.core.remaining import attempts_each
from sms_pipeline.core.retry import RetryPolicy, full_pause
from sms_pipeline.core.routing import BACKLOG_SECONDS, delivery_rate
from sms_pipeline.core.sender_bank import HORIZON_SECONDS
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.coarsening import (
    AHEAD,
    MOST_ATTEMPTS,
    attempts_at_batches,
    later_end,
    most_batches,
    sizes_by_waiting,
)
from sms_pipeline.forecast.setting import Setting, work_seconds

#: No profile is thinned below so many senders: one that ends late would hold up too much.
LEAST_SENDERS = 4
#: What is kept of a run takes so many times as long as it needs to settle in.
_STRETCHES = 4
#: … and has so many batches: some must end in its middle.
_LEAST_BATCHES = 40
#: What is kept of a run is played in at least so many strides.
_LEAST_STRIDES = 400
#: What a worker may take in hand at least, or retries would wait behind what is new.
_IN_HAND = 4
#: So small a share of the messages does not change the rate at which others end.
_FEW = 0.01


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is simulated in one run."""

    #: Attempts at messages …
    messages: int
    #: … and at batches.
    batches: int


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
    most = whole.retry.max_attempts or MOST_ATTEMPTS
    each = {one.name: attempts_each(one.failure_rate, most) for one in whole.senders}
    attempts = sum(share * each[name] for name, share in shares.items())
    messages = attempts * whole.num_messages / budget.messages
    given = {name: share * whole.num_messages for name, share in shares.items()}
    sizes = {one.name: whole.batch_size_for(one) for one in whole.senders}
    batches = attempts_at_batches(whole, given, sizes) / budget.batches
    too_much = max(messages, batches)
    if too_much <= 1:
        return setting
    kept = max(1 / too_much, _least_share(setting))
    factor = max(1.0, messages * kept)
    given = {name: share * whole.num_messages * kept for name, share in shares.items()}
    if coarse := sizes_by_waiting(setting, given, budget.batches):
        return _thinned(setting, kept, factor, coarse, setting.workers or 1)
    coarser = max(1.0, batches * kept)
    coarse = {name: size * coarser for name, size in sizes.items()}
    return replace(_thinned(setting, kept, factor, coarse, 1), is_coarse=coarser > 1)


def _least_share(setting: Setting) -> float:
    """Which share of a run, 0 to 1, shows its start, its end, and a middle like all the rest."""
    whole = setting.simulation
    seconds = work_seconds(whole, setting.workers or 1)
    # With static routing all waits from the start, and retries come after everybody's first
    # attempt; deadlines, hours and what goes wrong come when they come; what is handed over may
    # wait at a profile until all else has ended. Such runs have no middle.
    comes_when_it_comes = whole.deadline is not None or whole.events or whole.window
    is_handed_over = whole.failover is not None and whole.failover.to is not None
    has_middle = whole.routing == "adaptive" and not (comes_when_it_comes or is_handed_over)
    if not has_middle or not seconds:
        return 1.0
    shares = shares_of(whole)
    batches = sum(
        whole.num_messages * shares[profile.name] / whole.batch_size_for(profile)
        for profile in whole.senders
    )
    return min(1.0, max(_STRETCHES * settling_seconds(whole) / seconds, _LEAST_BATCHES / batches))


def settling_seconds(simulation: Simulation) -> float:
    """How long it takes until retries come as fast as they ever will."""
    return (
        BACKLOG_SECONDS
        + max(_pauses(simulation.retry, one.failure_rate) for one in simulation.senders)
        + SLOWEST_MEANS * max(max(one.mean_time, one.mean_busy) for one in simulation.senders)
    )


def _pauses(retry: RetryPolicy, failure_rate: float) -> float:
    """All pauses of a message that needs more attempts than most."""
    seconds, attempt, left = 0.0, 0, failure_rate
    while retry.allows_after(attempt) and left > _FEW and attempt < MOST_ATTEMPTS:
        seconds += full_pause(retry, attempt)
        attempt, left = attempt + 1, left * failure_rate
    return seconds


def _thinned(
    setting: Setting, kept: float, factor: float, coarse: Mapping[str, float], merged: int
) -> Setting:
    """The setting with batches of these sizes.

    Args:
        setting: every message and sender.
        kept: share of the run that is played, 0 to 1.
        factor: messages that one simulated message stands for.
        coarse: messages that one simulated batch of each profile stands for.
        merged: workers of a profile that become one; with fewer workers, fewer batches are enough
            to keep all of them busy.
    """
    whole = setting.simulation
    workers = None if setting.workers is None else setting.workers // merged
    profiles = {one.name: one for one in whole.senders}
    thinned = {one.name: _thin_profile(one, factor, merged) for one in whole.senders}
    sizes = {name: max(1, round(size / factor)) for name, size in coarse.items()}
    # Batches that one batch stands for.
    batches = {
        name: factor * size / whole.batch_size_for(profiles[name]) for name, size in sizes.items()
    }
    simulated = max(1, round(whole.num_messages * kept / factor))
    seconds = kept * work_seconds(whole, setting.workers or 1)
    changed = {
        "num_messages": simulated,
        "senders": tuple(thinned.values()),
        "batch_sizes": sizes,
        "rate": None if whole.rate is None else whole.rate / factor,
    }
    return Setting(
        simulation=Thinned.model_construct(**{**dict(whole), **changed}),
        workers=workers,
        costs={
            name: costs.times(messages=factor, batches=batches[name]).shared_by(merged)
            for name, costs in setting.costs.items()
        },
        threads={
            name: max(min(_IN_HAND, merged * threads), math.ceil(merged * threads / batches[name]))
            for name, threads in setting.threads.items()
        },
        stride=max(HORIZON_SECONDS, min(setting.stride, seconds / _LEAST_STRIDES)),
        most_batches={
            name: _fewer(most_batches(setting, profile), batches[name], workers or 1)
            for name, profile in profiles.items()
        },
        slower={
            name: later_end(profile, thinned[name], whole.batch_size_for(profile), sizes[name])
            for name, profile in profiles.items()
        },
        factor=factor,
        left_out=max(0, round(whole.num_messages / factor) - simulated),
        merged=merged,
    )


def _fewer(most: float, batches: float, workers: int) -> int:
    """How many may wait if one stands for `batches`: two for each worker, or some would idle."""
    return max(1, round(most / batches), min(AHEAD * workers, round(most)))


def shares_of(simulation: Simulation) -> dict[str, float]:
    """About which share of the messages each profile gets."""
    rates = {
        one.name: delivery_rate(one.capacity, one.failure_rate, None) for one in simulation.senders
    }
    endless = [name for name, rate in rates.items() if math.isinf(rate)]
    if endless:
        return {name: (name in endless) / len(endless) for name in rates}
    total = sum(rates.values())
    return {name: rate / total if total else 1 / len(rates) for name, rate in rates.items()}


def _thin_profile(profile: SenderProfile, factor: float, workers: int) -> SenderProfile:
    """With the senders of all workers."""
    senders = profile.count * workers
    count = max(min(senders, LEAST_SENDERS), round(senders / factor))
    # So many messages, one after the other, are one message here; about 1 where senders abound.
    bundle = factor * count / senders
    if profile.parts_per_second is not None:
        # Times do not change; only how many may be passed.
        rate = profile.parts_per_second / bundle
        return profile.model_copy(update={"count": count, "parts_per_second": rate})
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
