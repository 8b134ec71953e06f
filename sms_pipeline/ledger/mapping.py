"""From records to rows of tables, and back; sums of them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sms_pipeline.core.errors import DamagedLedgerError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import (
    SUMMED,
    Absorbed,
    BatchRow,
    Control,
    Failure,
    Run,
    Settled,
    Settlement,
    Steering,
    Step,
    Unsettled,
    WorkerRow,
)
from sms_pipeline.core.simulation import parse_simulation

T = TypeVar("T")

#: Columns that may hold nothing.
_OPTIONAL = {"published_at", "taken", "remainder", "left_at", "max_time", "boot"}


def fields(row: Any, names: Iterable[str]) -> dict[str, Any]:
    """Columns of a row by name.

    Raises:
        DamagedLedgerError: one that must be there is not.
    """
    found = {name: getattr(row, name) for name in names}
    for name, value in found.items():
        if name not in _OPTIONAL:
            known(value, name)
    return found


def known(value: T | None, name: str) -> T:
    """A value that must be there.

    Raises:
        DamagedLedgerError: it is not.
    """
    if value is None:
        raise DamagedLedgerError(f"the ledger has a row that can't be read: no {name}")
    return value


def to_run(row: Any) -> Run:
    """A run.

    Raises:
        DamagedLedgerError: its row can't be read.
    """
    found = fields(row, Run.__slots__)
    try:
        simulation = parse_simulation(found["simulation"])
    except ValueError:
        raise DamagedLedgerError(
            f"run {found['id']} can't be read: its configuration is none of sms-pipeline"
        ) from None
    return Run(**{**found, "simulation": simulation, "control": Control(found["control"])})


def to_step(row: Any) -> Step:
    found = fields(row, Step._fields)
    return Step(**{**found, "what": Steering(found["what"])})


def to_batch(row: Any) -> BatchRow:
    return BatchRow(**fields(row, BatchRow.__slots__))


def to_failure(row: Any) -> Failure:
    return Failure(**fields(row, Failure.__slots__))


def batch_columns(row: BatchRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in BatchRow.__slots__}


def dispatch_sums(rows: Iterable[BatchRow]) -> list[dict[str, Any]]:
    by_profile: dict[tuple[int, str], list[BatchRow]] = defaultdict(list)
    for row in rows:
        by_profile[row.run, row.profile].append(row)
    return [
        {
            "run": run,
            "profile": profile,
            "batches": len(group),
            "messages": sum(row.size for row in group),
            "last_at": max(row.queued_at for row in group),
        }
        for (run, profile), group in sorted(by_profile.items())
    ]


_SETTLEMENT_FIELDS = (
    "profile",
    "worker",
    "messages",
    *SUMMED,
    "settled_at",
    "taken",
    "remainder",
    "writer",
    "link",
)


def settlement_columns(settlement: Settlement) -> dict[str, Any]:
    run, batch, attempt = settlement.key
    values = {name: getattr(settlement, name) for name in _SETTLEMENT_FIELDS}
    return {"run": run, "batch": batch, "attempt": attempt, **values}


def to_settlement(row: Any) -> Settlement:
    key = fields(row, ("run", "batch", "attempt"))
    return Settlement(
        key=(key["run"], key["batch"], key["attempt"]), **fields(row, _SETTLEMENT_FIELDS)
    )


def counter_sums(settlements: Iterable[Settlement]) -> list[dict[str, Any]]:
    groups: dict[tuple[int, str, str], list[Settlement]] = defaultdict(list)
    for settlement in settlements:
        groups[settlement.key[0], settlement.profile, settlement.worker].append(settlement)
    return [
        {
            "run": run,
            "profile": profile,
            "worker": worker,
            "settlements": len(group),
            "first_attempts": sum(s.messages for s in group if s.key[2] == 0),
            "attempts": sum(s.messages for s in group),
            **{name: sum(getattr(s, name) for s in group) for name in SUMMED},
            "longest_delivery": max(s.longest_delivery for s in group),
            "last_settled_at": max(s.settled_at for s in group),
        }
        for (run, profile, worker), group in sorted(groups.items())
    ]


def delivery_time_sums(settlements: Iterable[Settlement]) -> list[dict[str, Any]]:
    sums: Counter[tuple[int, str, str, int]] = Counter()
    for settlement in settlements:
        for bucket, messages in settlement.delivery_times.items():
            sums[settlement.key[0], settlement.profile, settlement.worker, bucket] += messages
    return [
        {"run": run, "profile": profile, "worker": worker, "bucket": bucket, "messages": messages}
        for (run, profile, worker, bucket), messages in sorted(sums.items())
    ]


def hand_over_sums(settlements: Iterable[Settlement]) -> list[dict[str, Any]]:
    """Of most runs there are none."""
    sums: dict[tuple[int, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for settlement in settlements:
        for one in settlement.handed_over:
            found = sums[settlement.key[0], one.source, one.target, settlement.worker]
            found[0] += one.messages
            found[1] += one.untried
    names = ("run", "source", "target", "worker", "messages", "untried")
    return [dict(zip(names, (*key, *found), strict=True)) for key, found in sorted(sums.items())]


def failure_columns(settlement: Settlement) -> Iterator[dict[str, Any]]:
    _, batch, attempt = settlement.key
    reasons = {"failed": settlement.failed_indexes, "expired": settlement.expired_indexes}
    for reason, indexes in reasons.items():
        for index in indexes:
            yield {
                "run": settlement.key[0],
                "message_index": index,
                "batch": batch,
                "profile": settlement.profile,
                "reason": reason,
                "attempts": attempt + 1,
                "failed_at": settlement.settled_at,
            }


def absorbed_columns(
    worker: str, sums: Mapping[tuple[int, Absorbed], tuple[int, int]]
) -> list[dict[str, Any]]:
    return [
        {"run": run, "kind": kind, "worker": worker, "batches": batches, "messages": messages}
        for (run, kind), (batches, messages) in sums.items()
    ]


def worker_columns(worker: str, profile: SenderProfile, joined_at: float) -> dict[str, Any]:
    row = WorkerRow.playing(profile, worker, joined_at=joined_at, seen_at=joined_at)
    return {name: getattr(row, name) for name in WorkerRow.__slots__}


def to_worker(row: Any) -> WorkerRow:
    return WorkerRow(**fields(row, WorkerRow.__slots__))


def to_unsettled(row: Any) -> Unsettled:
    return Unsettled(to_batch(row), 0 if row.attempt is None else row.attempt + 1, row.remainder)


def answer_from(attempt: int, found: Sequence[tuple[int, bytes | None]]) -> Settled | None:
    """From the settled attempts of a batch, `attempt` and newer, in order."""
    if not found:
        return None
    superseded = found[-1][0] > attempt
    return Settled(None if superseded else found[0][1], new=False)


#: Sums that are whole numbers.
_WHOLE = {
    "first_attempts",
    "attempts",
    "delivered",
    "failed",
    "expired",
    "cancelled",
    "retried",
}


def plain_numbers(mapping: Any) -> dict[str, Any]:
    """PostgreSQL sums big integers as decimals; readers want plain numbers."""
    if mapping is None:
        return {}
    return {
        name: int(value or 0) if name in _WHOLE else float(value or 0)
        for name, value in mapping.items()
        if name != "profile"
    }
