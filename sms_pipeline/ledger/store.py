"""The ledger: what was dispatched, what was settled, counted exactly once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import Counts, ProfileCounts
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import (
    Absorbed,
    BatchRow,
    Control,
    Failure,
    Key,
    Run,
    RunTotals,
    Settled,
    Settlement,
    Snapshot,
    Standing,
    Unsettled,
    WorkerRow,
)
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.errors import LedgerUnavailableError, UnknownRunError
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.mapping import (
    SUMMED,
    answer_from,
    batch_columns,
    counter_sums,
    delivery_time_sums,
    dispatch_sums,
    failure_columns,
    plain_numbers,
    settlement_columns,
    to_run,
    to_settlement,
    to_unsettled,
)


class Ledger:
    """What producers, workers and views ask of the database, SQLite or PostgreSQL.

    Every method may raise `LedgerUnavailableError` when the database can't be reached just now.
    The same call, with the same arguments, can then be made again, also when it is not known
    whether it took effect: each either finds what it wrote or writes the same once more.
    """

    def __init__(self, engine: Engine, clock: Clock = MACHINE_CLOCK) -> None:
        is_sqlite = engine.dialect.name == "sqlite"
        self._engine = engine
        self._clock = clock
        self._where = _name(engine)
        self._writer = engine.execution_options(write=True)
        # The queries of one reading must see one state; SQLite's transactions always do.
        one_state = {} if is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reader = engine.execution_options(**one_state)
        # Statements of the busy paths are built once.
        insert = sqlite_insert if is_sqlite else postgres_insert
        self._new_rows = {
            table.name: insert(table).on_conflict_do_nothing().returning(*table.primary_key)
            for table in (schema.settlements, schema.workers)
        }
        self._additions = {
            table.name: _addition(insert(table))
            for table in (
                schema.counters,
                schema.delivery_times,
                schema.dispatched,
                schema.absorbed,
            )
        }
        with self._transaction() as connection:
            #: Carried by every batch, so that no worker judges batches of another ledger.
            self.id = schema.create_tables(connection)

    @classmethod
    def open(cls, url: str, clock: Clock = MACHINE_CLOCK) -> Ledger:
        """Open the ledger at `url`; make its tables if they are not there.

        Raises:
            ConfigError: not a URL of a database that can hold a ledger.
            LedgerUnavailableError: it can't be reached, or is of another version.
        """
        engine = schema.open_engine(url)
        try:
            return cls(engine, clock)
        except DatabaseError as error:
            raise LedgerUnavailableError(_reason(_name(engine), error)) from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # Runs

    def start_run(
        self,
        simulation: Simulation,
        seed: int,
        embedded: bool = False,
        created_at: float | None = None,
    ) -> Run:
        """Register a run with its frozen configuration.

        A run is known by its seed and `created_at`, seconds since the epoch (None: now). A second
        call with the same ones finds the run that the first has made.
        """
        created_at = self._clock.wall() if created_at is None else created_at
        total = simulation.num_messages
        run = schema.runs.c
        same = select(run.id).where(run.created_at == created_at, run.seed == seed)
        row = {
            "created_at": created_at,
            "seed": seed,
            "total": total,
            "simulation": simulation.model_dump_json(),
            "embedded": embedded,
            "control": Control.RUNNING,
            "next_index": 0,
            "next_batch": 0,
        }
        with self._transaction() as connection:
            run_id = connection.execute(same).scalar()
            if run_id is None:
                run_id = connection.execute(
                    schema.runs.insert().returning(run.id), row
                ).scalar_one()
        return Run(run_id, created_at, seed, total, simulation, embedded)

    def run(self, run_id: int | None = None) -> Run:
        """The run with this id, or the latest.

        Raises:
            UnknownRunError: there is none.
        """
        query = select(schema.runs).order_by(schema.runs.c.id.desc()).limit(1)
        if run_id is not None:
            query = query.where(schema.runs.c.id == run_id)
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownRunError(
                "the ledger has no run yet; start one with 'sms-pipeline run' or 'produce'"
                if run_id is None
                else f"the ledger has no run {run_id}; 'sms-pipeline runs' lists those it has"
            )
        return to_run(row)

    def latest_run_id(self) -> int | None:
        """None while there is no run."""
        with self._reading() as connection:
            latest: int | None = connection.execute(select(func.max(schema.runs.c.id))).scalar()
            return latest

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(select(schema.runs).order_by(schema.runs.c.id))
            return [to_run(row) for row in rows]

    def totals(self, count: int, before: int | None = None) -> list[RunTotals]:
        """The latest `count` runs, or the latest of those older than `before`, newest first."""
        counter = schema.counters.c
        sums = [
            func.sum(counter[name]).label(name)
            for name in ("delivered", "failed", "expired", "cancelled")
        ]
        dispatched = schema.dispatched.c
        started = (
            select(func.min(dispatched.first_at))
            .where(dispatched.run == schema.runs.c.id)
            .scalar_subquery()
            .label("started_at")
        )
        query = select(schema.runs, started).order_by(schema.runs.c.id.desc()).limit(count)
        if before is not None:
            query = query.where(schema.runs.c.id < before)
        with self._reading() as connection:
            runs = [(to_run(row), row.started_at) for row in connection.execute(query)]
            counted = {
                row.run: Counts(
                    **plain_numbers({name: row._mapping[name] for name in row._fields[1:]})
                )
                for row in connection.execute(
                    select(counter.run, *sums)
                    .where(counter.run.in_([run.id for run, _ in runs]))
                    .group_by(counter.run)
                )
            }
        return [RunTotals(run, at, counted.get(run.id, Counts())) for run, at in runs]

    def control(self, run_id: int, wanted: Control) -> Control:
        """Ask for `wanted`; return what holds now. A cancelled run stays cancelled."""
        run = schema.runs.c
        statement = (
            update(schema.runs)
            .where(run.id == run_id, run.control != Control.CANCELLED)
            .values(control=wanted)
        )
        with self._transaction() as connection:
            connection.execute(statement)
            query = select(run.control).where(run.id == run_id)
            return Control(connection.execute(query).scalar_one())

    # Dispatch

    def record_batches(self, run_id: int, rows: Sequence[BatchRow]) -> bool:
        """Write consecutive batch rows, before they are published, and move the run's position.

        False when the run no longer stands where the first row begins: another producer moved
        it, and nothing was written. A second call after an unknown outcome finds its own rows.
        """
        first, last = rows[0], rows[-1]
        run = schema.runs.c
        move = (
            update(schema.runs)
            .where(
                run.id == run_id,
                run.next_index == first.first_index,
                run.next_batch == first.number,
            )
            .values(next_index=last.first_index + last.size, next_batch=last.number + 1)
        )
        with self._transaction() as connection:
            if not connection.execute(move).rowcount:
                return _stored_batch(connection, first) == first
            connection.execute(schema.batches.insert(), [batch_columns(row) for row in rows])
            self._add(connection, schema.dispatched, dispatch_sums(rows))
        return True

    def mark_published(self, run_id: int, published: Sequence[tuple[int, float]]) -> None:
        """Record when the broker confirmed batches: (number, time) each."""
        statement = (
            update(schema.batches)
            .where(schema.batches.c.run == run_id, schema.batches.c.number == bindparam("batch"))
            .values(published_at=bindparam("at"))
        )
        rows = [{"batch": number, "at": at} for number, at in published]
        if rows:
            with self._transaction() as connection:
                connection.execute(statement, rows)

    def stuck(self, run_id: int, queued_before: float) -> dict[str, int]:
        """Messages by profile in batches queued before then whose first attempt is not settled."""
        batch, settled = schema.batches.c, schema.settlements.c
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

    def unsettled(self, run_id: int) -> list[Unsettled]:
        """Recorded batches without a settlement, or whose last one left a remainder."""
        batch, settled = schema.batches.c, schema.settlements.c
        last = (
            select(settled.batch, func.max(settled.attempt).label("attempt"))
            .where(settled.run == run_id)
            .group_by(settled.batch)
            .subquery()
        )
        on_last = and_(settled.batch == last.c.batch, settled.attempt == last.c.attempt)
        ends = (
            select(settled.batch, settled.attempt, settled.remainder)
            .where(settled.run == run_id)
            .join(last, on_last)
            .subquery()
        )
        query = (
            select(schema.batches, ends.c.attempt, ends.c.remainder)
            .outerjoin(ends, ends.c.batch == batch.number)
            .where(
                batch.run == run_id,
                or_(ends.c.attempt.is_(None), ends.c.remainder.is_not(None)),
            )
            .order_by(batch.number)
        )
        with self._reading() as connection:
            return [to_unsettled(row) for row in connection.execute(query)]

    def claim_rest(self, run: Run, profile: str) -> None:
        """Record all that was never dispatched as one batch, so that nobody dispatches it.

        For `cancel`, which settles that batch at once.
        """
        while (now := self.run(run.id)).next_index < now.total:
            rest = BatchRow(
                run.id,
                now.next_batch,
                profile,
                now.next_index,
                now.total - now.next_index,
                self._clock.wall(),
            )
            self.record_batches(run.id, [rest])

    def unpublished(self, run_id: int) -> list[BatchRow]:
        """Recorded batches without a settlement that the broker has not confirmed."""
        return [
            entry.row
            for entry in self.unsettled(run_id)
            if entry.attempt == 0 and entry.row.published_at is None
        ]

    # Settlement

    def standing(self, key: Key) -> Standing:
        """What the user wants of the run, and what is settled for this attempt.

        A newer settled attempt of the same batch counts, too: then nothing is left to do.

        Raises:
            UnknownRunError: the ledger has no such run.
        """
        run_id, batch, attempt = key
        values = {"run_id": run_id, "batch_number": batch, "from_attempt": attempt}
        with self._reading() as connection:
            rows = connection.execute(_STANDING, values).all()
        if not rows:
            raise UnknownRunError(f"the ledger has no run {run_id}")
        found = [(row.attempt, row.remainder) for row in rows if row.attempt is not None]
        return Standing(Control(rows[0].control), answer_from(attempt, found))

    def absorb(self, worker: str, sums: Mapping[tuple[int, Absorbed], tuple[int, int]]) -> None:
        """Write what came twice to a worker.

        Args:
            worker: its id, unique for each process start.
            sums: (batches, messages) since that start, by run and kind; they replace those written
                before.
        """
        rows = [
            {
                "run": run_id,
                "kind": kind,
                "worker": worker,
                "batches": batches,
                "messages": messages,
            }
            for (run_id, kind), (batches, messages) in sums.items()
        ]
        with self._transaction() as connection:
            self._add(connection, schema.absorbed, rows)

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        """Record a group of settlements in one transaction; count those that were new.

        Keys must differ within the group. The answers are in the order of `group`.
        """
        ordered = sorted(group, key=lambda settlement: settlement.key)
        with self._transaction() as connection:
            rows = [settlement_columns(settlement) for settlement in ordered]
            inserted = self._insert_new(connection, schema.settlements, rows)
            new_keys = {tuple(row[:3]) for row in inserted}
            self._count(connection, [s for s in ordered if s.key in new_keys])
            return [self._answer(connection, s, s.key in new_keys) for s in group]

    def _answer(self, connection: Connection, settlement: Settlement, new: bool) -> Settled:
        if new:
            return Settled(settlement.remainder)
        run_id, batch, attempt = settlement.key
        values = {"run_id": run_id, "batch_number": batch, "from_attempt": attempt}
        rows = connection.execute(_STANDING, values).all()
        stored = answer_from(attempt, [(row.attempt, row.remainder) for row in rows])
        if stored is None:
            raise LedgerUnavailableError("a settlement vanished while it was read")
        return stored

    def _count(self, connection: Connection, settlements: Sequence[Settlement]) -> None:
        self._add(connection, schema.counters, counter_sums(settlements))
        self._add(connection, schema.delivery_times, delivery_time_sums(settlements))
        rows = [row for settlement in settlements for row in failure_columns(settlement)]
        if rows:
            connection.execute(schema.failures.insert(), rows)

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
                "joined_at": self._clock.wall(),
                "left_at": None,
            }
            for profile in profiles
        ]
        with self._transaction() as connection:
            self._insert_new(connection, schema.workers, rows)

    def beat(self, worker: str, heartbeat: int) -> None:
        """Show that the worker's driver thread is alive."""
        self._update_worker(worker, heartbeat=heartbeat)

    def leave(self, worker: str) -> None:
        """Sign a worker process off."""
        self._update_worker(worker, left_at=self._clock.wall())

    def _update_worker(self, worker: str, **values: Any) -> None:
        with self._transaction() as connection:
            connection.execute(
                update(schema.workers).where(schema.workers.c.id == worker).values(**values)
            )

    def workers(self) -> tuple[WorkerRow, ...]:
        """Worker processes that have not signed off."""
        with self._reading() as connection:
            return present_workers(connection)

    # Reading

    def snapshot(self, run: Run) -> Snapshot:
        """The run's counters, in one consistent reading."""
        with self._reading() as connection:
            control = connection.execute(
                select(schema.runs.c.control).where(schema.runs.c.id == run.id)
            ).scalar_one()
            profiles = _profile_counts(connection, run)
            started = _scalar(connection, func.min(schema.dispatched.c.first_at), run.id)
            settled = _scalar(connection, func.max(schema.counters.c.last_settled_at), run.id)
            workers = present_workers(connection)
        return Snapshot(
            run=run.id,
            total=run.total,
            seed=run.seed,
            simulation=run.simulation,
            control=Control(control),
            profiles=profiles,
            workers=workers,
            started_at=started,
            settled_at=settled,
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction in which all queries see one state."""
        with self._reading() as connection:
            yield connection

    def failures(self, run_id: int) -> Iterator[Failure]:
        """The messages that are out of attempts, by index; read as it goes, however many."""
        table = schema.failures
        query = select(table).where(table.c.run == run_id).order_by(table.c.message_index)
        with self._reading() as connection:
            for row in connection.execution_options(yield_per=1_000).execute(query):
                yield Failure(**{name: getattr(row, name) for name in Failure.__slots__})

    def dispatches_since(self, run_id: int, after: float) -> list[BatchRow]:
        """Batches published after that time, in order."""
        batch = schema.batches.c
        query = (
            select(schema.batches)
            .where(batch.run == run_id, batch.published_at > after)
            .order_by(batch.published_at, batch.number)
        )
        with self._reading() as connection:
            return [BatchRow(**row._mapping) for row in connection.execute(query)]

    def settlements_since(self, run_id: int, after: float) -> list[Settlement]:
        """Settlements recorded after that time, in order."""
        settled = schema.settlements.c
        query = (
            select(schema.settlements)
            .where(settled.run == run_id, settled.settled_at > after)
            .order_by(settled.settled_at, settled.batch, settled.attempt)
        )
        with self._reading() as connection:
            return [to_settlement(row) for row in connection.execute(query)]

    def delivered_at(self, run_id: int, messages: int) -> float | None:
        """When that many messages of the run were delivered; None while fewer are."""
        settled = schema.settlements.c
        order = (settled.settled_at, settled.batch, settled.attempt)
        sums = (
            select(settled.settled_at, func.sum(settled.delivered).over(order_by=order).label("n"))
            .where(settled.run == run_id)
            .subquery()
        )
        query = select(func.min(sums.c.settled_at)).where(sums.c.n >= messages)
        with self._reading() as connection:
            at: float | None = connection.execute(query).scalar()
            return at

    def all_workers(self) -> list[WorkerRow]:
        """Every worker process that ever joined."""
        with self._reading() as connection:
            rows = connection.execute(select(schema.workers).order_by(schema.workers.c.joined_at))
            return [WorkerRow(**row._mapping) for row in rows]

    # Statements and transactions

    def _insert_new(
        self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]
    ) -> list[Any]:
        """Insert those of `rows` whose key is not there; return the rows inserted."""
        if not rows:
            return []
        return list(connection.execute(self._new_rows[table.name], rows))

    def _add(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Add the values of `rows` to those stored.

        The sum is made by the database, so that concurrent additions can't lose one another.
        """
        if rows:
            connection.execute(self._additions[table.name], rows)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _reachable(self._where), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _reachable(self._where), self._reader.begin() as connection:
            yield connection


#: Columns that an addition leaves as they were, and those it overwrites; it adds to all others.
_KEPT, _REPLACED = {"first_at"}, {"last_at", "last_settled_at"}
#: Of this table it overwrites all: a worker writes its sums, not what is new.
_SUMMED_BY_ITS_WRITER = "absorbed"


def _addition(statement: Any) -> Any:
    """An insert that adds to the values of a row that is there."""
    table = statement.table
    changes = {
        column.name: statement.excluded[column.name]
        if column.name in _REPLACED or table.name == _SUMMED_BY_ITS_WRITER
        else column + statement.excluded[column.name]
        for column in table.columns
        if column.name not in {*table.primary_key.columns.keys(), *_KEPT}
    }
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changes)


