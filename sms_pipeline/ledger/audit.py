"""The conservation proof: from independent records, that every message has exactly one fate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.bitmap import bitmap_as_number
from sms_pipeline.core.clock import Clock, clock_of
from sms_pipeline.core.counts import of_messages
from sms_pipeline.core.errors import BadBatchError
from sms_pipeline.core.records import BatchRow, Failure, Run, Settlement
from sms_pipeline.core.run_state import stuck_before
from sms_pipeline.core.seal import Contents
from sms_pipeline.ledger import rules, schema
from sms_pipeline.ledger.chains import encoded, encoded_settlement
from sms_pipeline.ledger.mapping import batch_columns, settlement_columns
from sms_pipeline.ledger.receipts import encoded_receipts, with_receipts
from sms_pipeline.ledger.scan import Records
from sms_pipeline.ledger.sealing import may_be_sealed, read_seal, record_seal, seal_of
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.sums import Sums
from sms_pipeline.ledger.verdict import AuditResult


def audit_ledger(
    ledger: Ledger, run: Run, lost: bool = False, clock: Clock = MACHINE_CLOCK
) -> AuditResult:
    """Audit the run as the ledger has it now; see `audit`.

    Raises:
        DamagedLedgerError: a row can't be read.
        UnknownRunError: the run is not there any more.
    """
    if run.simulation.is_forecast:
        return AuditResult(run.id, run.total, forecast=True)
    clock = clock_of(run, clock)
    with ledger.reading() as connection:
        result = audit(Records(connection, run), clock.wall(), lost)
        _compare_seal(result, connection, clock)
    if result.seal and not result.sealed and not result.problems:
        recorded = record_seal(ledger, run.id, clock)
        result.seal, result.sealed = recorded or result.seal, recorded is not None
    return result


def _compare_seal(result: AuditResult, connection: Connection, clock: Clock) -> None:
    """Hold the records against the seal that the first to see the run's end has recorded."""
    recorded = read_seal(connection, result.run)
    if recorded is None and not may_be_sealed(connection, result.run, clock):
        return
    found = seal_of(connection, result.run)
    result.seal, result.sealed = recorded or found, recorded is not None
    if recorded not in (None, found):
        result.problems.append(f"the run was sealed as {recorded}, but its records give {found}")


def audit(records: Records, now: float, lost: bool = False) -> AuditResult:
    """Hold a run's records against one another.

    Args:
        records: its rows, as one consistent reading.
        now: seconds since the epoch, to tell stuck batches.
        lost: whether what is in flight is known to be lost: its broker is gone.
    """
    run = records.run()
    result = AuditResult(run.id, run.total)
    result.problems += records.changed()
    result.problems += rules.of_run(run, records.steps())
    standing = rules.Standing(run, records.workers())
    ranges = _Ranges(result)
    sums, contents = Sums(run.simulation.failover), Contents()
    chains = _Grouped(records.settlements(), lambda settlement: settlement.key[1])
    failures = _Grouped(records.failures(), lambda failure: failure.batch)
    receipts = _Grouped(records.receipts(), lambda receipt: receipt[0][1])
    for batch in records.batches():
        ranges.add(batch)
        sums.dispatch(batch)
        chain, listed = chains.take(batch.number), failures.take(batch.number)
        noted = receipts.take(batch.number)
        chain = with_receipts(chain, noted)
        result.problems += rules.of_receipts(batch, chain, noted)
        _check_chain(result, batch, chain)
        _check_failures(result, batch, chain, listed)
        result.problems += rules.of_batch(standing, batch, chain)
        result.problems += rules.of_chain(standing, batch, chain)
        result.problems += rules.of_failures(batch, chain, listed)
        _add(contents, batch, chain, listed)
        sums.settle(batch, chain)
        _place(result, run, batch, chain, now, lost)
    ranges.end(run.total, (run.next_index, run.next_batch))
    _check_strays(result, "settlement", chains)
    _check_strays(result, "failure", failures)
    _check_strays(result, "receipts", receipts)
    for place, name, row in records.hashed_steps():
        contents.add(place, name, row)
    result.problems += contents.against(records.links(), records.first_links())
    result.problems += sums.against_counters(records.counters(), run.simulation.deadline)
    result.problems += sums.against_receipts(records.receipt_counters())
    result.problems += sums.against_dispatched(records.dispatched())
    result.problems += sums.against_handed(records.handed_over())
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


def _add(
    contents: Contents, batch: BatchRow, chain: list[Settlement], failures: list[Failure]
) -> None:
    """What was hashed of a batch, when it was recorded and with each of its settlements."""
    name = f"batch {batch.number}"
    contents.add((batch.writer, batch.link), name, encoded(schema.batches, batch_columns(batch)))
    listed: dict[tuple[int, str], list[int]] = defaultdict(list)
    for failure in failures:
        listed[failure.attempts - 1, failure.reason].append(failure.message_index)
    for settlement in chain:
        attempt = settlement.key[2]
        row = encoded_settlement(
            settlement_columns(settlement),
            *(listed[attempt, reason] for reason in schema.REASONS),
        ) + encoded_receipts(settlement)
        place = settlement.writer, settlement.link
        contents.add(place, f"{name}, attempt {attempt + 1}", row)


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
                f"{where}: {of_messages(lost)} lost and {doubled} doubled since the attempt before"
            )
        took = batch.size if taken is None else taken.bit_count()
        if settlement.messages != took:
            result.problems.append(f"{where}: {of_messages(settlement.messages)}, but took {took}")
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
                f"{where}: {of_messages(settlement.messages)}, but {_fates(settlement)} ended and "
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
    if expected is None:
        return size - (size if taken is None else taken.bit_count()), 0
    if taken is None:
        return 0, size - expected.bit_count()
    return (expected & ~taken).bit_count(), (taken & ~expected).bit_count()


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
                f"batch {batch.number}: {of_messages(counted)} {reason}, but {len(listed)} listed"
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
    result.unsettled[
        _state(run, batch, chain, since < stuck_before(run.simulation, now), lost)
    ].append(batch.number)


def _state(run: Run, batch: BatchRow, chain: list[Settlement], is_stuck: bool, lost: bool) -> str:
    if not chain and batch.published_at is None:
        return "recorded, but not confirmed by the broker"
    if lost:
        return "lost with their broker ('resume' sends them again)"
    if is_stuck:
        return f"stuck for more than {run.simulation.stuck_after:g} s ('resume' sends them again)"
    return "in flight"


def _check_strays(result: AuditResult, kind: str, rows: _Grouped) -> None:
    result.problems += [
        f"{kind} of batch {number}, which is not recorded" for number in rows.rest()
    ]
