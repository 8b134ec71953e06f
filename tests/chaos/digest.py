"""The short form of docs/faults.md, made from that page alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.chaos.cases import CASES
from tests.chaos.faults import Fault
from tests.chaos.scenario import ROOT

PAGE = ROOT / "docs" / "faults.md"
FRONT_PAGE = ROOT / "docs" / "guarantees.md"
BEGIN, END = "<!-- faults -->\n", "<!-- end of faults -->"

GROUPS: dict[str, tuple[Fault, ...]] = {
    "workers killed, frozen, stopped, joining and leaving, using another ledger": (
        Fault.WORKER_KILL,
        Fault.PROFILE_KILL,
        Fault.WORKER_FREEZE,
        Fault.WORKER_TERM,
        Fault.WORKER_CHURN,
        Fault.FOREIGN_LEDGER,
    ),
    "the senders of a profile stop for a while": (Fault.OUTAGE,),
    "a worker killed after sending, after committing, after publishing a retry": (
        Fault.KILL_AFTER_PLAY,
        Fault.KILL_AFTER_COMMIT,
        Fault.KILL_AFTER_RETRY,
    ),
    "producer or monitor killed, two `resume` at the same time": (
        Fault.PRODUCER_KILL_BEFORE_PUBLISH,
        Fault.PRODUCER_KILL_AFTER_PUBLISH,
        Fault.TWO_RESUMES,
        Fault.MONITOR_KILL,
    ),
    "broker killed, frozen, out of memory, closing its connections": (
        Fault.BROKER_KILL,
        Fault.BROKER_KILL_EARLY,
        Fault.BROKER_FREEZE,
        Fault.RETRIES_STUCK,
        Fault.MEMORY_ALARM,
        Fault.CONNECTIONS_CLOSED,
    ),
    "batches delivered twice, to two workers at once, late, too often; leftovers; garbage": (
        Fault.EVERYTHING_TWICE,
        Fault.SAME_BATCH_AT_ONCE,
        Fault.STALE_ATTEMPT,
        Fault.LEFTOVER_BATCH,
        Fault.DELIVERY_LIMIT,
        Fault.GARBAGE,
    ),
    "database killed, cut off, read-only, locked, out of disk space; a clock wrong or stepped": (
        Fault.POSTGRES_KILL,
        Fault.DATABASE_LINK_CUT,
        Fault.READ_ONLY_DATABASE,
        Fault.SQLITE_LOCK,
        Fault.DISK_FULL,
        Fault.WRONG_CLOCK,
        Fault.STEPPED_CLOCK,
    ),
    "the run paused, cancelled": (Fault.PAUSE, Fault.CANCEL),
    "the only process killed, with the broker inside it": (Fault.EMBEDDED_KILL,),
    "nothing": (Fault.CALM,),
}


class Row(NamedTuple):
    """A case as the page shows it."""

    case: str
    runs: int
    messages: int
    lost: int
    doubled: int
    sent_twice: int
    recovery: float | None


def short_table(page: str) -> str:
    """The page's table, summed by group of faults."""
    by_fault = {case.name: case.fault for case in CASES}
    rows = [row for row in _rows(page) if row.case in by_fault]
    lines = [
        "| what broke | runs | messages | lost | doubled | sent twice | longest recovery |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for name, faults in GROUPS.items():
        lines.append(_line(name, [row for row in rows if by_fault[row.case] in faults]))
    return "".join(f"{line}\n" for line in lines)


def renew(text: str, page: str) -> str:
    """`text` with the table between its markers made again."""
    before, found, rest = text.partition(BEGIN)
    assert found, "there is no place for the table of faults"
    return before + BEGIN + short_table(page) + END + rest.partition(END)[2]


def _rows(page: str) -> Iterator[Row]:
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 10 and cells[2].isdigit():
            runs, _, *counts = (int(cell.replace(",", "")) for cell in cells[2:8])
            recovery = None if cells[9] == "-" else float(cells[9].removesuffix(" s"))
            yield Row(cells[0], runs, *counts, recovery)


def _line(name: str, rows: Iterable[Row]) -> str:
    rows = list(rows)
    sums = (sum(row[column] for row in rows) for column in range(1, len(Row._fields) - 1))
    recoveries = [row.recovery for row in rows if row.recovery is not None]
    longest = f"{max(recoveries):.1f} s" if recoveries else "-"
    return f"| {name} | " + " | ".join(f"{total:,}" for total in sums) + f" | {longest} |"
