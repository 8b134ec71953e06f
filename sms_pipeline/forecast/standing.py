"""The ledger's counters without a database: what a forecast's protocols read and write.

The real ledger on SQLite in memory gives the same figures, but a forecast takes five times as long
with it. `tests/unit/forecast` compares the two.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import (
    SUMMED,
    BatchRow,
    Control,
    Key,
    Run,
    Settled,
    Settlement,
    Snapshot,
    Standing,
    WorkerRow,
)
from sms_pipeline.producer.dispatching import DispatchBooks


class Books(DispatchBooks, Protocol):
    """What protocols ask of a ledger. `ledger.store.Ledger` is one, too."""

    def standing(self, key: Key) -> Standing:
        """See `Ledger.standing`."""

    def settle(self, group: Sequence[Settlement]) -> Sequence[Settled]:
        """See `Ledger.settle`."""


@dataclass
class _Sums:
    """Those of a profile, as they grow."""

    numbers: Counter[str] = field(default_factory=Counter)
    delivery_times: Counter[int] = field(default_factory=Counter)
    longest_delivery: float = 0.0
    #: First attempts that are not settled: batch number to (queued_at, messages).
    waiting: dict[int, tuple[float, int]] = field(default_factory=dict)


class MemoryBooks:
    """Keeps sums only, for one run in which nothing goes wrong."""

    def __init__(
        self, run: Run, workers: Mapping[str, Sequence[SenderProfile]], clock: Clock
    ) -> None:
        """
        Args:
            run: the run.
            workers: what each worker plays, by its id; all are there from the beginning.
            clock: the clock to use.
        """
        # When in each second a worker writes its heartbeat.
        rng = random.Random(run.seed)  # noqa: S311 - a simulation, not a secret
        self._phases = {worker: rng.random() for worker in workers}
        self._run = run
        self._clock = clock
        self._workers = workers
        self._sums = {profile.name: _Sums() for profile in run.simulation.senders}
        self._next_index = self._next_batch = 0
        self._settled_at: float | None = None
        self._origin: float | None = None

    def snapshot(self, run: Run) -> Snapshot:
        """See `Ledger.snapshot`."""
        return Snapshot(
            run=run.id,
            total=run.total,
            seed=run.seed,
            simulation=run.simulation,
            control=Control.RUNNING,
            profiles=tuple(self._counts(name, sums) for name, sums in self._sums.items()),
            workers=self._rows(),
            started_at=run.started_at,
            settled_at=self._settled_at,
            embedded=run.embedded,
            active_at=self._clock.wall(),
        )

    def stuck(self, run_id: int, queued_before: float) -> dict[str, int]:
        """See `Ledger.stuck`."""
        old = {
            name: sum(size for at, size in sums.waiting.values() if at < queued_before)
            for name, sums in self._sums.items()
        }
        return {name: messages for name, messages in old.items() if messages}

    def run(self, run_id: int) -> Run:
        """See `Ledger.run`."""
        return replace(self._run, next_index=self._next_index, next_batch=self._next_batch)

    def origin(self, run_id: int) -> float | None:
        """See `Ledger.origin`."""
        return self._origin

    def record_batches(self, run_id: int, rows: Sequence[BatchRow]) -> bool:
        """See `Ledger.record_batches`."""
        if (rows[0].first_index, rows[0].number) != (self._next_index, self._next_batch):
            return False
        if self._origin is None:
            self._origin = rows[0].queued_at
        for row in rows:
            sums = self._sums[row.profile]
            sums.numbers["dispatched"] += row.size
            sums.waiting[row.number] = (row.queued_at, row.size)
        self._next_index = rows[-1].first_index + rows[-1].size
        self._next_batch = rows[-1].number + 1
        return True

    def mark_published(self, run_id: int, published: Sequence[tuple[int, float]]) -> None:
        """See `Ledger.mark_published`. Nobody asks for it here."""

    def standing(self, key: Key) -> Standing:
        """See `Ledger.standing`. Nothing comes twice here."""
        return Standing(Control.RUNNING, None)

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        """See `Ledger.settle`."""
        for settlement in group:
            self._add(settlement)
        return [Settled(settlement.remainder) for settlement in group]

    def _add(self, one: Settlement) -> None:
        sums = self._sums[one.profile]
        _, number, attempt = one.key
        for moved in one.handed_over:
            self._sums[moved.source].numbers["handed_away"] += moved.messages
            self._sums[moved.target].numbers["handed_in"] += moved.messages
        for name in SUMMED:
            sums.numbers[name] += getattr(one, name)
        sums.numbers["attempts"] += one.messages
        if not attempt:
            sums.numbers["first_attempts"] += one.messages
            del sums.waiting[number]
        sums.delivery_times.update(one.delivery_times)
        sums.longest_delivery = max(sums.longest_delivery, one.longest_delivery)
        self._settled_at = max(self._settled_at or 0.0, one.settled_at)

    def _counts(self, name: str, sums: _Sums) -> ProfileCounts:
        return ProfileCounts(
            profile=name,
            longest_delivery=sums.longest_delivery,
            delivery_times=dict(sums.delivery_times),
            **sums.numbers,
        )

    def _rows(self) -> tuple[WorkerRow, ...]:
        now = self._clock.wall()
        return tuple(
            WorkerRow.playing(
                profile,
                worker,
                # As if it was written just now: nobody dies here.
                heartbeat=math.floor(self._clock.monotonic() + self._phases[worker]),
                joined_at=self._run.started_at,
                seen_at=now,
            )
            for worker, profiles in self._workers.items()
            for profile in profiles
        )
