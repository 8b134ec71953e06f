"""What a configuration means: who sends what, and how fast that can be at best. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.views.format import count, exact_percent, exact_seconds, rate

_GAP = "  "


def meaning_lines(simulation: Simulation) -> list[str]:
    """The fleet, profile by profile, and what all of it can do."""
    attempts = sum(one.capacity for one in simulation.senders)
    delivered = sum(one.capacity * (1 - one.failure_rate) for one in simulation.senders)
    return [
        *(f"{_GAP}{line}" for line in _aligned([_cells(one) for one in simulation.senders])),
        *(f"{_GAP}{line}" for one in simulation.senders for line in _receipts(one)),
        *(f"{_GAP}{line}" for line in _failover(simulation)),
        f"At best, with one worker for each profile: {_speed(attempts)} attempts/s, "
        f"{_speed(delivered)} of them delivered.",
    ]


def _cells(profile: SenderProfile) -> list[str]:
    return [
        profile.name,
        f"{count(profile.count)} sender{'s' if profile.count > 1 else ''}",
        f"{exact_seconds(profile.mean_time)} an attempt",
        f"{exact_percent(profile.failure_rate)} fail",
        f"{_speed(profile.capacity)} attempts/s",
    ]


def _receipts(profile: SenderProfile) -> Iterator[str]:
    known = profile.receipts
    if known:
        yield (
            f"{profile.name}: on the phone {exact_seconds(known.mean_time)} after delivery, "
            f"{exact_percent(known.missing)} without a receipt"
        )


def _failover(simulation: Simulation) -> Iterator[str]:
    """What is otherwise than by default."""
    failover = simulation.failover
    if failover is None:
        yield "no failover: what a profile without workers has waits for them"
    elif failover.to is not None:
        failed = f"{failover.attempts} failed attempt{'s' if failover.attempts != 1 else ''}"
        yield f"after {failed} a message goes to {failover.to}"


def _speed(messages: float) -> str:
    return "∞" if math.isinf(messages) else rate(messages).removesuffix("/s")


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
