"""What happened in a run, event by event, and to one message of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import how_many, of_messages
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.records import BatchRow, Run, Settlement, WorkerRow
from sms_pipeline.core.story import Outcome
from sms_pipeline.ledger.following import readings
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import COMMIT_LAG_SECONDS
from sms_pipeline.ledger.trace import attempts_at, dispatches_since, settlements_since
from sms_pipeline.views import format
from sms_pipeline.views.display import tell_outages
from sms_pipeline.views.lists import NOT_KEPT, recipient
from sms_pipeline.views.output import say, write

#: How often the ledger is read again.
POLL_SECONDS = 0.25


class Event(NamedTuple):
    """A line of the trace."""

    at: float
    text: str


def trace(ledger: Ledger, run: Run, follow: bool, clock: Clock = MACHINE_CLOCK) -> None:
    """Print the run's events in order; with `follow`, go on until the run is done.

    Raises:
        LedgerUnavailableError: the ledger can't be reached; with `follow` it is waited for.
    """
    events = _Events(ledger, run)
    away = tell_outages(say) if follow else None
    for done, fresh in readings(events.read, POLL_SECONDS, clock.sleep, away):
        for event in fresh:
            write(f"{format.clock(event.at)}  {event.text}")
        if done or not follow:
            return


def trace_message(ledger: Ledger, run: Run, index: int) -> None:
    """Print what became of one message: its dispatch and every attempt at it.

    Raises:
        ConfigError: the run has no such message.
        LedgerUnavailableError: the ledger can't be reached.
    """
    if not 0 <= index < run.total:
        raise ConfigError(
            f"run {run.id} has no message {index}; its messages are 0 to {run.total - 1}"
        )
    batch, attempts = attempts_at(ledger, run.id, index)
    if batch is None:
        write(f"Message {index} of run {run.id} is not dispatched yet.")
        return
    to = recipient(run, index)
    whom = "whose number is not kept" if to == NOT_KEPT else f"to {to}"
    write(f"Message {index} of run {run.id}, {whom}, in batch {batch.number}:")
    if batch.published_at is not None:
        write(f"{format.clock(batch.published_at)}  dispatched to {batch.profile}")
    for one in attempts:
        by = f"({one.profile}, {one.worker})"
        write(f"{format.clock(one.settled_at)}  attempt {one.number}: {one.outcome}  {by}")
    if not attempts or attempts[-1].outcome is Outcome.RETRIED:
        published = bool(attempts) or batch.published_at is not None
        where = "in flight" if published else "not published yet"
        write(f"It is {where}: attempt {len(attempts) + 1} is not settled.")


class _Events:
    """Reads the events of a run, each once."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self._ledger = ledger
        self._run = run
        self._newest = 0.0
        self._known: set[Event] = set()

    def read(self) -> tuple[bool, list[Event]]:
        """Return whether the run is done, and the events that are new."""
        snapshot = self._ledger.snapshot(self._run)
        recent = self._recent(snapshot.settled_at if snapshot.done else None)
        fresh = [event for event in recent if event not in self._known]
        self._newest = max([self._newest, *(event.at for event in fresh)])
        self._known = {event for event in self._known | set(fresh) if event.at > self._after}
        return snapshot.done, fresh

    @property
    def _after(self) -> float:
        return self._newest - COMMIT_LAG_SECONDS

    def _recent(self, ended_at: float | None) -> list[Event]:
        """Those after `_after`, in order; of workers none that came after the end of the run."""
        dispatched = dispatches_since(self._ledger, self._run.id, self._after)
        settled = settlements_since(self._ledger, self._run.id, self._after)
        moved = _worker_events(self._ledger.all_workers(), self._run)
        if ended_at is not None:
            moved = (event for event in moved if event.at <= ended_at)
        events = [
            *(_dispatch_event(row) for row in dispatched),
            *(event for row in settled for event in _settled_events(row)),
            *(event for event in moved if event.at > self._after),
        ]
        return sorted(events, key=lambda event: event.at)


def _dispatch_event(row: BatchRow) -> Event:
    last = row.first_index + row.size - 1
    return Event(
        row.published_at or row.queued_at,
        f"dispatched  batch {row.number}: messages {row.first_index}-{last} to {row.profile}",
    )


def _settled_events(settlement: Settlement) -> Iterator[Event]:
    _, batch, attempt = settlement.key
    yield Event(
        settlement.settled_at,
        f"settled     batch {batch}, attempt {attempt + 1}: {settlement.delivered} delivered, "
        f"{settlement.failed} failed  ({settlement.profile}, {settlement.worker})",
    )
    if settlement.retried:
        yield Event(
            settlement.settled_at,
            f"retry       batch {batch}: {of_messages(settlement.retried)} to attempt "
            f"{attempt + 2}",
        )


def _worker_events(workers: Iterable[WorkerRow], run: Run) -> Iterator[Event]:
    """Workers that joined or left during the run, and those that were there when it started."""
    for worker in workers:
        what = f"{how_many(worker.senders, 'sender')} of {worker.profile}  ({worker.id})"
        if worker.left_at is not None and worker.left_at < run.started_at:
            continue
        yield Event(worker.joined_at, f"joined      {what}")
        if worker.left_at is not None:
            yield Event(worker.left_at, f"left        {what}")
