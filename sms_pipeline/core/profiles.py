"""A kind of sender."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from sms_pipeline.core.empirical import mean_of
from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.gamma import MAX_SHAPE, MIN_SHAPE, capped_mean
from sms_pipeline.core.presets import limits_of, presets
from sms_pipeline.core.receipts import Receipts
from sms_pipeline.core.times import AS_TIME

#: A profile's name is part of a queue name and of a topic routing key, where dots separate words.
PROFILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Largest batch. What a batch costs hardly depends on its size: at 5,000 a run with 10 % failures
#: took 2.6 times the CPU of one at 20,000; above that little is gained, and each one in hand takes
#: memory.
MAX_BATCH_SIZE = 20_000
#: `auto` batches hold about this many seconds of work for the profile's senders.
AUTO_BATCH_SECONDS = 0.5
#: One process holds its senders in one array; ten million take 80 MB.
MAX_SENDERS = 10_000_000
#: Longest time of one message, seconds: a day.
MAX_SEND_SECONDS = 86_400
#: The slowest message of a batch may take this many mean times.
SLOWEST_MEANS = 4
#: Of a message; no currency needs more.
MAX_PRICE = 1_000_000_000
#: Of `times`: two say where a distribution begins and ends, more than these say nothing new.
MIN_QUANTILES, MAX_QUANTILES = 2, 1_000

#: Parts that a sender may pass in a second: from one in a quarter of an hour to more than any
#: carrier allows.
MIN_PART_RATE, MAX_PART_RATE = 0.001, 10_000
#: Longest time that a carrier keeps a message, seconds: a week.
MAX_VALIDITY = 7 * 86_400
MAX_DAILY_CAP = 1_000_000_000

SendSeconds = Annotated[float, Field(ge=0, le=MAX_SEND_SECONDS)]


def capacity(senders: int, mean_time: float, shape: float, max_time: float | None) -> float:
    """Messages per second that so many senders can attempt; infinite when sending takes no time.

    senders / the mean of a sending time, which `max_time` makes shorter.
    """
    mean = capped_mean(mean_time, shape, max_time)
    return senders / mean if mean else math.inf


class SenderProfile(Frozen):
    """A kind of sender: how long it takes, how often it fails, how many there are."""

    name: str = ""
    mean_time: Annotated[SendSeconds, AS_TIME] = Field(
        description="mean seconds one sender needs for one message"
    )
    failure_rate: float = Field(ge=0, le=1, description="share of attempts that fail, 0 to 1")
    count: int = Field(
        default=1, ge=1, le=MAX_SENDERS, description="number of identical senders per worker"
    )
    shape: float = Field(
        default=16.0,
        ge=MIN_SHAPE,
        le=MAX_SHAPE,
        description="shape of the gamma distribution of send times",
    )
    max_time: Annotated[float, Field(gt=0, le=MAX_SEND_SECONDS), AS_TIME] | None = Field(
        default=None, description="longest send time, seconds", examples=[5]
    )
    times: Annotated[tuple[SendSeconds, ...], Field(strict=False)] | None = Field(
        default=None,
        description="measured quantiles of send times, evenly spaced from shortest to longest",
        examples=[[0.2, 0.3, 0.5, 4]],
    )
    preset: str | None = Field(
        default=None,
        description="limits of a carrier, by name; other keys override them",
        examples=["us-toll-free"],
    )
    parts_per_second: float | None = Field(
        default=None,
        ge=MIN_PART_RATE,
        le=MAX_PART_RATE,
        description="parts that each sender may pass in a second; null = no limit",
        examples=[10],
    )
    validity: Annotated[float, Field(gt=0, le=MAX_VALIDITY), AS_TIME] | None = Field(
        default=None,
        description="seconds that a message may wait for a sender before its attempt fails",
        examples=[14_400],
    )
    daily_cap: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DAILY_CAP,
        description="messages that each sender may send in a day; only a forecast looks at it",
        examples=[2_000],
    )
    price: float | None = Field(
        default=None,
        ge=0,
        le=MAX_PRICE,
        description="money for each part of a delivered message, in any currency",
    )
    receipts: Receipts | None = Field(
        default=None,
        description="delivery receipts: `mean_time`, `shape`, `max_time`, `missing`; null = none",
        examples=[{"mean_time": 4, "missing": 0.02}],
    )

    @model_validator(mode="before")
    @classmethod
    def _mean_of_times(cls, values: Any) -> Any:
        """Without a mean of its own, a profile has the mean of its times."""
        if not isinstance(values, dict) or "mean_time" in values or values.get("times") is None:
            return values
        return {**values, "mean_time": _mean_or_zero(values["times"])}

    @model_validator(mode="before")
    @classmethod
    def _limits_of_preset(cls, values: Any) -> Any:
        """A preset says what the profile itself does not."""
        if isinstance(values, dict) and isinstance(name := values.get("preset"), str):
            return {**limits_of(name), **values}
        return values

    @field_validator("preset")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in presets():
            raise ValueError(f"must be one of {', '.join(presets())}")
        return name

    @field_validator("times")
    @classmethod
    def _quantiles(cls, times: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if times is None:
            return None
        if not MIN_QUANTILES <= len(times) <= MAX_QUANTILES:
            raise ValueError(f"must be {MIN_QUANTILES} to {MAX_QUANTILES} times")
        if list(times) != sorted(times) or times[-1] == 0:
            raise ValueError("must be in order, from the shortest time to one above 0")
        return times

    @model_validator(mode="after")
    def _one_longest_time(self) -> Self:
        if self.times and self.max_time is not None:
            raise ValueError("times and max_time can't be used together: the last time is longest")
        return self

    @field_validator("name")
    @classmethod
    def _queue_safe(cls, name: str) -> str:
        if name and not PROFILE_NAME.fullmatch(name):
            raise ValueError("must be 1 to 64 letters, digits, '-' or '_'")
        return name

    @model_validator(mode="after")
    def _fits_a_process(self) -> Self:
        if self.lanes > MAX_SENDERS:
            raise ValueError(
                f"count {self.count} with parts_per_second {self.parts_per_second:g} is more than "
                f"one process can hold; together they may come to {MAX_SENDERS:,}"
            )
        return self

    @property
    def capacity(self) -> float:
        """Messages per second its senders can attempt; infinite when sending takes no time."""
        return capacity(self.count, self.mean_busy, self.shape, self.longest_busy)

    @property
    def mean_busy(self) -> float:
        """Mean seconds that an attempt keeps its sender busy, before `longest_busy`.

        With a limit, that is 1 / parts_per_second for a message of one part.
        """
        return self.mean_time if self.parts_per_second is None else 1 / self.parts_per_second

    @property
    def longest_busy(self) -> float | None:
        """Longest of these times; None where there is none."""
        return self.max_time if self.parts_per_second is None else None

    @property
    def in_play(self) -> int:
        """Messages that are under way at once while all its senders are busy.

        capacity * mean_time where senders do not wait for the network, at least one each.
        """
        if self.parts_per_second is None:
            return self.count
        return max(self.count, math.ceil(self.capacity * self.mean_time))

    @property
    def lanes_each(self) -> int:
        """Messages that one sender has in hand at once.

        One that passes several parts a second passes them side by side, each for about a second:
        one at a time, each would cost a step of its own.
        """
        return 1 if self.parts_per_second is None else math.ceil(self.parts_per_second)

    @property
    def lanes(self) -> int:
        """Messages that all senders have in hand at once."""
        return self.count * self.lanes_each

    @property
    def batch_size(self) -> int:
        """Messages in about half a second of its work: clamp(capacity * 0.5, 1, 20000)."""
        return round(min(max(self.capacity * AUTO_BATCH_SECONDS, 1), MAX_BATCH_SIZE))


def _mean_or_zero(times: Any) -> float:
    """Zero for what are no times: that they are none is then the one problem."""
    try:
        mean = mean_of(times)
    except (TypeError, LookupError, ArithmeticError):
        return 0.0
    return mean if math.isfinite(mean) else 0.0


def no_profile(name: str, profiles: Iterable[str]) -> str:
    """What to tell a user who names one that is none of these."""
    return f"no profile is called {name!r}; there are {', '.join(profiles)}"
