"""What sending means. A gateway is the one place where a real provider would go."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.empirical import Empirical
from sms_pipeline.core.profiles import SenderProfile

#: Keeps the stream of outcomes apart from the stream of messages, which has the same seed.
_OUTCOME_STREAM = 1


class Outcomes(NamedTuple):
    """What sending each message of an attempt comes to, in the batch's order."""

    #: Seconds that its sender is busy with it.
    durations: NDArray[np.float64]
    #: Whether it was delivered.
    delivered: NDArray[np.bool_]
    #: Whether it was not sent because its deadline had passed; None when none was.
    expired: NDArray[np.bool_] | None = None


class Gateway(Protocol):
    """Decides durations and outcomes of an attempt; the sender bank decides when it happens."""

    def attempt(self, batch: Batch) -> Outcomes:
        """One attempt at every message that `batch` takes."""
        ...


class SimulatedGateway:
    """Draws duration ~ Gamma(shape, mean_time / shape) and delivered ~ Bernoulli(1 - failure_rate).

    A profile with `times` draws durations from these instead, scaled to `mean_time`. The draws
    depend on (seed, run, batch, attempt) alone, so a repeated run repeats them.
    """

    def __init__(self, profile: SenderProfile) -> None:
        self._profile = profile
        self._measured = Empirical(profile.times, profile.mean_time) if profile.times else None

    def attempt(self, batch: Batch) -> Outcomes:
        """See `Gateway.attempt`."""
        generator = _generator(batch)
        count = batch.count
        return Outcomes(
            self._durations(generator, count),
            generator.random(count) >= self._profile.failure_rate,
        )

    def _durations(self, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        profile = self._profile
        if profile.mean_time == 0:
            return np.zeros(count)
        if self._measured:
            return self._measured.draw(generator, count)
        durations = generator.gamma(profile.shape, profile.mean_time / profile.shape, count)
        return durations if profile.max_time is None else np.minimum(durations, profile.max_time)


def _generator(batch: Batch) -> np.random.Generator:
    key = np.array([batch.seed, _OUTCOME_STREAM], np.uint64)
    counter = np.array([0, batch.attempt, batch.number, batch.run], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
