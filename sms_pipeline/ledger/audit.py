"""The conservation proof: from independent records, that every message has exactly one fate."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.bitmap import bitmap_as_number
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.records import BatchRow, Failure, Run, Settlement
from sms_pipeline.errors import BadBatchError
from sms_pipeline.ledger.scan import CounterRow, Records
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import AuditResult


def audit_ledger(
    ledger: Ledger, run: Run, lost: bool = False, clock: Clock = MACHINE_CLOCK
) -> AuditResult:
    """Audit the run as the ledger has it now; see `audit`."""
    with ledger.reading() as connection:
        return audit(run, Records(connection, run), clock.wall(), lost)


def audit(run: Run, records: Records, now: float, lost: bool = False) -> AuditResult:
    """Hold the run's records against one another.

    Args:
        run: the run.
        records: its rows, as one consistent reading.
        now: seconds since the epoch, to tell stuck batches.
        lost: whether what is in flight is known to be lost: its broker is gone.
    """
    result = AuditResult(run.id, run.total)
    ranges = _Ranges(result)
    sums = _Sums()
    chains = _Grouped(records.settlements(), lambda settlement: settlement.key[1])
    failures = _Grouped(records.failures(), lambda failure: failure.batch)
    for batch in records.batches():
        ranges.add(batch)
        sums.dispatch(batch)
        chain = chains.take(batch.number)
        _check_chain(result, batch, chain)
        _check_failures(result, batch, chain, failures.take(batch.number))
        sums.settle(chain)
        _place(result, run, batch, chain, now, lost)
    ranges.end(run.total, records.position())
    _check_strays(result, "settlement", chains)
    _check_strays(result, "failure", failures)
    _check_counters(result, records.counters(), sums)
    _check_dispatched(result, records.dispatched(), sums)
    result.absorbed = records.absorbed()
    return result


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

    def __init__(self, result: AuditResult) -> None:
        self._result = result
        self._index = 0
        self._number = 0

    def add(self, batch: BatchRow) -> None:
        problems, end = self._result.problems, batch.first_index + batch.size
        if batch.number != self._number:
            problems.append(f"batch {self._number} is not recorded")
        if batch.first_index < self._index:
            shared = min(self._index, end)
            self._result.doubled += shared - batch.first_index
            problems.append(
                f"batch {batch.number}: messages {batch.first_index}-{shared - 1} doubled, "
                "an earlier batch has them, too"
            )
        elif batch.first_index > self._index:
            self._result.lost += batch.first_index - self._index
            problems.append(
                f"messages {self._index}-{batch.first_index - 1} lost: they are in no batch"
            )
        self._index = max(self._index, end)
        self._number = batch.number + 1
        self._result.batches += 1

    def end(self, total: int, position: tuple[int, int]) -> None:
        if position != (self._index, self._number):
            self._result.problems.append(
                f"dispatch stands at message {position[0]}, batch {position[1]}, but the batches "
                f"end at message {self._index}, batch {self._number}"
            )
        if self._index > total:
            self._result.doubled += self._index - total
            self._result.problems.append(
                f"messages {total}-{self._index - 1} doubled: beyond the run's {total}"
            )
        self._result.undispatched = max(total - self._index, 0)


def _check_chain(result: AuditResult, batch: BatchRow, chain: list[Settlement]) -> None:
    """What each attempt left over is exactly what the next one took."""
    expected: int | None = None
    for attempt, settlement in enumerate(chain):
        result.settlements += 1
        where = f"batch {batch.number}, attempt {settlement.key[2] + 1}"
        if settlement.key[2] != attempt:
            result.problems.append(f"batch {batch.number}: no settlement of attempt {attempt + 1}")
            return
        try:
            taken = _bits(settlement.taken, batch.size)
            left = _bits(settlement.remainder, batch.size) or 0
        except BadBatchError as error:
            result.problems.append(f"{where}: {error}")
            return
        if taken != expected:
            lost, doubled = _difference(expected, taken, batch.size)
            result.lost += lost
            result.doubled += doubled
            result.problems.append(
                f"{where}: {lost} messages lost and {doubled} doubled since the attempt before"
            )
        took = batch.size if taken is None else taken.bit_count()
        if settlement.messages != took:
            result.problems.append(f"{where}: {settlement.messages} messages, but took {took}")
        if taken is not None and left & ~taken:
            result.problems.append(f"{where}: left over messages that it never took")
        if left.bit_count() != settlement.retried:
            result.problems.append(
                f"{where}: retried {settlement.retried}, left {left.bit_count()}"
            )
        ended = _fates(settlement) + settlement.retried
        result.lost += max(settlement.messages - ended, 0)
        result.doubled += max(ended - settlement.messages, 0)
        if ended != settlement.messages:
            result.problems.append(
                f"{where}: {settlement.messages} messages, but {_fates(settlement)} ended and "
                f"{settlement.retried} were left"
            )
        if attempt + 1 < len(chain) and not left:
            result.problems.append(f"{where}: left nothing, yet another attempt is settled")
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
    result: AuditResult, batch: BatchRow, chain: list[Settlement], failures: list[Failure]
) -> None:
    """The list of who was not reached has each message that failed or expired, and no other."""
    for reason in ("failed", "expired"):
        counted = sum(getattr(settlement, reason) for settlement in chain)
        listed = {failure.message_index for failure in failures if failure.reason == reason}
        if counted != len(listed):
            result.problems.append(
                f"batch {batch.number}: {counted} messages {reason}, but {len(listed)} listed"
            )
        outside = [
            index
            for index in listed
            if not batch.first_index <= index < batch.first_index + batch.size
        ]
        if outside:
            result.problems.append(
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
    result: AuditResult, run: Run, batch: BatchRow, chain: list[Settlement], now: float, lost: bool
) -> None:
    for settlement in chain:
        result.delivered += settlement.delivered
        result.failed += settlement.failed
        result.expired += settlement.expired
        result.cancelled += settlement.cancelled
    left = chain[-1].retried if chain else batch.size
    if not left:
        return
    result.in_flight += left
    result.lost += left if lost else 0
    since = chain[-1].settled_at if chain else batch.queued_at
    result.unsettled[_state(run, batch, chain, now - since, lost)].append(batch.number)


def _state(run: Run, batch: BatchRow, chain: list[Settlement], age: float, lost: bool) -> str:
    if not chain and batch.published_at is None:
        return "recorded, but not confirmed by the broker"
    if lost:
        return "lost with their broker ('resume' sends them again)"
    if age > run.simulation.stuck_after:
        return f"stuck for more than {run.simulation.stuck_after:g} s ('resume' sends them again)"
    return "in flight"


def _check_strays(result: AuditResult, kind: str, rows: _Grouped) -> None:
    result.problems += [
        f"{kind} of batch {number}, which is not recorded" for number in rows.rest()
    ]


def _check_counters(result: AuditResult, counters: list[CounterRow], sums: _Sums) -> None:
    stored = {(row.profile, row.worker): row for row in counters}
    for key in sorted({*stored, *sums.counters}):
        row, summed = stored.get(key), sums.counters.get(key, Counter[str]())
        for name in CounterRow._fields[2:]:
            counted = getattr(row, name) if row else 0
            if counted != summed[name]:
                result.problems.append(
                    f"counter {name} of {key[0]} at {key[1]} is {counted}, "
                    f"but its settlements sum to {summed[name]}"
                )


def _check_dispatched(result: AuditResult, stored: dict[str, tuple[int, int]], sums: _Sums) -> None:
    for profile in sorted({*stored, *sums.dispatched}):
        counted, summed = stored.get(profile, (0, 0)), sums.dispatched.get(profile, (0, 0))
        if counted != summed:
            result.problems.append(
                f"dispatched to {profile}: {counted[0]} batches of {counted[1]} messages counted, "
                f"but {summed[0]} of {summed[1]} recorded"
            )
