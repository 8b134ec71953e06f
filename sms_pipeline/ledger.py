"""The ledger: what was dispatched, what was settled, counted exactly once."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Table, and_, bindparam, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sms_pipeline import tables
from sms_pipeline.config import SenderProfile, Simulation, parse_simulation
from sms_pipeline.errors import LedgerUnavailableError, UnknownRunError

#: (run, batch number, attempt)
Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Run:
    """One campaign and the configuration it was started with."""

    id: int
    created_at: float
    seed: int
    total: int
    simulation: Simulation


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A dispatched range of messages."""

    run: int
    number: int
    profile: str
    first_index: int
    size: int
    queued_at: float
    published_at: float | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one attempt of one batch came to."""

    key: Key
    profile: str
    worker: str
    messages: int
    delivered: int
    failed: int
    retried: int
    #: Sum of the durations at the senders of all messages of this attempt.
    send_seconds: float
    #: Sum, over the messages that became delivered or failed, of dispatch to that moment.
    delivery_seconds: float
    settled_at: float
    taken: bytes | None
    remainder: bytes | None
    delivery_times: dict[int, int] = field(default_factory=dict)
    failed_indexes: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What the ledger holds for an attempt: the caller acts on this, not on its own outcome."""

    remainder: bytes | None
    #: A newer attempt of the batch is settled too, so the remainder is in good hands.
    superseded: bool = False
    #: False when the ledger had the settlement before.
    new: bool = True


