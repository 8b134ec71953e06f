"""Log-spaced buckets of times, so that percentiles come from counters that add up. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

#: Upper bound of bucket 0, seconds; anything shorter is lost in scheduling noise.
SHORTEST = 0.001
#: Buckets for each doubling: neighbours differ by 2**(1/8) = 9 %, so a percentile is off by less.
BUCKETS_PER_DOUBLING = 8
#: Bucket 255 starts at about 45 days; everything longer is counted there.
LAST_BUCKET = 255


def count_buckets(seconds: NDArray[np.float64]) -> dict[int, int]:
    """How many of `seconds` fall in each bucket; empty buckets are left out.

    bucket = ceil(8 * log2(t / 0.001)), kept within 0 … 255.
    """
    if not len(seconds):
        return {}
    positions = np.ceil(np.log2(np.maximum(seconds, SHORTEST) / SHORTEST) * BUCKETS_PER_DOUBLING)
    counts = np.bincount(np.minimum(positions, LAST_BUCKET).astype(np.intp))
    return {bucket: int(counts[bucket]) for bucket in np.flatnonzero(counts).tolist()}


def total(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """By bucket, what all of them hold."""
    added = Counter[int]()
    for one in histograms:
        added.update(one)
    return dict(added)


def upper_bound(bucket: int) -> float:
    """The longest time, in seconds, that falls in `bucket`."""
    return float(SHORTEST * 2.0 ** (bucket / BUCKETS_PER_DOUBLING))


def bounds(bucket: int) -> tuple[float, float]:
    """Between which times, in seconds, `bucket` is."""
    return (upper_bound(bucket - 1) if bucket else 0.0), upper_bound(bucket)


def spread(messages: float, start: float, end: float) -> dict[int, float]:
    """How many messages fall in each bucket if their times are evenly spread from start to end."""
    buckets = count_buckets(np.array([start, end]))
    found = {}
    for bucket in range(min(buckets), max(buckets) + 1):
        low, high = bounds(bucket)
        found[bucket] = messages * (min(high, end) - max(low, start)) / (end - start)
    return found


def percentile(counts: Mapping[int, int], share: float, longest: float = math.inf) -> float | None:
    """The time, in seconds, within which `share` (0 to 1) of all counted fell; None without any.

    Linear within the bucket that holds it. The last of them all took `longest`, if that is given,
    and none took longer.
    """
    total = sum(counts.values())
    wanted = share * total
    if total and wanted > total - 1 and longest < math.inf:
        return longest
    passed = 0
    for bucket in sorted(counts):
        if passed + counts[bucket] >= wanted and counts[bucket]:
            lower, upper = (min(bound, longest) for bound in bounds(bucket))
            within = (wanted - passed) / counts[bucket]
            return lower + (upper - lower) * within
        passed += counts[bucket]
    return None
