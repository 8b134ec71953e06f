"""A run's course over time, from the ledger: what was dispatched, attempted and ended when."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, cast, func, select

from sms_pipeline.core.checks import messages_for
from sms_pipeline.core.records import Run
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.mapping import known
from sms_pipeline.ledger.store import Ledger

#: Shares of all messages; for each it is said when so many had been delivered.
SHARES = (0.5, 0.9, 0.99)
#: As many bins as a chart can show.
BINS = 240
#: A transaction may become visible this much later than the times written in it. What comes even
#: later is noticed because the sums differ.
COMMIT_LAG_SECONDS = 10.0
#: Widths of bins that people can read: tenths of seconds to hours, then days.
_WIDTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600)
_DAY = 86_400


class Bin(NamedTuple):
    """How many messages were dispatched, attempted and ended in one stretch of time."""

    dispatched: int = 0
    #: Batches' attempts that ended, whatever became of their messages.
    settlements: int = 0
    attempts: int = 0
    delivered: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0

    def plus(self, other: Bin) -> Bin:
        """Both together."""
        return Bin(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run in bins of equal width: bin i begins `i * width` seconds after the run was started."""

    run: int
    total: int
    #: When the run was started, seconds since the epoch; None until something was dispatched.
    started_at: float | None = None
    #: From the start to the last dispatch or settlement.
    seconds: float = 0.0
    width: float = _WIDTHS[0]
    #: Without gaps; the last one may not be over yet.
    bins: tuple[Bin, ...] = ()
    #: By share of all messages: seconds from the start until so many were delivered, to
    #: the settlement; None while they are not.
    time_to_reach: dict[float, float | None] = field(default_factory=dict)
    #: From the start to the first dispatch, where the events of a bad day count from it.
    origin: float = 0.0

    @property
    def starts(self) -> list[float]:
        """Where each bin begins, seconds from the start."""
        return [number * self.width for number in range(len(self.bins))]

    @property
    def reached(self) -> list[float]:
        """Share of all messages, 0 to 1, that was delivered by the end of each bin."""
        return [done / self.total for done in accumulate(one.delivered for one in self.bins)]

    def rates(self, name: str) -> list[float]:
        """A second, in each bin; `name` is a field of `Bin`."""
        return [getattr(one, name) / self.width for one in self.bins]


def timeline(
    ledger: Ledger, run: Run, bins: int = BINS, shares: Iterable[float] = SHARES
) -> Timeline:
    """The run's course so far, in at most `bins` bins.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    return History(ledger, run, bins, shares).read()


class History:
    """A run's timeline, read again and again: after the first reading only what is new is read.

    Bins grow wider as the run grows longer, so that there are never more than `bins`.
    """

    def __init__(
        self, ledger: Ledger, run: Run, bins: int = BINS, shares: Iterable[float] = SHARES
    ) -> None:
        self._ledger = ledger
        self._run = run
        self._limit = bins
        self._shares = tuple(shares)
        self._restart(_WIDTHS[0])

    def read(self) -> Timeline:
        """The run's course so far, as one consistent reading.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        with self._ledger.reading() as connection:
            span = _read_span(connection, self._run)
            if span is None:
                return Timeline(self._run.id, self._run.total, time_to_reach=self._unreached())
            if span.seconds >= self._width * self._limit:
                self._restart(nice_width(span.seconds, self._limit))
            rows = _Rows(connection, self._run.id, span, self._width)
            self._read_dispatches(rows)
            self._read_settlements(rows, span)
            return self._timeline(rows, span)

    def _restart(self, width: float) -> None:
        self._width = width
        self._dispatched: dict[int, int] = {}
        self._next_batch = 0
        self._ended: dict[int, Bin] = {}

    def _unreached(self) -> dict[float, float | None]:
        return dict.fromkeys(self._shares)

    def _read_dispatches(self, rows: _Rows) -> None:
        # Batches are recorded in the order of their numbers: none comes later below this one.
        for number, messages, last_batch in rows.dispatches(self._next_batch):
            self._dispatched[number] = self._dispatched.get(number, 0) + messages
            self._next_batch = max(self._next_batch, last_batch + 1)

    def _read_settlements(self, rows: _Rows, span: _Span) -> None:
        first = self._first_open_bin(span.seconds)
        self._ended = {number: one for number, one in self._ended.items() if number < first}
        self._ended.update(rows.settlements(first))
        if first and sum(one.settlements for one in self._ended.values()) != span.settlements:
            # A worker that could not reach the ledger for a while settled something long past.
            self._ended = rows.settlements(0)

    def _first_open_bin(self, seconds: float) -> int:
        """The first one that may still change, by the newest times in the ledger."""
        if not self._ended:
            return 0
        return max(bin_number(seconds - COMMIT_LAG_SECONDS, self._width), 0)

    def _timeline(self, rows: _Rows, span: _Span) -> Timeline:
        last = max([0, *self._dispatched, *self._ended])
        bins = tuple(
            self._ended.get(number, Bin())._replace(dispatched=self._dispatched.get(number, 0))
            for number in range(last + 1)
        )
        reach = {
            share: _time_to_reach(rows, bins, share, self._run.total) for share in self._shares
        }
        return Timeline(
            self._run.id,
            self._run.total,
            span.started_at,
            span.seconds,
            self._width,
            bins,
            reach,
            self._origin(rows),
        )

    def _origin(self, rows: _Rows) -> float:
        if not self._run.simulation.events:
            return 0.0
        return max(rows.first_dispatch() - self._run.started_at, 0.0)


# Arithmetic


