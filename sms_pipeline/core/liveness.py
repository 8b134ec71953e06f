"""Which workers are online. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sms_pipeline.core.records import WorkerRow

#: A worker is online while its heartbeat changed within this time, on the reader's own clock.
ONLINE_SECONDS = 5.0
#: After this time a reader has seen the heartbeat of every living worker change.
SURVEY_SECONDS = 2.5


class Silent(NamedTuple):
    """A worker, and how long its heartbeat was not seen to change, seconds."""

    worker: WorkerRow
    seconds: float


class Liveness:
    """Tells which workers are online, without comparing the clocks of two hosts."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = frozenset(trusted)
        self._heartbeats: dict[str, int] = {}
        self._changed_at: dict[str, float] = {}
        self._since: float | None = None

    def observe(self, now: float, workers: Iterable[WorkerRow]) -> tuple[WorkerRow, ...]:
        """Those of `workers` that are online; `now` on any clock that only moves forward."""
        self._since = now if self._since is None else self._since
        present = tuple(workers)
        for worker in present:
            before = self._heartbeats.get(worker.id)
            if before is not None and before != worker.heartbeat:
                self._changed_at[worker.id] = now
            self._heartbeats[worker.id] = worker.heartbeat
        return tuple(worker for worker in present if self._is_online(worker.id, now))

    def is_decided(self, now: float, workers: Iterable[WorkerRow]) -> bool:
        """Whether each of `workers` was watched long enough to tell."""
        unseen = any(
            worker.id not in self._trusted and worker.id not in self._changed_at
            for worker in workers
        )
        return not unseen or (self._since is not None and now - self._since >= SURVEY_SECONDS)

    def last_seen(self, worker: str, now: float) -> float | None:
        """Seconds since its heartbeat was seen to change; None if it never was."""
        changed = self._changed_at.get(worker)
        return None if changed is None else now - changed

    def lost(self, now: float, workers: Iterable[WorkerRow], until: float) -> tuple[Silent, ...]:
        """Those of `workers` that were seen alive and are not online any more, by their silence.

        Whoever has been silent for longer than `until` seconds is not among them.
        """
        silent = [
            Silent(worker, seconds)
            for worker in workers
            if (seconds := self.last_seen(worker.id, now)) is not None
            and seconds <= until
            and not self._is_online(worker.id, now)
        ]
        return tuple(sorted(silent, key=lambda one: one.seconds))

    def _is_online(self, worker: str, now: float) -> bool:
        changed = self._changed_at.get(worker)
        return worker in self._trusted or (changed is not None and now - changed <= ONLINE_SECONDS)


def present_workers(workers: Iterable[WorkerRow]) -> tuple[WorkerRow, ...]:
    """Those that have not signed off; some of them may be dead."""
    return tuple(worker for worker in workers if worker.left_at is None)
