"""Which profiles' messages the idle workers of another profile should take over. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sms_pipeline.core.liveness import Liveness
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import WorkerRow
from sms_pipeline.core.simulation import Simulation

#: Looks that are further apart than this do not belong together: what was seen is forgotten.
LOOKS_APART_SECONDS = 5.0
#: Longest time that a batch of another profile may take, and all of its that are in hand.
MAX_TAKEN_SECONDS = 60.0


class OpenRun(NamedTuple):
    """A run that is not at its end, and not paused."""

    simulation: Simulation
    #: Profiles of which messages are in flight, or which have handed some over.
    waiting: Sequence[str]

    def lets_take(self, profile: str) -> float | None:
        """After how many seconds others may take over; None: never.

        Args:
            profile: of those who would.
        """
        if profile not in (sender.name for sender in self.simulation.senders):
            return None
        failover = self.simulation.failover
        return None if failover is None else failover.unattended


def batch_size_of(profile: str, runs: Iterable[OpenRun]) -> int:
    """Messages of the largest batch of a profile."""
    sizes = (
        run.simulation.batch_size_for(sender)
        for run in runs
        for sender in run.simulation.senders
        if sender.name == profile
    )
    return max(sizes, default=1)


class Lookout:
    """Tells, from looks about once a second, which profiles a worker should look after, too."""

    def __init__(self, profile: SenderProfile) -> None:
        """`profile`: of the worker."""
        self._profile = profile
        self._looked_at: float | None = None
        self._forget()

    def _forget(self) -> None:
        self._liveness = Liveness()
        self._alone_since: dict[str, float] = {}

    def look(
        self, now: float, present: Sequence[WorkerRow], runs: Sequence[OpenRun]
    ) -> dict[str, int]:
        """The profiles, with how many messages their largest batch has.

        Args:
            now: on any clock that only moves forward.
            present: workers that have not signed off.
            runs: those that are open.
        """
        if self._looked_at is not None and now - self._looked_at > LOOKS_APART_SECONDS:
            self._forget()
        self._looked_at = now
        served = {worker.profile for worker in self._liveness.observe(now, present)}
        alone = {name for run in runs for name in run.waiting} - served - {self._profile.name}
        if not self._liveness.is_decided(now, present):
            alone = set()
        self._alone_since = {name: self._alone_since.get(name, now) for name in alone}
        return {
            name: size
            for name, since in sorted(self._alone_since.items())
            if (after := self._may_take_after(name, runs)) is not None
            and now - since >= after
            and (size := batch_size_of(name, runs)) <= MAX_TAKEN_SECONDS * self._profile.capacity
        }

    def _may_take_after(self, name: str, runs: Iterable[OpenRun]) -> float | None:
        """In a queue lie the batches of all runs: each must allow it."""
        allowed = [run.lets_take(self._profile.name) for run in runs if name in run.waiting]
        waits = [seconds for seconds in allowed if seconds is not None]
        return max(waits) if waits and len(waits) == len(allowed) else None
