"""A bad day: what goes wrong at which time of a run. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.times import AS_TIME

#: Of a run; they travel with every batch.
MAX_EVENTS = 100
#: When an event begins, seconds after the first dispatch: a year.
MAX_EVENT_START = 365 * 86_400
#: Longest event, seconds: a day.
MAX_EVENT_SECONDS = 86_400
#: Longest outage, seconds. Workers hold batches as long as it lasts, and RabbitMQ takes a batch
#: away from a worker after 30 minutes.
MAX_OUTAGE_SECONDS = 1_200
MAX_SLOWDOWN = 100

#: By how many times a message takes longer, by the moment at which it starts.
Slowdown = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Event(Frozen):
    """Something that goes wrong for a while."""

    at: Annotated[float, Field(ge=0, le=MAX_EVENT_START), AS_TIME] = Field(
        description="when it begins, seconds after the first dispatch"
    )
    seconds: Annotated[float, Field(gt=0, le=MAX_EVENT_SECONDS), AS_TIME] = Field(
        alias="for", description="how long it lasts, seconds"
    )
    profile: str | None = Field(default=None, description="the profile that it hits; null = all")
    outage: bool = Field(default=False, description="senders start no message")
    slowdown: float | None = Field(
        default=None,
        ge=1,
        le=MAX_SLOWDOWN,
        description="a message that starts now takes so many times as long",
    )
    failure_rate: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the attempts that start now and fail, instead of the profile's own",
    )
    share: float = Field(
        default=1.0, gt=0, le=1, description="share of the senders that an outage stops"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.outage and self.slowdown is None and self.failure_rate is None:
            raise ValueError("must say what goes wrong: outage, slowdown or failure_rate")
        if not self.outage and self.share < 1:
            raise ValueError("share is for an outage; use it with outage: true")
        if self.outage and self.seconds > MAX_OUTAGE_SECONDS:
            raise ValueError(
                f"an outage must be at most {MAX_OUTAGE_SECONDS} s long, because RabbitMQ takes a "
                "batch away from a worker that holds it for 30 minutes"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """`for` is no name that Python allows."""
        return {
            "for" if name == "seconds" else name: value for name, value in handler(self).items()
        }

    @property
    def end(self) -> float:
        """Seconds after the first dispatch."""
        return self.at + self.seconds

    def hits(self, profile: str) -> bool:
        """Whether it goes wrong for that profile."""
        return self.profile in (None, profile)


class Spell(BaseModel):
    """An event as a batch carries it: at moments of its timeline, seconds since the epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    start: float
    end: float
    #: Whom it hits; None: all.
    profile: str | None = None
    #: Share of the senders that start nothing.
    out: float = Field(default=0.0, ge=0, le=1)
    slowdown: float | None = Field(default=None, gt=0)
    failure_rate: float | None = Field(default=None, ge=0, le=1)


def spells_of(events: Iterable[Event], origin: float) -> tuple[Spell, ...]:
    """The events of a run whose first dispatch was at `origin`."""
    return tuple(
        Spell(
            start=origin + event.at,
            end=origin + event.end,
            profile=event.profile,
            out=event.share if event.outage else 0.0,
            slowdown=event.slowdown,
            failure_rate=event.failure_rate,
        )
        for event in events
    )


def spells_for(profile: str, spells: Iterable[Spell]) -> tuple[Spell, ...]:
    """Those that hit a profile."""
    return tuple(one for one in spells if one.profile in (None, profile))


def slowdown_of(spells: Iterable[Spell], epoch: float) -> Slowdown | None:
    """How much longer messages take, by moments that are `epoch` behind; None: never longer.

    Where spells overlap, the one further down the list holds.
    """
    slow = [(one.start - epoch, one.end - epoch, one.slowdown) for one in spells if one.slowdown]
    if not slow:
        return None

    def factors(starts: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.ones_like(starts)
        for start, end, factor in slow:
            found[(starts >= start) & (starts < end)] = factor
        return found

    return factors


def with_failures(
    delivered: NDArray[np.bool_],
    spells: Iterable[Spell],
    starts: NDArray[np.float64],
    draws: Callable[[int], NDArray[np.float64]],
) -> NDArray[np.bool_]:
    """Which messages are delivered if spells decide about those that start in one.

    Where spells overlap, the one further down the list holds.

    Args:
        delivered: which would be delivered otherwise.
        spells: of a bad day.
        starts: when each message started.
        draws: so many uniform numbers, the same each time.
    """
    deciding = [one for one in spells if one.failure_rate is not None]
    if not deciding:
        return delivered
    rates = np.full(len(delivered), np.nan)
    for one in deciding:
        rates[(starts >= one.start) & (starts < one.end)] = one.failure_rate
    return np.where(np.isnan(rates), delivered, draws(len(delivered)) >= rates)


def longest_outage(events: Iterable[Event]) -> float:
    """For how many seconds nothing may happen, where one may follow another; 0 without one."""
    longest = start = end = 0.0
    for event in sorted((one for one in events if one.outage), key=lambda one: one.at):
        start = start if event.at <= end else event.at
        end = max(end, event.end)
        longest = max(longest, end - start)
    return longest


def worst_slowdown(events: Iterable[Event], profile: str) -> float:
    """How many times longer a message of that profile may take; 1 without a slowdown."""
    return max((event.slowdown or 1.0 for event in events if event.hits(profile)), default=1.0)


def unknown_profile(events: Sequence[Event], profiles: Iterable[str]) -> tuple[int, str] | None:
    """The first event that hits a profile that is none of these: (its place, the profile)."""
    known = set(profiles)
    for place, event in enumerate(events):
        if event.profile is not None and event.profile not in known:
            return place, event.profile
    return None
