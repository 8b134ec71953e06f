"""The conservation proof: from independent records, that every message has exactly one fate."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

from sms_pipeline.core.bitmap import bitmap_as_number
from sms_pipeline.core.records import BatchRow, Failure, Run, Settlement
from sms_pipeline.errors import EXIT_BROKEN, EXIT_OK, EXIT_UNFINISHED, BadBatchError
from sms_pipeline.ledger.scan import CounterRow, Records
from sms_pipeline.ledger.store import Ledger

#: Problems and batch numbers that are spelled out; the others are counted.
_MAX_LISTED = 20


class Verdict(StrEnum):
    """What the records show."""

    #: Every message of the run has exactly one fate, and the counters say the same.
    PROVEN = "proven"
    #: Records contradict one another.
    BROKEN = "broken"
    #: Nothing contradicts, but some messages have no fate yet.
    UNFINISHED = "not finished"


#: What the `audit` command ends with.
EXIT_CODES = {
    Verdict.PROVEN: EXIT_OK,
    Verdict.BROKEN: EXIT_BROKEN,
    Verdict.UNFINISHED: EXIT_UNFINISHED,
}


@dataclass
class Report:
    """The outcome of an audit. Counts are messages, except where they say batches."""

    run: int
    total: int
    delivered: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    #: Dispatched, and their last attempt is not settled.
    in_flight: int = 0
    #: Not dispatched yet.
    undispatched: int = 0
    #: Of which no record tells any more what became of them …
    lost: int = 0
    #: … and of which two do.
    doubled: int = 0
    batches: int = 0
    settlements: int = 0
    problems: list[str] = field(default_factory=list)
    #: Batch numbers by what keeps them from their end.
    unsettled: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    absorbed: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Messages in the dead-letter queue, whatever run they belong to; None = not looked at.
    dead_letters: int | None = None

    @property
    def verdict(self) -> Verdict:
        """Broken when anything contradicts; else proven once nothing is left to settle."""
        if self.problems:
            return Verdict.BROKEN
        finished = self.delivered + self.failed + self.expired + self.cancelled
        return Verdict.PROVEN if finished == self.total else Verdict.UNFINISHED

    def to_json(self) -> dict[str, Any]:
        """The fields of `audit --json`."""
        return {
            "run": self.run,
            "verdict": self.verdict.value,
            "total": self.total,
            "delivered": self.delivered,
            "failed": self.failed,
            "expired": self.expired,
            "cancelled": self.cancelled,
            "in_flight": self.in_flight,
            "undispatched": self.undispatched,
            "lost": self.lost,
            "doubled": self.doubled,
            "batches": self.batches,
            "settlements": self.settlements,
            "problems": self.problems,
            "unsettled": {state: numbers for state, numbers in self.unsettled.items() if numbers},
            "absorbed": {
                kind: {"batches": batches, "messages": messages}
                for kind, (batches, messages) in self.absorbed.items()
            },
            "dead_letters": self.dead_letters,
        }

    def lines(self) -> Iterator[str]:
        """A short table and the verdict, for people."""
        yield f"Run {self.run}: {self.total:,} messages"
        for name in ("delivered", "failed", "expired", "cancelled", "in_flight", "undispatched"):
            count = getattr(self, name)
            if count or name in ("delivered", "failed"):
                yield f"  {name.replace('_', ' '):<14}{count:>15,}"
        yield f"  from {self.batches:,} batches and {self.settlements:,} settlements"
        for state, numbers in self.unsettled.items():
            if numbers:
                yield f"  batches {state}: {_listed(numbers)}"
        for kind, (batches, messages) in self.absorbed.items():
            if batches:
                yield f"  absorbed, {kind}: {batches:,} batches of {messages:,} messages"
        if self.dead_letters:
            yield f"  dead-letter queue: {self.dead_letters:,} messages; 'resume' looks into it"
        for problem in self.problems[:_MAX_LISTED]:
            yield f"  ! {problem}"
        if len(self.problems) > _MAX_LISTED:
            yield f"  ! and {len(self.problems) - _MAX_LISTED:,} problems more"
        yield f"Verdict: {self.verdict.value}"


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_MAX_LISTED])
    return shown if len(numbers) <= _MAX_LISTED else f"{shown}, … ({len(numbers):,} in all)"


def audit_ledger(ledger: Ledger, run: Run, lost: bool = False) -> Report:
    """Audit the run as the ledger has it now; see `audit`."""
    with ledger.reading() as connection:
        return audit(run, Records(connection, run), time.time(), lost)


def audit(run: Run, records: Records, now: float, lost: bool = False) -> Report:
    """Hold the run's records against one another.

    Args:
        run: the run.
        records: its rows, as one consistent reading.
        now: seconds since the epoch, to tell stuck batches.
        lost: whether what is in flight is known to be lost: its broker is gone.
    """
    report = Report(run.id, run.total)
    ranges = _Ranges(report)
    sums = _Sums()
    chains = _Grouped(records.settlements(), lambda settlement: settlement.key[1])
    failures = _Grouped(records.failures(), lambda failure: failure.batch)
    for batch in records.batches():
        ranges.add(batch)
        sums.dispatch(batch)
        chain = chains.take(batch.number)
        _check_chain(report, batch, chain)
        _check_failures(report, batch, chain, failures.take(batch.number))
        sums.settle(chain)
        _place(report, run, batch, chain, now, lost)
    ranges.end(run.total, records.position())
    _check_strays(report, "settlement", chains)
    _check_strays(report, "failure", failures)
    _check_counters(report, records.counters(), sums)
    _check_dispatched(report, records.dispatched(), sums)
    report.absorbed = records.absorbed()
    return report


class _Grouped:
    """A stream ordered by batch number, taken batch by batch; `strays` fit no batch."""

    def __init__(self, rows: Iterable[Any], number: Any) -> None:
        self._groups = groupby(rows, number)
        self._head: tuple[int, list[Any]] | None = None
        self.strays: list[int] = []
        self._advance()

    def take(self, number: int) -> list[Any]:
        while self._head and self._head[0] < number:
            self.strays.append(self._head[0])
            self._advance()
        if self._head is None or self._head[0] != number:
            return []
        rows = self._head[1]
        self._advance()
        return rows

    def rest(self) -> list[int]:
        while self._head:
            self.strays.append(self._head[0])
            self._advance()
        return self.strays

    def _advance(self) -> None:
        group = next(self._groups, None)
        self._head = None if group is None else (group[0], list(group[1]))


class _Ranges:
    """Batches must follow one another without gap or overlap, in the order of their numbers."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._index = 0
        self._number = 0

    def add(self, batch: BatchRow) -> None:
        problems = self._report.problems
        if batch.number != self._number:
            problems.append(f"batch {self._number} is not recorded")
        if batch.first_index < self._index:
            self._report.doubled += min(self._index, batch.first_index + batch.size)
            self._report.doubled -= batch.first_index
            problems.append(
                f"batch {batch.number}: messages {batch.first_index}-{self._index - 1} doubled, "
                "an earlier batch has them, too"
            )
        elif batch.first_index > self._index:
            self._report.lost += batch.first_index - self._index
            problems.append(
                f"messages {self._index}-{batch.first_index - 1} lost: they are in no batch"
            )
        self._index = batch.first_index + batch.size
        self._number = batch.number + 1
        self._report.batches += 1

    def end(self, total: int, position: tuple[int, int]) -> None:
        if position != (self._index, self._number):
            self._report.problems.append(
                f"dispatch stands at message {position[0]}, batch {position[1]}, but the batches "
                f"end at message {self._index}, batch {self._number}"
            )
        if self._index > total:
            self._report.doubled += self._index - total
            self._report.problems.append(
                f"messages {total}-{self._index - 1} doubled: beyond the run's {total}"
            )
        self._report.undispatched = max(total - self._index, 0)