@dataclass(frozen=True, slots=True)
class ProfileCounts:
    """Sums over the workers of one profile in one run."""

    profile: str
    dispatched: int = 0
    first_attempts: int = 0
    attempts: int = 0
    delivered: int = 0
    failed: int = 0
    retried: int = 0
    send_seconds: float = 0.0
    delivery_seconds: float = 0.0
    delivery_times: dict[int, int] = field(default_factory=dict)

    @property
    def unsettled(self) -> int:
        """Messages dispatched whose first attempt is not settled."""
        return self.dispatched - self.first_attempts

    @property
    def retrying(self) -> int:
        """Messages that failed an attempt and whose next one is not settled."""
        return self.retried - (self.attempts - self.first_attempts)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker process and one profile it serves."""

    id: str
    profile: str
    senders: int
    mean_time: float
    failure_rate: float
    heartbeat: int
    joined_at: float
    left_at: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent reading of a run's counters."""

    run: int
    total: int
    profiles: tuple[ProfileCounts, ...]
    #: Worker processes that have not signed off; some of them may be dead.
    workers: tuple[WorkerRow, ...]
    #: Times of the first dispatch and of the last settlement; None before there is one.
    started_at: float | None
    settled_at: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that was not delivered."""

    message_index: int
    batch: int
    profile: str
    attempts: int
    failed_at: float


class Ledger:
    """Every SQL statement of the project, over SQLite or PostgreSQL.

    Every method may raise `LedgerUnavailableError` when the database can't be reached just now;
    the same call can then be made again, also when it is not known whether it took effect.
    """

    def __init__(self, engine: Engine) -> None:
        is_sqlite = engine.dialect.name == "sqlite"
        self._engine = engine
        self._writer = engine.execution_options(write=True)
        # The queries of one reading must see one state; SQLite's transactions always do.
        one_state = {} if is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = engine.execution_options(**one_state)
        self._insert = sqlite_insert if is_sqlite else postgres_insert
        with self._transaction() as connection:
            #: Carried by every batch, so that no worker judges batches of another ledger.
            self.id = tables.create_tables(connection)

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open the ledger at `url`; make its tables if they are not there.

        Raises:
            ConfigError: not a URL of a database that can hold a ledger.
            LedgerUnavailableError: it can't be reached, or is of another version.
        """
        return cls(tables.open_engine(url))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # Runs

    def start_run(self, simulation: Simulation, seed: int) -> Run:
        """Register a run with its frozen configuration."""
        created_at, total = time.time(), simulation.num_messages
        row = {
            "created_at": created_at,
            "seed": seed,
            "total": total,
            "simulation": simulation.model_dump_json(),
        }
        with self._transaction() as connection:
            result = connection.execute(tables.runs.insert().returning(tables.runs.c.id), row)
            run_id = result.scalar_one()
        return Run(run_id, created_at, seed, total, simulation)

    def run(self, run_id: int | None = None) -> Run:
        """The run with this id, or the latest.

        Raises:
            UnknownRunError: there is none.
        """
        query = select(tables.runs).order_by(tables.runs.c.id.desc()).limit(1)
        if run_id is not None:
            query = query.where(tables.runs.c.id == run_id)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownRunError(
                "the ledger has no run yet; start one with 'sms-pipeline run' or 'produce'"
                if run_id is None
                else f"the ledger has no run {run_id}; 'sms-pipeline runs' lists those it has"
            )
        return _run(row)

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(select(tables.runs).order_by(tables.runs.c.id))
            return [_run(row) for row in rows]

    # Dispatch

    def record_batches(self, rows: Sequence[BatchRow]) -> None:
        """Write batch rows, before they are published; those already there stay as they are."""
        with self._transaction() as connection:
            new = self._insert_new(connection, tables.batches, [_columns(row) for row in rows])
            numbers = {(run, number) for run, number, *_ in new}
            added = [row for row in rows if (row.run, row.number) in numbers]
            self._add(connection, tables.dispatched, _dispatch_sums(added), ("last_at",))

    def mark_published(self, run_id: int, published: Sequence[tuple[int, float]]) -> None:
        """Record when the broker confirmed batches: (number, time) each."""
        statement = (
            update(tables.batches)
            .where(tables.batches.c.run == run_id, tables.batches.c.number == bindparam("batch"))
            .values(published_at=bindparam("at"))
        )
        rows = [{"batch": number, "at": at} for number, at in published]
        if rows:
            with self._transaction() as connection:
                connection.execute(statement, rows)

    def stuck(self, run_id: int, queued_before: float) -> dict[str, int]:
        """Messages by profile in batches queued before then whose first attempt is not settled."""
        batch, settled = tables.batches.c, tables.settlements.c
        is_settled = exists().where(
            and_(settled.run == batch.run, settled.batch == batch.number, settled.attempt == 0)
        )
        query = (
            select(batch.profile, func.sum(batch.size))
            .where(batch.run == run_id, batch.queued_at < queued_before, ~is_settled)
            .group_by(batch.profile)
        )
        with self._reading() as connection:
            return {profile: int(size) for profile, size in connection.execute(query)}

    # Settlement

    def find(self, key: Key) -> Settled | None:
        """What is settled for this attempt; None if nothing is.

        A newer settled attempt of the same batch counts, too: then nothing is left to do.
        """
        with self._reading() as connection:
            return _find(connection, key)

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        """Record a group of settlements in one transaction; count those that were new.

        Keys must differ within the group. The answers are in the order of `group`.
        """
        ordered = sorted(group, key=lambda settlement: settlement.key)
        with self._transaction() as connection:
            rows = [_settlement_row(settlement) for settlement in ordered]
            inserted = self._insert_new(connection, tables.settlements, rows)
            new_keys = {tuple(row[:3]) for row in inserted}
            self._count(connection, [s for s in ordered if s.key in new_keys])
            return [self._answer(connection, s, s.key in new_keys) for s in group]

    def _answer(self, connection: Connection, settlement: Settlement, new: bool) -> Settled:
        if new:
            return Settled(settlement.remainder)
        stored = _find(connection, settlement.key)
        if stored is None:
            raise LedgerUnavailableError("a settlement vanished while it was read")
        return stored

    def _count(self, connection: Connection, settlements: Sequence[Settlement]) -> None:
        self._add(connection, tables.counters, _counter_sums(settlements), ("last_settled_at",))
        self._add(connection, tables.delivery_times, _delivery_time_sums(settlements))
        rows = [row for settlement in settlements for row in _failure_rows(settlement)]
        if rows:
            connection.execute(tables.failures.insert(), rows)

    # Workers

    def join(self, worker: str, profiles: Iterable[SenderProfile]) -> None:
        """Register a worker process with the profiles it serves."""
        rows = [
            {
                "id": worker,
                "profile": profile.name,
                "senders": profile.count,
                "mean_time": profile.mean_time,
                "failure_rate": profile.failure_rate,
                "heartbeat": 0,
                "joined_at": time.time(),
                "left_at": None,
            }
            for profile in profiles
        ]
        with self._transaction() as connection:
            self._insert_new(connection, tables.workers, rows)

    def beat(self, worker: str, heartbeat: int) -> None:
        """Show that the worker's driver thread is alive."""
        self._update_worker(worker, heartbeat=heartbeat)

    def leave(self, worker: str) -> None:
        """Sign a worker process off."""
        self._update_worker(worker, left_at=time.time())

    def _update_worker(self, worker: str, **values: Any) -> None:
        with self._transaction() as connection:
            connection.execute(
                update(tables.workers).where(tables.workers.c.id == worker).values(**values)
            )

    def workers(self) -> tuple[WorkerRow, ...]:
        """Worker processes that have not signed off."""
        with self._reading() as connection:
            return _workers(connection)

    # Reading

    def snapshot(self, run: Run) -> Snapshot:
        """The run's counters, in one consistent reading."""
        with self._reading() as connection:
            profiles = _profile_counts(connection, run)
            started = _scalar(connection, func.min(tables.dispatched.c.first_at), run.id)
            settled = _scalar(connection, func.max(tables.counters.c.last_settled_at), run.id)
            workers = _workers(connection)
        return Snapshot(run.id, run.total, profiles, workers, started, settled)

    def failures(self, run_id: int) -> Iterator[Failure]:
        """The messages that are out of attempts, by index; read as it goes, however many."""
        table = tables.failures
        query = select(table).where(table.c.run == run_id).order_by(table.c.message_index)
        with self._reading() as connection:
            for row in connection.execution_options(yield_per=1_000).execute(query):
                yield Failure(
                    row.message_index, row.batch, row.profile, row.attempts, row.failed_at
                )

    def dispatches_since(self, run_id: int, after: float) -> list[BatchRow]:
        """Batches published after that time, in order."""
        batch = tables.batches.c
        query = (
            select(tables.batches)
            .where(batch.run == run_id, batch.published_at > after)
            .order_by(batch.published_at, batch.number)
        )
        with self._reading() as connection:
            return [BatchRow(**row._mapping) for row in connection.execute(query)]

    def settlements_since(self, run_id: int, after: float) -> list[Settlement]:
        """Settlements recorded after that time, in order."""
        settled = tables.settlements.c
        query = (
            select(tables.settlements)
            .where(settled.run == run_id, settled.settled_at > after)
            .order_by(settled.settled_at, settled.batch, settled.attempt)
        )
        with self._reading() as connection:
            return [_settlement(row) for row in connection.execute(query)]

    def all_workers(self) -> list[WorkerRow]:
        """Every worker process that ever joined."""
        with self._reading() as connection:
            rows = connection.execute(select(tables.workers).order_by(tables.workers.c.joined_at))
            return [WorkerRow(**row._mapping) for row in rows]

    # Statements and transactions

    def _insert_new(
        self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]
    ) -> list[Any]:
        """Insert those of `rows` whose key is not there; return the rows inserted."""
        if not rows:
            return []
        statement = self._insert(table).on_conflict_do_nothing()
        return list(connection.execute(statement.returning(*table.primary_key), rows))

    def _add(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[dict[str, Any]],
        replaced: Sequence[str] = (),
    ) -> None:
        """Add the values of `rows` to those stored; the columns in `replaced` are overwritten.

        The sum is made by the database, so that concurrent additions can't lose one another.
        """
        if not rows:
            return
        statement = self._insert(table)
        kept = {*table.primary_key.columns.keys(), "first_at"}
        changes = {
            column.name: statement.excluded[column.name]
            if column.name in replaced
            else column + statement.excluded[column.name]
            for column in table.columns
            if column.name not in kept
        }
        keys = list(table.primary_key)
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), rows)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _reachable(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _reachable(), self._reader.begin() as connection:
            yield connection


@contextmanager
def _reachable() -> Iterator[None]:
    """Turn what may pass by itself (no server, locked, full, timed out) into one error."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise LedgerUnavailableError(_reason(error)) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise LedgerUnavailableError(_reason(error)) from error
        raise


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(cause).strip().splitlines()
    return f"the ledger can't be reached: {lines[0] if lines else type(cause).__name__}"


def _columns(row: BatchRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in BatchRow.__slots__}


def _dispatch_sums(rows: Iterable[BatchRow]) -> list[dict[str, Any]]:
    by_profile: dict[tuple[int, str], list[BatchRow]] = defaultdict(list)
    for row in rows:
        by_profile[row.run, row.profile].append(row)
    return [
        {
            "run": run,
            "profile": profile,
            "batches": len(group),
            "messages": sum(row.size for row in group),
            "first_at": min(row.queued_at for row in group),
            "last_at": max(row.queued_at for row in group),
        }
        for (run, profile), group in sorted(by_profile.items())
    ]


_SETTLEMENT_FIELDS = (
    "profile",
    "worker",
    "messages",
    "delivered",
    "failed",
    "retried",
    "send_seconds",
    "delivery_seconds",
    "settled_at",
    "taken",
    "remainder",
)


def _settlement_row(settlement: Settlement) -> dict[str, Any]:
    run, batch, attempt = settlement.key
    values = {name: getattr(settlement, name) for name in _SETTLEMENT_FIELDS}
    return {"run": run, "batch": batch, "attempt": attempt, **values}


def _settlement(row: Any) -> Settlement:
    values = {name: getattr(row, name) for name in _SETTLEMENT_FIELDS}
    return Settlement(key=(row.run, row.batch, row.attempt), **values)


def _counter_sums(settlements: Iterable[Settlement]) -> list[dict[str, Any]]:
    groups: dict[tuple[int, str, str], list[Settlement]] = defaultdict(list)
    for settlement in settlements:
        groups[settlement.key[0], settlement.profile, settlement.worker].append(settlement)
    summed = ("delivered", "failed", "retried", "send_seconds", "delivery_seconds")
    return [
        {
            "run": run,
            "profile": profile,
            "worker": worker,
            "settlements": len(group),
            "first_attempts": sum(s.messages for s in group if s.key[2] == 0),
            "attempts": sum(s.messages for s in group),
            **{name: sum(getattr(s, name) for s in group) for name in summed},
            "last_settled_at": max(s.settled_at for s in group),
        }
        for (run, profile, worker), group in sorted(groups.items())
    ]


def _delivery_time_sums(settlements: Iterable[Settlement]) -> list[dict[str, Any]]:
    sums: Counter[tuple[int, str, str, int]] = Counter()
    for settlement in settlements:
        for bucket, messages in settlement.delivery_times.items():
            sums[settlement.key[0], settlement.profile, settlement.worker, bucket] += messages
    return [
        {"run": run, "profile": profile, "worker": worker, "bucket": bucket, "messages": messages}
        for (run, profile, worker, bucket), messages in sorted(sums.items())
    ]


def _failure_rows(settlement: Settlement) -> Iterator[dict[str, Any]]:
    run, batch, attempt = settlement.key
    for index in settlement.failed_indexes:
        yield {
            "run": run,
            "message_index": index,
            "batch": batch,
            "profile": settlement.profile,
            "attempts": attempt + 1,
            "failed_at": settlement.settled_at,
        }


def _find(connection: Connection, key: Key) -> Settled | None:
    run, batch, attempt = key
    settled = tables.settlements.c
    query = (
        select(settled.attempt, settled.remainder)
        .where(settled.run == run, settled.batch == batch, settled.attempt >= attempt)
        .order_by(settled.attempt)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    superseded = rows[-1].attempt > attempt
    return Settled(None if superseded else rows[0].remainder, superseded, new=False)


def _run(row: Any) -> Run:
    return Run(row.id, row.created_at, row.seed, row.total, parse_simulation(row.simulation))


def _workers(connection: Connection) -> tuple[WorkerRow, ...]:
    table = tables.workers
    query = select(table).where(table.c.left_at.is_(None)).order_by(table.c.joined_at)
    return tuple(WorkerRow(**row._mapping) for row in connection.execute(query))


def _scalar(connection: Connection, expression: Any, run_id: int) -> float | None:
    (column,) = expression.clauses
    value: float | None = connection.execute(
        select(expression).where(column.table.c.run == run_id)
    ).scalar()
    return value


def _profile_counts(connection: Connection, run: Run) -> tuple[ProfileCounts, ...]:
    counter, dispatch, times = tables.counters.c, tables.dispatched.c, tables.delivery_times.c
    names = ("first_attempts", "attempts", "delivered", "failed", "retried", "send_seconds")
    summed = [func.sum(counter[name]).label(name) for name in (*names, "delivery_seconds")]
    counts = {
        row.profile: row._mapping
        for row in connection.execute(
            select(counter.profile, *summed).where(counter.run == run.id).group_by(counter.profile)
        )
    }
    dispatched = dict(
        connection.execute(
            select(dispatch.profile, dispatch.messages).where(dispatch.run == run.id)
        )
        .tuples()
        .all()
    )
    histograms: dict[str, dict[int, int]] = defaultdict(dict)
    for profile, bucket, messages in connection.execute(
        select(times.profile, times.bucket, func.sum(times.messages))
        .where(times.run == run.id)
        .group_by(times.profile, times.bucket)
    ):
        histograms[profile][bucket] = int(messages)
    configured = [profile.name for profile in run.simulation.senders]
    return tuple(
        ProfileCounts(
            profile=name,
            dispatched=int(dispatched.get(name, 0)),
            delivery_times=histograms[name],
            **_numbers(counts.get(name)),
        )
        for name in dict.fromkeys([*configured, *dispatched, *counts])
    )


def _numbers(mapping: Any) -> dict[str, Any]:
    """PostgreSQL sums big integers as decimals; readers want plain numbers."""
    if mapping is None:
        return {}
    return {
        name: float(value) if name.endswith("_seconds") else int(value)
        for name, value in mapping.items()
        if name != "profile"
    }