@contextmanager
def _reachable(where: str) -> Iterator[None]:
    """Turn what may pass by itself (no server, locked, full, timed out) into one error."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise LedgerUnavailableError(_reason(where, error)) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise LedgerUnavailableError(_reason(where, error)) from error
        raise


def _reason(where: str, error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(cause).strip().splitlines()
    return f"the ledger {where} can't be reached: {lines[0] if lines else type(cause).__name__}"


def _name(engine: Engine) -> str:
    return schema.without_secrets(engine.url)


def _stored_batch(connection: Connection, row: BatchRow) -> BatchRow | None:
    batch = schema.batches.c
    query = select(schema.batches).where(batch.run == row.run, batch.number == row.number)
    stored = connection.execute(query).one_or_none()
    return None if stored is None else BatchRow(**{**stored._mapping, "published_at": None})


def _standing_query() -> Select[Any]:
    run, settled = schema.runs.c, schema.settlements.c
    on_attempts = and_(
        settled.run == run.id,
        settled.batch == bindparam("batch_number"),
        settled.attempt >= bindparam("from_attempt"),
    )
    return (
        select(run.control, settled.attempt, settled.remainder)
        .select_from(schema.runs.outerjoin(schema.settlements, on_attempts))
        .where(run.id == bindparam("run_id"))
        .order_by(settled.attempt)
    )


#: Asked once for every batch, so it is built once.
_STANDING = _standing_query()


def present_workers(connection: Connection) -> tuple[WorkerRow, ...]:
    table = schema.workers
    query = select(table).where(table.c.left_at.is_(None)).order_by(table.c.joined_at)
    return tuple(WorkerRow(**row._mapping) for row in connection.execute(query))


def _scalar(connection: Connection, expression: Any, run_id: int) -> float | None:
    (column,) = expression.clauses
    value: float | None = connection.execute(
        select(expression).where(column.table.c.run == run_id)
    ).scalar()
    return value


_COUNTED = ("first_attempts", "attempts", *SUMMED)


def _profile_counts(connection: Connection, run: Run) -> tuple[ProfileCounts, ...]:
    counter, dispatch, times = schema.counters.c, schema.dispatched.c, schema.delivery_times.c
    summed = [func.sum(counter[name]).label(name) for name in _COUNTED]
    counts = {
        row.profile: row._mapping
        for row in connection.execute(
            select(counter.profile, *summed).where(counter.run == run.id).group_by(counter.profile)
        )
    }
    dispatched = {
        row.profile: row.messages
        for row in connection.execute(
            select(dispatch.profile, dispatch.messages).where(dispatch.run == run.id)
        )
    }
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
            **plain_numbers(counts.get(name)),
        )
        for name in dict.fromkeys([*configured, *dispatched, *counts])
    )
