"""What the ledger holds, as lists: runs, senders, failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock, clock_of
from sms_pipeline.core.counts import how_many, of_attempts, of_messages
from sms_pipeline.core.errors import DamagedLedgerError
from sms_pipeline.core.hosts import host_of
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Failure, Run, WorkerRow
from sms_pipeline.core.run_list import RunTotals, Unreadable
from sms_pipeline.core.run_state import RunState, state_of
from sms_pipeline.ledger.following import OnlineWorker, online_workers
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.format import (
    NOTHING,
    count,
    csv_line,
    duration,
    exact_percent,
    exact_seconds,
    iso,
)
from sms_pipeline.views.outcome import AUDITED_RUNS, Outcomes
from sms_pipeline.views.output import new_table, say, write, write_all, write_fitting
from sms_pipeline.views.reader import Reader
from sms_pipeline.views.run_table import ListedRun, listed_json, run_table
from sms_pipeline.views.states import cure, cure_of, unattended

#: How many runs to read from the ledger at a time.
PAGE_RUNS = 500


def list_runs(ledger: Ledger, clock: Clock = MACHINE_CLOCK, as_json: bool = False) -> None:
    """Print all runs, oldest first, and what gets those going that stand still.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
        DamagedLedgerError: some can't be read; the others are printed before.
    """
    found, unreadable = _all_runs(ledger)
    online = _survey(ledger, found, clock)
    states = [_state(totals, clock, online is not None and not online) for totals in found]
    outcomes = Outcomes(ledger, clock)
    listed = [
        ListedRun(totals, outcomes.listed(totals, state, place < AUDITED_RUNS), _now(totals, clock))
        for place, (totals, state) in enumerate(zip(found, states, strict=True))
    ]
    if as_json:
        for one in reversed(listed):
            write(json.dumps(listed_json(one)))
    else:
        cures = _cures(ledger, zip(found, states, strict=True), online or ())
        write_fitting(lambda width: run_table(listed[::-1], width), *cures)
    if unreadable:
        rest = len(unreadable) - 1
        more = f" (and {how_many(rest, 'run')} more)" if rest else ""
        raise DamagedLedgerError(f"run {unreadable[0].run}: {unreadable[0].reason}{more}")


def _state(totals: RunTotals, clock: Clock, nobody_online: bool) -> RunState:
    return state_of(totals, _now(totals, clock), nobody_online)


def _now(totals: RunTotals, clock: Clock) -> float:
    return clock_of(totals.run, clock).wall()


def _survey(
    ledger: Ledger, found: Iterable[RunTotals], clock: Clock
) -> tuple[WorkerRow, ...] | None:
    """Who is online; None where that makes no difference, since finding out takes a while."""
    unclear = (RunState.RUNNING, RunState.STALLED, RunState.CANCELLED)
    for totals in found:
        state = _state(totals, clock, nobody_online=False)
        if state is RunState.STALLED or (totals.embedded and state in unclear):
            try:
                return tuple(worker.row for worker in online_workers(ledger, clock))
            except DamagedLedgerError:
                return None
    return None


def _cures(
    ledger: Ledger, found: Iterable[tuple[RunTotals, RunState]], online: tuple[WorkerRow, ...]
) -> Iterator[str]:
    for totals, state in found:
        run = totals.run
        if run.simulation.is_measurement:
            # Nobody goes on with a measurement.
            continue
        stalled = state is RunState.STALLED
        waiting = unattended(ledger.snapshot(run), online) if stalled else ()
        cure = cure_of(run.id, state, waiting, totals.control)
        if cure:
            yield f"Run {run.id} is {cure}"


def _all_runs(ledger: Ledger) -> tuple[list[RunTotals], list[Unreadable]]:
    """All runs, newest first, read page by page, and those that can't be read."""
    found, unreadable, before = list[RunTotals](), list[Unreadable](), None
    while (page := ledger.page(PAGE_RUNS, before)).oldest is not None:
        found += page.runs
        unreadable += page.unreadable
        before = page.oldest
    return found, unreadable


