"""Delivery logs as providers write them, of senders that are known."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sms_pipeline.core.gateway import SimulatedGateway
from sms_pipeline.core.profiles import SenderProfile
from tests.unit import make

HEADER = "sent_at,done_at,state,carrier"
#: 2026-09-21 14:13:20 UTC
BEGIN = 1_790_000_000.0


class Attempt(NamedTuple):
    """A row of a log."""

    sent: float
    ended: float
    delivered: bool
    profile: str

    def row(self) -> str:
        """As CSV."""
        state = "DELIVRD" if self.delivered else "UNDELIV"
        return f"{iso(self.sent)},{iso(self.ended)},{state},{self.profile}"


def iso(at: float) -> str:
    """Milliseconds, and a zone, as most providers write it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def attempts(profile: SenderProfile, batches: int, size: int = 2_000) -> Iterator[Attempt]:
    """What the senders of a profile do with batches that all wait from the start on."""
    gateway = SimulatedGateway(profile)
    free = [BEGIN] * profile.count
    whole = make.batch(size, profile=profile.name)
    for number in range(batches):
        outcomes = gateway.attempt(whole.model_copy(update={"number": number}))
        for duration, delivered in zip(outcomes.durations, outcomes.delivered, strict=True):
            began = free[0]
            heapq.heapreplace(free, began + float(duration))
            yield Attempt(began, began + float(duration), bool(delivered), profile.name)


def write_log(path: Path, rows: Iterable[str], header: str = HEADER) -> Path:
    """A log with these rows."""
    path.write_text("\n".join((header, *rows)) + "\n")
    return path