def _check_chain(report: Report, batch: BatchRow, chain: list[Settlement]) -> None:
    """What each attempt left over is exactly what the next one took."""
    expected: int | None = None
    for attempt, settlement in enumerate(chain):
        report.settlements += 1
        where = f"batch {batch.number}, attempt {settlement.key[2] + 1}"
        if settlement.key[2] != attempt:
            report.problems.append(f"batch {batch.number}: no settlement of attempt {attempt + 1}")
            return
        try:
            taken = _bits(settlement.taken, batch.size)
            left = _bits(settlement.remainder, batch.size) or 0
        except BadBatchError as error:
            report.problems.append(f"{where}: {error}")
            return
        if taken != expected:
            lost, doubled = _difference(expected, taken, batch.size)
            report.lost += lost
            report.doubled += doubled
            report.problems.append(
                f"{where}: {lost} messages lost and {doubled} doubled since the attempt before"
            )
        took = batch.size if taken is None else taken.bit_count()
        if settlement.messages != took:
            report.problems.append(f"{where}: {settlement.messages} messages, but took {took}")
        if taken is not None and left & ~taken:
            report.problems.append(f"{where}: left over messages that it never took")
        if left.bit_count() != settlement.retried:
            report.problems.append(
                f"{where}: retried {settlement.retried}, left {left.bit_count()}"
            )
        ended = _fates(settlement) + settlement.retried
        report.lost += max(settlement.messages - ended, 0)
        report.doubled += max(ended - settlement.messages, 0)
        if ended != settlement.messages:
            report.problems.append(
                f"{where}: {settlement.messages} messages, but {_fates(settlement)} ended and "
                f"{settlement.retried} were left"
            )
        if attempt + 1 < len(chain) and not left:
            report.problems.append(f"{where}: left nothing, yet another attempt is settled")
        expected = left