def list_senders(ledger: Ledger, clock: Clock = MACHINE_CLOCK, as_json: bool = False) -> None:
    """Print the workers that are online.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    online = online_workers(ledger, clock)
    if as_json:
        for worker in online:
            write(json.dumps(_worker_json(worker)))
        return
    if not online:
        write("No sender is online.")
        return
    table = new_table(*_WORKER_HEADINGS)
    for worker in online:
        table.add_row(*_worker_cells(worker))
    write_all(table)


_WORKER_HEADINGS = (
    *("worker", "host", "profile", "senders"),
    *("mean time", "failure rate", "last seen"),
)


def _worker_cells(worker: OnlineWorker) -> list[str]:
    row = worker.row
    return [
        row.id,
        host_of(row.id) or NOTHING,
        row.profile,
        count(row.senders),
        exact_seconds(row.mean_time),
        exact_percent(row.failure_rate),
        f"{duration(worker.seen_seconds_ago)} ago",
    ]


def _worker_json(worker: OnlineWorker) -> dict[str, object]:
    row = worker.row
    return {
        "worker": row.id,
        "host": host_of(row.id) or None,
        "profile": row.profile,
        "senders": row.senders,
        "mean_time": row.mean_time,
        "failure_rate": row.failure_rate,
        "seen_seconds_ago": round(worker.seen_seconds_ago, 3),
    }


def list_failures(
    ledger: Ledger,
    run: Run,
    as_csv: bool,
    number_of: Callable[[int], str] | None = None,
    as_json: bool = False,
) -> None:
    """Print one line for each message that was not reached.

    What the list leaves out is told below it; on stderr where programs read the list.

    `number_of`: the number of a message; it is asked in ascending order. None: as the ledger knows.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    if as_csv:
        write(csv_line(_HEADINGS), newline=False)
    listed, number = 0, number_of or partial(recipient, run)
    for failure in ledger.failures(run.id):
        listed += 1
        if as_csv:
            write(csv_line(_cells(failure, number)), newline=False)
        elif as_json:
            named = zip(_HEADINGS, _cells(failure, number), strict=True)
            write(json.dumps({"run": run.id, **dict(named)}))
        else:
            write(_line(failure, number))
    progress = Reader(ledger, run).read_decided().progress
    for_programs = as_csv or as_json
    if not for_programs or progress.counts.cancelled or not progress.done:
        tell = say if for_programs else write
        for line in _sum(progress, listed):
            tell(line)


#: Instead of a number that the ledger never had.
NOT_KEPT = "not kept"

_HEADINGS = ("message", "to", "profile", "reason", "attempts", "failed_at")


def _cells(failure: Failure, number_of: Callable[[int], str]) -> tuple[object, ...]:
    return (
        failure.message_index,
        number_of(failure.message_index),
        failure.profile,
        failure.reason,
        failure.attempts,
        iso(failure.failed_at),
    )


def _line(failure: Failure, number_of: Callable[[int], str]) -> str:
    index, to, profile, reason, _, at = _cells(failure, number_of)
    attempts = of_attempts(failure.attempts)
    return f"message {index}  {to}  {profile}  {reason} after {attempts}  {at}"


def _sum(progress: Progress, listed: int) -> Iterator[str]:
    cancelled = progress.counts.cancelled
    more = how_many(cancelled, "more was", "more were")
    also = f" {more} cancelled." if cancelled else ""
    yield f"Run {progress.run}: {of_messages(listed)} not reached.{also}"
    if not progress.done:
        left = progress.total - progress.counts.finished
        yield f"{of_messages(left)} without a fate yet. {_how_it_stands(progress)}"


def _how_it_stands(progress: Progress) -> str:
    return f"The run is {cure(progress) or progress.state}."


def recipient(run: Run, index: int) -> str:
    """The phone number of a message, where that follows from the seed."""
    if run.simulation.messages_from not in ("seed", "measure"):
        return NOT_KEPT
    return run.simulation.columns(run.seed, index, 1).to
