"""What a producer does next: the protocol.

It asks for effects and is told what came of them (`core.steps`). An effect that can fail for a
while is answered when it has succeeded: a producer is patient.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sms_pipeline.core import routing
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.bitmap import unpack_offsets
from sms_pipeline.core.clock import Clock, Timeline
from sms_pipeline.core.counts import how_many
from sms_pipeline.core.dispatch_rate import Allowance
from sms_pipeline.core.events import spells_of
from sms_pipeline.core.messages import Columns
from sms_pipeline.core.records import BatchRow, Control, Run, Snapshot, Unsettled
from sms_pipeline.core.routing import Load
from sms_pipeline.core.run_state import stuck_before
from sms_pipeline.producer.load import Loads, Lost

#: How often the backlog is read while there is no room for another batch.
POLL_SECONDS = 0.1
#: Most batches, and messages, recorded in one transaction: what a crash can leave unpublished.
MAX_GROUP = 100
MAX_GROUP_MESSAGES = 200_000
#: How often old batches are looked for: that query reads rows, not counters.
STUCK_PERIOD_SECONDS = 5.0
#: For how long what is said of lost workers stays as it is: their silence grows all the time.
SILENCE_STEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ReadSnapshot:
    """The run's counters: `Snapshot`."""


@dataclass(frozen=True, slots=True)
class ReadStuck:
    """Messages by profile in batches queued before then that are not settled."""

    queued_before: float


@dataclass(frozen=True, slots=True)
class ReadRun:
    """The run's record, with where its dispatch stands: `Run`."""


@dataclass(frozen=True, slots=True)
class ReadOrigin:
    """When the run's first batch was dispatched, seconds since the epoch; None before that."""


@dataclass(frozen=True, slots=True)
class RecordBatches:
    """Record batches before they are published; False if another producer was faster."""

    rows: Sequence[BatchRow]


@dataclass(frozen=True, slots=True)
class PublishFirst:
    """Make and publish the first attempts of batches: when each was confirmed, seconds since the
    epoch, as (number, moment)."""

    rows: Sequence[BatchRow]
    #: When the run's first batch was dispatched, where the events of a bad day count from it.
    origin: float | None = None


@dataclass(frozen=True, slots=True)
class PublishAgain:
    """Publish the next attempt of a batch that is not settled; answered as `PublishFirst`."""

    entry: Unsettled
    #: As in `PublishFirst`.
    origin: float | None = None


@dataclass(frozen=True, slots=True)
class MarkPublished:
    """Record when the broker confirmed batches, as (number, moment)."""

    published: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for a while."""

    seconds: float
    #: Until then nothing but a user can give it anything to do; seconds, may be less.
    closed_for: float = 0.0


@dataclass(frozen=True, slots=True)
class Say:
    """What the producer waits for; None once it waits for nothing."""

    status: str | None


Effect = (
    ReadSnapshot
    | ReadStuck
    | ReadRun
    | ReadOrigin
    | RecordBatches
    | PublishFirst
    | PublishAgain
    | MarkPublished
    | Wait
    | Say
)
#: Return how many batches were published again, where that is asked for.
Steps = Generator[Effect, Any, None]
CountingSteps = Generator[Effect, Any, int]


class DispatchBooks(Protocol):
    """What a producer asks of a ledger. `ledger.store.Ledger` is one."""

    def snapshot(self, run: Run) -> Snapshot:
        """See `Ledger.snapshot`."""

    def stuck(self, run_id: int, queued_before: float) -> Mapping[str, int]:
        """See `Ledger.stuck`."""

    def run(self, run_id: int) -> Run:
        """See `Ledger.run`."""

    def origin(self, run_id: int) -> float | None:
        """See `Ledger.origin`."""

    def record_batches(self, run_id: int, rows: Sequence[BatchRow]) -> bool:
        """See `Ledger.record_batches`."""

    def mark_published(self, run_id: int, published: Sequence[tuple[int, float]]) -> None:
        """See `Ledger.mark_published`."""


def answered_by(books: DispatchBooks, run: Run, effect: Effect) -> Any:
    """The answer to an effect that is the ledger's to perform."""
    match effect:
        case ReadSnapshot():
            return books.snapshot(run)
        case ReadStuck(queued_before):
            return books.stuck(run.id, queued_before)
        case ReadRun():
            return books.run(run.id)
        case ReadOrigin():
            return books.origin(run.id)
        case RecordBatches(rows):
            return books.record_batches(run.id, rows)
        case MarkPublished(published):
            return books.mark_published(run.id, published)
    raise TypeError(f"not an effect that a ledger performs: {type(effect).__name__}")


