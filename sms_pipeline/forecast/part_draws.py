"""How many parts the messages of a simulated run have: no text takes part in one. Pure."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Parts, part_draws
from sms_pipeline.core.messages import Alphabet, joined, make_columns
from sms_pipeline.core.parts import count_parts, parts_per_recipient
from sms_pipeline.core.simulation import Simulation

#: So many texts tell how often a message has how many parts.
_SAMPLE, _SEED = 5_000, 1


def parts_in(simulation: Simulation) -> Parts:
    """Draws as many parts for each message of an attempt as texts of that run have."""
    if (mean := _known_mean(simulation)) is not None:
        return partial(_around, mean)
    return partial(_drawn, _sample(simulation.max_text_length, simulation.alphabet))


def _known_mean(simulation: Simulation) -> float | None:
    """Parts of a message on average, where its text is not drawn at random.

    Before its file is read, a text with fields counts as it stands.
    """
    if simulation.text is None:
        return None
    mean = parts_per_recipient(simulation)
    return float(count_parts(joined([simulation.text]))[0]) if mean is None else mean


def _around(mean: float, batch: Batch) -> NDArray[np.float64]:
    """The whole numbers on both sides of the mean, as often as makes it."""
    has_more = part_draws(batch, batch.count) < mean % 1
    parts: NDArray[np.float64] = math.floor(mean) + has_more.astype(np.float64)
    return parts


@lru_cache(maxsize=16)
def _sample(max_text_length: int, alphabet: Alphabet) -> NDArray[np.float64]:
    columns = make_columns(_SEED, 0, _SAMPLE, max_text_length, "e164", alphabet)
    return count_parts(columns.text).astype(np.float64)


def _drawn(sample: NDArray[np.float64], batch: Batch) -> NDArray[np.float64]:
    if sample.max() == 1:
        return np.ones(batch.count)
    places = part_draws(batch, batch.count) * len(sample)
    return sample[places.astype(np.intp)]
