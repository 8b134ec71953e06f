"""Delivery receipts: when a message that the network has taken is on the phone. Pure.

No message waits for its receipt, and no sender: the delay is known when the attempt is played, and
is only counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sms_pipeline.core import histogram
from sms_pipeline.core.frozen import Frozen
from sms_pipeline.core.gamma import MAX_SHAPE, MIN_SHAPE, capped_draws
from sms_pipeline.core.times import AS_TIME

#: Longest time from delivery to the phone, seconds: no carrier keeps a message for more than a
#: week.
MAX_RECEIPT_SECONDS = 7 * 86_400

#: From delivery until on the phone, seconds; NaN where no receipt ever comes.
Delays = NDArray[np.float64]


class Receipts(Frozen):
    """What the delivery receipts of a kind of sender are like."""

    mean_time: Annotated[float, Field(ge=0, le=MAX_RECEIPT_SECONDS), AS_TIME] = Field(
        description="mean seconds from delivery, to the network, until on the phone"
    )
    shape: float = Field(
        default=1.0,
        ge=MIN_SHAPE,
        le=MAX_SHAPE,
        description="shape of the gamma distribution of these times",
    )
    max_time: Annotated[float, Field(gt=0, le=MAX_RECEIPT_SECONDS), AS_TIME] | None = Field(
        default=None, description="longest of these times, seconds; null = no limit"
    )
    missing: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of delivered messages for which no receipt ever comes, 0 to 1",
    )

    def draw(self, generator: np.random.Generator, count: int) -> Delays:
        """The delays of `count` messages, should they be delivered."""
        delays = capped_draws(generator, count, self.mean_time, self.shape, self.max_time)
        return np.where(generator.random(count) < self.missing, np.nan, delays)


@dataclass(frozen=True, slots=True)
class OnPhone:
    """When delivered messages were on the phone, as sums that can be added up."""

    #: Messages whose receipt has come, or is sure to.
    receipts: int = 0
    #: Delivered messages for which none ever comes.
    missing: int = 0
    #: Sum, over those with a receipt, of the run's start to the phone; and the longest of them.
    seconds: float = 0.0
    longest: float = 0.0
    #: Messages by bucket of the histogram of these times.
    times: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, times: NDArray[np.float64]) -> OnPhone:
        """Of messages that were on the phone so long after the run's start; NaN: no receipt."""
        known = times[~np.isnan(times)]
        return cls(
            receipts=len(known),
            missing=len(times) - len(known),
            seconds=float(known.sum()),
            longest=float(known.max(initial=0.0)),
            times=histogram.count_buckets(known),
        )

    @property
    def delivered(self) -> int:
        """Messages of senders that have receipts at all."""
        return self.receipts + self.missing

    @property
    def mean(self) -> float | None:
        """Seconds from the run's start to the phone, on average; None before the first."""
        return self.seconds / self.receipts if self.receipts else None

    def times_as_many(self, factor: float) -> OnPhone:
        """With `factor` times the messages at the same times."""
        times = {bucket: round(messages * factor) for bucket, messages in self.times.items()}
        return replace(
            self,
            receipts=sum(times.values()),
            missing=round(self.missing * factor),
            seconds=self.seconds * factor,
            times=times,
        )

    def percentile(self, share: float) -> float | None:
        """The time, in seconds, within which `share` (0 to 1) of those with a receipt came."""
        return histogram.percentile(self.times, share, self.longest)


#: Of senders that have no receipts.
NO_RECEIPTS = OnPhone()


def total_on_phone(parts: Iterable[OnPhone]) -> OnPhone:
    """The sums of all parts."""
    added = list(parts)
    return OnPhone(
        receipts=sum(part.receipts for part in added),
        missing=sum(part.missing for part in added),
        seconds=sum(part.seconds for part in added),
        longest=max((part.longest for part in added), default=0.0),
        times=histogram.total(part.times for part in added),
    )
