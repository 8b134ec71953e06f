"""What sending means. A gateway is the one place where a real provider would go."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.empirical import Empirical
from sms_pipeline.core.gamma import capped_draws
from sms_pipeline.core.parts import count_parts
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.receipts import Delays

#: Keep the streams of outcomes, of outcomes by what goes wrong, and of parts apart from the stream
#: of messages, which has the same seed.
_OUTCOME_STREAM, _EVENT_STREAM, _PARTS_STREAM = 1, 2, 3

#: How many parts each message of an attempt has.
Parts = Callable[[Batch], NDArray[np.float64]]


class Outcomes(NamedTuple):
    """What sending each message of an attempt comes to, in the batch's order."""

    #: Seconds that it takes; its sender is busy with it as long, unless `busy` says otherwise.
    durations: NDArray[np.float64]
    #: Whether it was delivered.
    delivered: NDArray[np.bool_]
    #: Whether it was not sent because its deadline had passed; None when none was.
    expired: NDArray[np.bool_] | None = None
    #: Seconds that its sender is busy with it, where that is something else.
    busy: NDArray[np.float64] | None = None
    #: Should it be delivered: seconds from then until it is on the phone, NaN where no receipt ever
    #: comes; None without receipts.
    receipts: Delays | None = None
    #: Whether no sender took it before its hours were over; None when none was left.
    unsent: NDArray[np.bool_] | None = None


class Gateway(Protocol):
    """Decides durations and outcomes of an attempt; the sender bank decides when it happens."""

    def attempt(self, batch: Batch) -> Outcomes:
        """One attempt at every message that `batch` takes."""
        ...


def parts_of(batch: Batch) -> NDArray[np.float64]:
    """Parts of each message that an attempt takes, by its text."""
    return count_parts(batch.text).astype(np.float64)


class SimulatedGateway:
    """Draws duration ~ Gamma(shape, mean_time / shape) and delivered ~ Bernoulli(1 - failure_rate).

    A profile with `times` draws durations from these instead, scaled to `mean_time`. With
    `parts_per_second` a sender is busy for parts / rate, whatever the duration. The draws depend on
    (seed, run, batch, attempt) alone, so a repeated run repeats them.
    """

    def __init__(self, profile: SenderProfile, parts: Parts = parts_of) -> None:
        self._profile = profile
        self._parts = parts
        self._measured = Empirical(profile.times, profile.mean_time) if profile.times else None

    def attempt(self, batch: Batch) -> Outcomes:
        """See `Gateway.attempt`."""
        generator = _generator(batch, _OUTCOME_STREAM)
        count, rate = batch.count, self._profile.parts_per_second
        receipts = self._profile.receipts
        return Outcomes(
            self._durations(generator, count),
            generator.random(count) >= self._profile.failure_rate,
            busy=None if rate is None else self._parts(batch) / rate,
            # Drawn last, so that all else is the same with and without them.
            receipts=None if receipts is None else receipts.draw(generator, count),
        )

    def _durations(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        profile = self._profile
        if self._measured and profile.mean_time:
            return self._measured.draw(generator, count)
        return capped_draws(generator, count, profile.mean_time, profile.shape, profile.max_time)


def part_draws(batch: Batch, count: int) -> NDArray[np.float64]:
    """Uniform numbers that say how many parts messages have whose text nobody knows."""
    return _generator(batch, _PARTS_STREAM).random(count)


def event_draws(batch: Batch, count: int) -> NDArray[np.float64]:
    """Uniform numbers that say what becomes of messages when something goes wrong."""
    return _generator(batch, _EVENT_STREAM).random(count)


def _generator(batch: Batch, stream: int) -> np.random.Generator:
    key = np.array([batch.seed, stream], np.uint64)
    counter = np.array([0, batch.attempt, batch.number, batch.run], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
