"""The percentiles of the delivery time that every view shows. Pure."""

from __future__ import annotations

from sms_pipeline.core.counts import Counts

#: By name.
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
#: The one that stands for all of them where there is little room.
TAIL = "p95"


def percentiles_on_phone(counts: Counts) -> dict[str, float | None]:
    """Until messages were on the phone, in seconds, by name; None before any receipt is known."""
    return {name: counts.on_phone.percentile(share) for name, share in PERCENTILES.items()}


def percentiles(counts: Counts) -> dict[str, float | None]:
    """Each in seconds, by name; None before any message has a delivery time."""
    return {name: counts.percentile(share) for name, share in PERCENTILES.items()}


def tail_on_phone(counts: Counts) -> float | None:
    """The time until on the phone, in seconds, that only the slowest messages exceed."""
    return counts.on_phone.percentile(PERCENTILES[TAIL])


def tail(counts: Counts) -> float | None:
    """The delivery time, in seconds, that only the slowest messages exceed."""
    return counts.percentile(PERCENTILES[TAIL])
