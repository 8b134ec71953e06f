"""Figures of a run as points of its charts; never more than a chart can show. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from sms_pipeline.core import histogram
from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.ledger.timeline import Timeline

#: Batches settle whole, about two a second for each profile: a rate over less time is noise.
RATE_SECONDS = 1.0


def course(timeline: Timeline, seconds: float) -> dict[str, Any]:
    """Throughput and reach until `seconds` after the first dispatch, which is now or the end.

    Throughput counts what was delivered or failed; each rate stands in the middle of its time.
    Reach is the share delivered by then.
    """
    end = max(seconds, timeline.seconds)
    rates = _rates(timeline, end)
    reached = _reached(timeline, end)
    return {
        "end": end,
        "rate_seconds": [at for at, _ in rates],
        "rates": [round(rate, 3) for _, rate in rates],
        "reach_seconds": [at for at, _ in reached],
        "reached": [share for _, share in reached],
        "marks": [{"share": share, "seconds": at} for share, at in timeline.time_to_reach.items()],
    }


def delivery_times(profiles: Iterable[ProfileCounts]) -> dict[str, Any]:
    """The histogram of the run: how many messages took between which times, in seconds."""
    counts: Counter[int] = Counter()
    for profile in profiles:
        counts.update(profile.delivery_times)
    buckets = range(min(counts), max(counts) + 1) if counts else range(0)
    return {
        "from": [histogram.upper_bound(bucket - 1) if bucket else 0.0 for bucket in buckets],
        "to": [histogram.upper_bound(bucket) for bucket in buckets],
        "messages": [counts[bucket] for bucket in buckets],
    }


def _rates(timeline: Timeline, end: float) -> list[tuple[float, float]]:
    together = max(math.ceil(RATE_SECONDS / timeline.width), 1)
    width = together * timeline.width
    ended = [one.delivered + one.failed for one in timeline.bins]
    sums = [sum(ended[first : first + together]) for first in range(0, len(ended), together)]
    # The last one is not over, and its rate would look like a fall.
    whole = [(place, messages) for place, messages in enumerate(sums) if (place + 1) * width <= end]
    points = [((place + 0.5) * width, messages / width) for place, messages in whole]
    if end - len(sums) * width > width:
        # Nothing ended since.
        points += [((len(sums) + 0.5) * width, 0.0), (end, 0.0)]
    if not points and sums and end > 0:
        points = [(end, sum(sums) / end)]
    return points


def _reached(timeline: Timeline, end: float) -> list[tuple[float, float]]:
    ends = [min((place + 1) * timeline.width, end) for place in range(len(timeline.bins))]
    shares = timeline.reached
    return [(0.0, 0.0), *zip(ends, shares, strict=True), *([(end, shares[-1])] if shares else [])]
