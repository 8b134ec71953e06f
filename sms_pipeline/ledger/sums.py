"""Sums of a run's records, held against the sums that the ledger keeps. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sms_pipeline.core.counts import how_many, of_messages
from sms_pipeline.core.failover import Failover, hand_overs
from sms_pipeline.core.histogram import LAST_BUCKET, bounds
from sms_pipeline.core.receipts import NO_RECEIPTS, OnPhone, total_on_phone
from sms_pipeline.core.records import BatchRow, Settlement

#: What sums of the same numbers in another order may differ by: relatively, and in seconds.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-5

#: (profile, worker)
Settler = tuple[str, str]
#: (source, target, worker) of hand-overs, and (messages, untried).
Way = tuple[str, str, str]
Handed = Mapping[Way, tuple[int, int]]


class CounterRow(NamedTuple):
    """A row of the counter table, and the sum of its histogram."""

    profile: str
    worker: str
    settlements: int = 0
    first_attempts: int = 0
    attempts: int = 0
    delivered: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    retried: int = 0
    timed: int = 0
    send_seconds: float = 0.0
    delivery_seconds: float = 0.0
    transit_seconds: float = 0.0
    longest_delivery: float = 0.0
    last_settled_at: float = 0.0
    #: By bucket: delivery times as in `histogram`.
    times: Mapping[int, int] = {}


class Dispatched(NamedTuple):
    """A row of the dispatch counters."""

    batches: int = 0
    messages: int = 0
    last_at: float = 0.0


#: Whole numbers that must be the same, and sums of seconds that must be about the same.
_COUNTS = CounterRow._fields[2:11]
_SECONDS = ("send_seconds", "delivery_seconds", "transit_seconds")


@dataclass(slots=True)
class _Sum:
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTS, 0))
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_SECONDS, 0.0))
    last_settled_at: float = 0.0


class Sums:
    """Sums of rows, to hold against the counters."""

    def __init__(self, failover: Failover | None = None) -> None:
        """`failover`: of the run."""
        self._failover = failover
        self._handed: dict[Way, tuple[int, int]] = {}
        self._settled: dict[Settler, _Sum] = defaultdict(_Sum)
        self._on_phone: dict[Settler, OnPhone] = {}
        self._dispatched: dict[str, Dispatched] = {}

    def dispatch(self, batch: BatchRow) -> None:
        """Add a batch."""
        batches, messages, last_at = self._dispatched.get(batch.profile, Dispatched())
        self._dispatched[batch.profile] = Dispatched(
            batches + 1, messages + batch.size, max(last_at, batch.queued_at)
        )

    def settle(self, batch: BatchRow, chain: Iterable[Settlement]) -> None:
        """Add the settlements of a batch."""
        for settlement in chain:
            self._hand_over(batch, settlement)
            found = self._settled[settlement.profile, settlement.worker]
            counts = found.counts
            counts["settlements"] += 1
            counts["attempts"] += settlement.messages
            counts["first_attempts"] += settlement.messages if settlement.key[2] == 0 else 0
            for name in ("delivered", "failed", "expired", "cancelled", "retried"):
                counts[name] += getattr(settlement, name)
            counts["timed"] += settlement.delivered + settlement.failed
            for name in _SECONDS:
                found.seconds[name] += getattr(settlement, name)
            found.last_settled_at = max(found.last_settled_at, settlement.settled_at)
            if settlement.on_phone is not None:
                key = settlement.profile, settlement.worker
                parts = self._on_phone.get(key, NO_RECEIPTS), settlement.on_phone
                self._on_phone[key] = total_on_phone(parts)

    def _hand_over(self, batch: BatchRow, settled: Settlement) -> None:
        for one in hand_overs(
            batch.profile,
            self._failover,
            settled.key[2],
            settled.profile,
            settled.messages,
            settled.retried,
        ):
            way = one.source, one.target, settled.worker
            messages, untried = self._handed.get(way, (0, 0))
            self._handed[way] = messages + one.messages, untried + one.untried

    def against_handed(self, stored: Handed) -> Iterator[str]:
        """Where the sums of hand-overs say something else."""
        for way in sorted({*stored, *self._handed}):
            counted, summed = stored.get(way, (0, 0)), self._handed.get(way, (0, 0))
            if counted != summed:
                source, target, worker = way
                yield (
                    f"handed over from {source} to {target} at {worker}: {of_messages(counted[0])} "
                    f"counted, {counted[1]} of them untried, but by its settlements {summed[0]}, "
                    f"{summed[1]} of them untried"
                )

    def against_counters(
        self, counters: Sequence[CounterRow], deadline: float | None
    ) -> Iterator[str]:
        """Where the counter table says something else."""
        stored = {(row.profile, row.worker): row for row in counters}
        for key in sorted({*stored, *self._settled}):
            row = stored.get(key, CounterRow(*key))
            summed = self._settled.get(key, _Sum())
            where = f"of {key[0]} at {key[1]}"
            yield from _against(row, summed, where)
            yield from _against_times(
                "delivery", where, row.times, row.delivery_seconds, row.longest_delivery
            )
            if deadline is not None and not _less(row.longest_delivery, deadline):
                yield (
                    f"a message {where} took {row.longest_delivery:g} s, but the deadline is "
                    f"{deadline:g} s"
                )

    def against_receipts(self, counted: Mapping[Settler, OnPhone]) -> Iterator[str]:
        """Where the sums of delivery receipts say something else."""
        for key in sorted({*counted, *self._on_phone}):
            row, summed = counted.get(key, NO_RECEIPTS), self._on_phone.get(key, NO_RECEIPTS)
            where = f"of {key[0]} at {key[1]}"
            yield from _against_receipts(row, summed, where)
            yield from _against_times("receipt", where, row.times, row.seconds, row.longest)

    def against_dispatched(self, stored: Mapping[str, Dispatched]) -> Iterator[str]:
        """Where the dispatch counters say something else."""
        for profile in sorted({*stored, *self._dispatched}):
            counted = stored.get(profile, Dispatched())
            summed = self._dispatched.get(profile, Dispatched())
            if counted[:2] != summed[:2]:
                yield (
                    f"dispatched to {profile}: {how_many(counted.batches, 'batch', 'batches')} of "
                    f"{of_messages(counted.messages)} counted, but {summed.batches} of "
                    f"{summed.messages} recorded"
                )
            elif counted.last_at != summed.last_at:
                yield f"dispatched to {profile}: the last batch was not queued when it is said to"


def _against(row: CounterRow, summed: _Sum, where: str) -> Iterator[str]:
    for name in _COUNTS:
        if getattr(row, name) != summed.counts[name]:
            yield (
                f"counter {name} {where} is {getattr(row, name)}, "
                f"but its settlements sum to {summed.counts[name]}"
            )
    for name in _SECONDS:
        if not _about(getattr(row, name), summed.seconds[name]):
            yield (
                f"counter {name} {where} is {getattr(row, name):.6f}, "
                f"but its settlements sum to {summed.seconds[name]:.6f}"
            )
    if row.settlements and row.last_settled_at != summed.last_settled_at:
        yield f"counter last_settled_at {where} is not that of its last settlement"


def _against_receipts(row: OnPhone, summed: OnPhone, where: str) -> Iterator[str]:
    timed = sum(row.times.values())
    for name, found, wanted in (
        ("receipts", row.receipts, summed.receipts),
        ("missing receipts", row.missing, summed.missing),
        ("receipts in the histogram", timed, summed.receipts),
    ):
        if found != wanted:
            yield f"counter {name} {where} is {found}, but its settlements sum to {wanted}"
    if not _about(row.seconds, summed.seconds):
        yield (
            f"counter receipt_seconds {where} is {row.seconds:.6f}, "
            f"but its settlements sum to {summed.seconds:.6f}"
        )


def _against_times(
    kind: str, where: str, times: Mapping[int, int], seconds: float, longest: float
) -> Iterator[str]:
    """What the histogram and the sums of one kind of times say of one another."""
    filled = {bucket: messages for bucket, messages in times.items() if messages}
    if any(messages < 0 for messages in filled.values()):
        yield f"the histogram of {kind} times {where} counts less than nothing"
        return
    ends = {bucket: _ends(bucket, longest) for bucket in filled}
    least = sum(ends[bucket][0] * messages for bucket, messages in filled.items())
    most = sum(ends[bucket][1] * messages for bucket, messages in filled.items())
    if not (_less(least, seconds) and _less(seconds, most)):
        yield (
            f"counter {kind}_seconds {where} is {seconds:.6f}, "
            f"but by its histogram from {least:.6f} to {most:.6f}"
        )
    start, end = ends[max(ends)] if ends else (0.0, 0.0)
    if not (_less(start, longest) and _less(longest, end)):
        yield f"counter longest_{kind} {where} is {longest:g}, where its histogram does not end"


def _ends(bucket: int, longest: float) -> tuple[float, float]:
    """Between which times it is; the last bucket has no end but the longest time of all."""
    shortest, end = bounds(bucket)
    return shortest, longest if bucket == LAST_BUCKET else end


def _about(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def _less(one: float, other: float) -> bool:
    return one <= other or _about(one, other)
