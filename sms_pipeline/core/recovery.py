"""How long a run took to recover from something that went wrong. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

#: The rate before an event is taken over so many seconds, and the one after it over so many.
BEFORE_SECONDS, AFTER_SECONDS = 30.0, 5.0
#: … or over the time in which so many messages are delivered at the rate before, if that is
#: longer: chance alone must not look like recovery.
LEAST_MESSAGES = 50
#: A rate is back when it is this share of the one before.
RECOVERED = 0.9

_Numbers = NDArray[np.float64]


def time_to_recover(
    delivered: Sequence[int], width: float, start: float, end: float
) -> float | None:
    """Seconds from the end of an event until as many messages a second are delivered as before it.

    That is the first moment from which, over the next seconds, the rate is at least `RECOVERED` of
    that before the event. None if there was no rate before, or the run ended first.

    Args:
        delivered: messages in bins of time, from the start of the run.
        width: of a bin, seconds. No answer is finer.
        start: when the event began, seconds from the start of the run.
        end: when it ended.
    """
    edges: _Numbers = np.arange(len(delivered) + 1, dtype=np.float64) * width
    sums = np.array([0, *accumulate(delivered)], np.float64)
    before = _rate(edges, sums, start - max(BEFORE_SECONDS, width), start)
    if not before:
        return None
    over = max(AFTER_SECONDS, 2 * width, LEAST_MESSAGES / before)
    moments = [end, *edges[edges > end].tolist()]
    for moment in moments:
        if moment + over > edges[-1]:
            return None
        if _rate(edges, sums, moment, moment + over) >= RECOVERED * before:
            return float(moment - end)
    return None


def _rate(edges: _Numbers, sums: _Numbers, start: float, end: float) -> float:
    """Messages a second between two moments; those of a bin are evenly spread."""
    start = max(start, 0.0)
    if end <= start:
        return 0.0
    first, last = np.interp([start, end], edges, sums)
    return float(last - first) / (end - start)