def nice_width(seconds: float, bins: int) -> float:
    """The smallest readable width at which `seconds` fit into `bins` bins."""
    for width in _WIDTHS:
        if seconds < width * bins:
            return width
    return float(_DAY * (math.floor(seconds / _DAY / bins) + 1))


def bin_number(seconds: float, width: float) -> int:
    """The number of the bin in which that moment lies."""
    return math.floor(seconds / width)


def bin_of_crossing(bins: Sequence[Bin], wanted: int) -> tuple[int, int] | None:
    """The bin in which the `wanted`-th message was delivered, and how many were before that bin."""
    before = 0
    for number, one in enumerate(bins):
        if before + one.delivered >= wanted:
            return number, before
        before += one.delivered
    return None


def moment_of_crossing(
    deliveries: Iterable[tuple[float, int]], before: int, wanted: int
) -> float | None:
    """When the sum of `deliveries`, (time, messages) each in order, comes to `wanted`."""
    reached = before
    for moment, delivered in deliveries:
        reached += delivered
        if reached >= wanted:
            return moment
    return None


def _time_to_reach(rows: _Rows, bins: Sequence[Bin], share: float, total: int) -> float | None:
    wanted = messages_for(share, total)
    crossing = bin_of_crossing(bins, wanted)
    if crossing is None:
        return None
    number, before = crossing
    moment = moment_of_crossing(rows.deliveries(number), before, wanted)
    return None if moment is None else max(moment - rows.started_at, 0.0)


# Statements


class _Span(NamedTuple):
    """How far the run has come."""

    started_at: float
    #: To the newest dispatch or settlement.
    seconds: float
    settlements: int


_SUMMED = ("messages", "delivered", "failed", "expired", "cancelled")


def _read_span(connection: Connection, run: Run) -> _Span | None:
    dispatch, counter, settled = schema.dispatched.c, schema.counters.c, schema.settlements.c
    run_id = run.id
    last = connection.execute(
        select(func.max(dispatch.last_at)).where(dispatch.run == run_id)
    ).scalar()
    if last is None:
        return None
    count = select(func.sum(counter.settlements)).where(counter.run == run_id)
    newest = select(func.max(settled.settled_at)).where(settled.run == run_id)
    settlements = connection.execute(count).scalar() or 0
    end = max(last, connection.execute(newest).scalar() or last)
    return _Span(run.started_at, max(end - run.started_at, 0.0), int(settlements))


class _Rows:
    """One run's rows, summed in bins by the database."""

    def __init__(self, connection: Connection, run_id: int, span: _Span, width: float):
        self._connection = connection
        self._run_id = run_id
        self.started_at = span.started_at
        self._width = width
        self._last = bin_number(span.seconds, width)

    def first_dispatch(self) -> float:
        """When the first batch was queued, seconds since the epoch."""
        batch = schema.batches.c
        query = select(batch.queued_at).where(batch.run == self._run_id, batch.number == 0)
        return float(self._connection.execute(query).scalar() or self.started_at)

    def dispatches(self, from_batch: int) -> list[tuple[int, int, int]]:
        """(bin, messages, last batch) of the batches from that number on.

        A moment that a damaged record has far in the future is in the last bin.
        """
        batch = schema.batches.c
        number = self._bin(batch.queued_at)
        query = (
            select(number, func.sum(batch.size), func.max(batch.number))
            .where(batch.run == self._run_id, batch.number >= from_batch)
            .group_by(number)
        )
        return [
            (min(max(known(row[0], "queued_at"), 0), self._last), int(row[1] or 0), row[2])
            for row in self._connection.execute(query)
        ]

    def settlements(self, from_bin: int) -> dict[int, Bin]:
        """Sums by bin, from that one on; what a wrong clock put before the run is in bin 0."""
        settled = schema.settlements.c
        number = self._bin(settled.settled_at)
        query = select(number, func.count(), *(func.sum(settled[name]) for name in _SUMMED))
        query = query.where(settled.run == self._run_id).group_by(number)
        if from_bin:
            query = query.where(settled.settled_at >= self._before(from_bin))
        found: dict[int, Bin] = {}
        for row in self._connection.execute(query):
            place = max(known(row[0], "settled_at"), 0)
            sums = (int(some or 0) for some in row[1:])
            found[place] = found.get(place, Bin()).plus(Bin(0, *sums))
        return {place: sums for place, sums in found.items() if place >= from_bin}

    def deliveries(self, number: int) -> Any:
        """(time, messages) of the settlements in a bin, in order."""
        settled = schema.settlements.c
        position = self._bin(settled.settled_at)
        query = (
            select(settled.settled_at, settled.delivered)
            .where(settled.run == self._run_id, settled.delivered > 0)
            .where(settled.settled_at < self._start(number + 2))
            .order_by(settled.settled_at)
        )
        if number:
            query = query.where(settled.settled_at >= self._before(number), position == number)
        else:
            query = query.where(position <= 0)
        return self._connection.execute(query)

    def _before(self, number: int) -> float:
        """A time safely before that bin. Only `_bin` tells where a bin's edge is, to the bit."""
        return self._start(number - 1)

    def _start(self, number: int) -> float:
        return self.started_at + number * self._width

    def _bin(self, moment: ColumnElement[float]) -> ColumnElement[int]:
        position = (moment - self.started_at) / self._width
        # A cast cuts the fraction off in SQLite, but rounds in PostgreSQL; not every SQLite has
        # `floor`.
        if self._connection.dialect.name != "sqlite":
            position = func.floor(position)
        return cast(position, BigInteger)
