"""Daily caps of carriers that a run will pass. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sms_pipeline.core.progress import Progress
from sms_pipeline.core.simulation import Simulation

_DAY = 86_400.0


class PassedCap(NamedTuple):
    """A profile that sends more in a day than its senders may."""

    profile: str
    #: Attempts in the busiest day, about …
    messages: int
    #: … and as many as all its senders may make.
    allowed: int


def passed_caps(
    simulation: Simulation, workers: int | None, progress: Progress
) -> tuple[PassedCap, ...]:
    """The caps that a simulated run passes; a day is any 24 hours, and each attempt counts."""
    return tuple(_passed(simulation, workers or 1, progress))


def _passed(simulation: Simulation, workers: int, progress: Progress) -> Iterator[PassedCap]:
    part_of_run = min(1.0, _DAY / progress.seconds) if progress.seconds else 1.0
    for part in progress.profiles:
        profile = simulation.profile(part.name)
        if profile.daily_cap is None:
            continue
        messages = round(part.counts.attempts_made * part_of_run)
        allowed = profile.daily_cap * profile.count * workers
        if messages > allowed:
            yield PassedCap(profile.name, messages, allowed)