class Dispatching:
    """The dispatch of one run, from wherever it stands."""

    def __init__(self, run: Run, loads: Loads, clock: Clock) -> None:
        self._run = run
        self._loads = loads
        self._clock = clock
        self._stuck_read_at = clock.monotonic()
        self._told_of_lost: tuple[object, str | None] = ((), None)
        self._origin: float | None = None
        self._allowance = Allowance(run.simulation.rate, clock.monotonic())
        #: Where it stands: the next message, and the number of the next batch.
        self.next_index = run.next_index
        self.next_batch = run.next_batch

    def dispatch(self) -> Steps:
        """Dispatch what is left of the run. Ends when the broker has confirmed the last batch.

        Ends early when the run is cancelled, or when another producer has dispatched the rest.
        """
        while self.next_index < self._run.total:
            snapshot: Snapshot = yield ReadSnapshot()
            if snapshot.control is Control.CANCELLED:
                break
            if snapshot.dispatched >= self._run.total:
                # Of a paused run nobody would ever be told so by a refused record.
                self.next_index = self._run.total
                break
            if snapshot.control is Control.PAUSED or self._opens_in():
                self._loads.rest()
                rows = []
            else:
                rows = yield from self._plan(snapshot)
            yield Say(self._waits_for(snapshot))
            if rows:
                yield from self._send(rows)
            else:
                yield Wait(POLL_SECONDS, self._closed_for())
        yield Say(None)

    def dispatch_again(self, unsettled: Iterable[Unsettled]) -> CountingSteps:
        """Publish what is recorded but not settled; return how many batches that were.

        Safe at any time: what is still under way after all is counted only once.
        """
        yield from self._find_origin()
        batches = 0
        for entry in unsettled:
            published = yield PublishAgain(entry, self._origin)
            yield MarkPublished(published)
            batches += 1
        return batches

    def _closed_for(self) -> float:
        return max(self._allowance.closed_for(self._clock.monotonic()), self._opens_in())

    def _opens_in(self) -> float:
        window = self._run.simulation.window
        return window.opens_in(self._clock.wall()) if window else 0.0

    def _find_origin(self) -> Steps:
        """Only the events of a bad day count from it."""
        if self._run.simulation.events and self._origin is None:
            self._origin = yield ReadOrigin()

    def _plan(self, snapshot: Snapshot) -> Generator[Effect, Any, list[BatchRow]]:
        yield from self._look_for_stuck()
        loads = self._loads.read(snapshot, self._clock.monotonic())
        return self._rows(loads, self._clock.wall())

    def _look_for_stuck(self) -> Steps:
        now = self._clock.monotonic()
        if self._run.simulation.routing == "adaptive" and (
            now - self._stuck_read_at >= STUCK_PERIOD_SECONDS
        ):
            self._stuck_read_at = now
            before = stuck_before(self._run.simulation, self._clock.wall())
            self._loads.stuck = yield ReadStuck(before)

    def _rows(self, loads: list[Load], queued_at: float) -> list[BatchRow]:
        """The next batches, as many as have room, within the limits of a group."""
        adaptive = self._run.simulation.routing == "adaptive"
        choose = routing.choose_with_room if adaptive else routing.choose
        index, rows = self.next_index, list[BatchRow]()
        end = min(self._run.total, index + MAX_GROUP_MESSAGES)
        now = self._clock.monotonic()
        while index < end and len(rows) < MAX_GROUP and not self._allowance.closed_for(now):
            chosen = choose(loads)
            if chosen is None:
                break
            size = min(chosen.batch_size, self._run.total - index)
            number = self.next_batch + len(rows)
            rows.append(BatchRow(self._run.id, number, chosen.profile, index, size, queued_at))
            index += size
            self._allowance.take(size, now)
            grown = replace(chosen, outstanding=chosen.outstanding + size)
            loads = [grown if load is chosen else load for load in loads]
        return rows

    def _send(self, rows: list[BatchRow]) -> Steps:
        """Record the batches, publish them, record that they were: a crash between is seen."""
        recorded: bool = yield RecordBatches(rows)
        if not recorded:
            # Another producer, or `cancel`, took the batches that were planned here.
            run: Run = yield ReadRun()
            self.next_index, self.next_batch = run.next_index, run.next_batch
            return
        self.next_index = rows[-1].first_index + rows[-1].size
        self.next_batch = rows[-1].number + 1
        yield from self._find_origin()
        published = yield PublishFirst(rows, self._origin)
        yield MarkPublished(published)

    def _waits_for(self, snapshot: Snapshot) -> str | None:
        if snapshot.control is Control.PAUSED:
            return (
                f"run {self._run.id} is paused; continue with: sms-pipeline continue {self._run.id}"
            )
        window = self._run.simulation.window
        if window and self._opens_in():
            return f"run {self._run.id} waits for its hours: {window.opening}"
        lost = self._lost()
        if self._loads.anyone_online:
            return lost
        if lost:
            return f"no sender online; {lost}"
        return "no sender online yet; start workers: celery -A sms_pipeline worker --profile …"

    def _lost(self) -> str | None:
        lost = self._loads.lost
        known = [(one.worker, one.profile, one.silent // SILENCE_STEP_SECONDS) for one in lost]
        if known != self._told_of_lost[0]:
            self._told_of_lost = known, describe_lost(lost)
        return self._told_of_lost[1]


def describe_lost(lost: Sequence[Lost]) -> str | None:
    """What lost workers hold up, in words; the one that was seen last comes first."""
    if not lost:
        return None
    messages, last = sum(one.messages for one in lost), lost[0]
    workers = len({one.worker for one in lost})
    others = "" if workers == 1 else f" and {workers - 1} more"
    held = how_many(messages, "message is", "messages are")
    return f"up to {held} with worker {last.worker}{others}, last seen {last.silent:.0f} s ago"


def first_attempt(
    ledger: str,
    run: Run,
    row: BatchRow,
    timeline: Timeline | None = None,
    origin: float | None = None,
) -> Batch:
    """The first attempt of a recorded batch; its messages follow from the run's seed."""
    columns = run.simulation.columns(run.seed, row.first_index, row.size)
    return with_columns(ledger, run, row, columns, timeline, origin)


def with_columns(
    ledger: str,
    run: Run,
    row: BatchRow,
    columns: Columns,
    timeline: Timeline | None = None,
    origin: float | None = None,
) -> Batch:
    """The first attempt of a recorded batch with these messages.

    `origin` is when the run's first batch was dispatched; None: nothing goes wrong.
    """
    simulation = run.simulation
    events = () if origin is None else spells_of(simulation.events, origin)
    boot, offset = timeline or (None, 0.0)
    # Made here, so it need not be checked; the worker checks what it receives.
    return Batch.model_construct(
        ledger=ledger,
        run=run.id,
        number=row.number,
        first_index=row.first_index,
        size=row.size,
        profile=row.profile,
        attempt=0,
        started_at=run.started_at,
        queued_at=row.queued_at,
        boot=boot,
        offset=offset,
        seed=run.seed,
        retry=simulation.retry,
        failover=simulation.failover,
        deadline=simulation.deadline,
        urgent=simulation.urgent,
        window=simulation.window,
        events=events,
        to=columns.to,
        text=columns.text,
    )


def next_attempt(first: Batch, entry: Unsettled) -> Batch:
    """The attempt that a batch that is not settled comes to next, from its first one."""
    if entry.remainder is None:
        return first
    return first.at_attempt(entry.attempt, unpack_offsets(entry.remainder, first.size))