def _bits(bitmap: bytes | None, size: int) -> int | None:
    """A bit for each message: sets of them that are compared at once.

    None stands for the whole batch, which may be larger than any bitmap.
    """
    return None if bitmap is None else bitmap_as_number(bitmap, size)


def _difference(expected: int | None, taken: int | None, size: int) -> tuple[int, int]:
    """How many messages the attempt should have taken and did not, and the other way round."""
    whole = (1 << size) - 1
    wanted = whole if expected is None else expected
    found = whole if taken is None else taken
    return (wanted & ~found).bit_count(), (found & ~wanted).bit_count()


def _fates(settlement: Settlement) -> int:
    return settlement.delivered + settlement.failed + settlement.expired + settlement.cancelled


def _check_failures(
    report: Report, batch: BatchRow, chain: list[Settlement], failures: list[Failure]
) -> None:
    """The list of who was not reached has each message that failed or expired, and no other."""
    for reason in ("failed", "expired"):
        counted = sum(getattr(settlement, reason) for settlement in chain)
        listed = {failure.message_index for failure in failures if failure.reason == reason}
        if counted != len(listed):
            report.problems.append(
                f"batch {batch.number}: {counted} messages {reason}, but {len(listed)} listed"
            )
        outside = [
            index
            for index in listed
            if not batch.first_index <= index < batch.first_index + batch.size
        ]
        if outside:
            report.problems.append(
                f"batch {batch.number}: message {outside[0]} listed as {reason} is not its own"
            )


class _Sums:
    """Sums of rows, to hold against the counters."""

    def __init__(self) -> None:
        self.counters: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.dispatched: dict[str, tuple[int, int]] = {}

    def dispatch(self, batch: BatchRow) -> None:
        batches, messages = self.dispatched.get(batch.profile, (0, 0))
        self.dispatched[batch.profile] = (batches + 1, messages + batch.size)

    def settle(self, chain: Iterable[Settlement]) -> None:
        for settlement in chain:
            counter = self.counters[settlement.profile, settlement.worker]
            counter["settlements"] += 1
            counter["attempts"] += settlement.messages
            counter["first_attempts"] += settlement.messages if settlement.key[2] == 0 else 0
            for name in ("delivered", "failed", "expired", "cancelled", "retried"):
                counter[name] += getattr(settlement, name)
            counter["timed"] += settlement.delivered + settlement.failed


def _place(
    report: Report, run: Run, batch: BatchRow, chain: list[Settlement], now: float, lost: bool
) -> None:
    for settlement in chain:
        report.delivered += settlement.delivered
        report.failed += settlement.failed
        report.expired += settlement.expired
        report.cancelled += settlement.cancelled
    left = chain[-1].retried if chain else batch.size
    if not left:
        return
    report.in_flight += left
    report.lost += left if lost else 0
    since = chain[-1].settled_at if chain else batch.queued_at
    report.unsettled[_state(run, batch, chain, now - since, lost)].append(batch.number)


def _state(run: Run, batch: BatchRow, chain: list[Settlement], age: float, lost: bool) -> str:
    if not chain and batch.published_at is None:
        return "recorded, but not confirmed by the broker"
    if lost:
        return "lost with their broker ('resume' sends them again)"
    if age > run.simulation.stuck_after:
        return f"stuck for more than {run.simulation.stuck_after:g} s ('resume' sends them again)"
    return "in flight"


def _check_strays(report: Report, kind: str, rows: _Grouped) -> None:
    report.problems += [
        f"{kind} of batch {number}, which is not recorded" for number in rows.rest()
    ]


def _check_counters(report: Report, counters: list[CounterRow], sums: _Sums) -> None:
    stored = {(row.profile, row.worker): row for row in counters}
    for key in sorted({*stored, *sums.counters}):
        row, summed = stored.get(key), sums.counters.get(key, Counter[str]())
        for name in CounterRow._fields[2:]:
            counted = getattr(row, name) if row else 0
            if counted != summed[name]:
                report.problems.append(
                    f"counter {name} of {key[0]} at {key[1]} is {counted}, "
                    f"but its settlements sum to {summed[name]}"
                )


def _check_dispatched(report: Report, stored: dict[str, tuple[int, int]], sums: _Sums) -> None:
    for profile in sorted({*stored, *sums.dispatched}):
        counted, summed = stored.get(profile, (0, 0)), sums.dispatched.get(profile, (0, 0))
        if counted != summed:
            report.problems.append(
                f"dispatched to {profile}: {counted[0]} batches of {counted[1]} messages counted, "
                f"but {summed[0]} of {summed[1]} recorded"
            )
