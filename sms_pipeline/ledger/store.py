"""The ledger: what was dispatched, what was settled, counted exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, select, update
from sqlalchemy.exc import DatabaseError

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.databases import without_secrets
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import LedgerUnavailableError, UnknownRunError
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import (
    Absorbed,
    BatchRow,
    Control,
    Failure,
    Key,
    Recorded,
    Retrying,
    Run,
    Settled,
    Settlement,
    Snapshot,
    Standing,
    Unsettled,
    WorkerRow,
)
from sms_pipeline.core.run_list import RunPage, RunTotals
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.core.unattended import OpenRun
from sms_pipeline.ledger import chains, queries, schema
from sms_pipeline.ledger.control import Controls
from sms_pipeline.ledger.database import Database, open_engine, reason
from sms_pipeline.ledger.making import create_tables, find_tables
from sms_pipeline.ledger.mapping import (
    absorbed_columns,
    answer_from,
    batch_columns,
    dispatch_sums,
    to_failure,
    to_run,
    to_unsettled,
    to_worker,
    worker_columns,
)
from sms_pipeline.ledger.run_list import read_forecasts, read_page
from sms_pipeline.ledger.settling import Settling
from sms_pipeline.ledger.snapshot import read_snapshot
from sms_pipeline.ledger.waiting import read_open_runs


class Ledger:
    """What producers, workers and views ask of the database, SQLite or PostgreSQL.

    Every method may raise `LedgerUnavailableError` when the database can't be reached just now.
    The same call, with the same arguments, can then be made again, also when it is not known
    whether it took effect: each either finds what it wrote or writes the same once more.
    """

    def __init__(
        self, engine: Engine, clock: Clock = MACHINE_CLOCK, only_read: bool = False
    ) -> None:
        self._clock = clock
        self._database = Database(engine)
        # Asked once for every batch, so it is built once.
        self._standing = queries.standing()
        looking = self._database.reading if only_read else self._database.writing
        prepare = find_tables if only_read else create_tables
        with looking() as connection:
            #: Carried by every batch, so that no worker judges batches of another ledger.
            self.id = prepare(connection)
        self._dispatch = chains.Writer("dispatch", self.id)
        self._settling = Settling(self._database, self.id, self._standing)
        self._controls = Controls(self._database, self.id, clock)

    @classmethod
    def open(cls, url: str, clock: Clock = MACHINE_CLOCK) -> Ledger:
        """Open the ledger at `url`; make its tables if they are not there.

        Raises:
            ConfigError: not a URL of a database that can hold a ledger.
            LedgerUnavailableError: it can't be reached, or is of another version.
            DamagedLedgerError: it can't be read.
        """
        return cls._opened(open_engine(url), clock)

    @classmethod
    def open_to_read(cls, url: str, clock: Clock = MACHINE_CLOCK) -> Ledger:
        """Open the ledger at `url` as it is: nothing is made, and no right to write is needed.

        What writes still may, where the rights allow it.

        Raises:
            NoLedgerError: there is none.
            ConfigError, LedgerUnavailableError, DamagedLedgerError: see `open`.
        """
        return cls._opened(open_engine(url, only_read=True), clock, only_read=True)

    @classmethod
    def _opened(cls, engine: Engine, clock: Clock, only_read: bool = False) -> Ledger:
        try:
            return cls(engine, clock, only_read)
        except DatabaseError as error:
            where = without_secrets(engine.url)
            raise LedgerUnavailableError(reason(where, error)) from error

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    # Runs

    def start_run(
        self,
        simulation: Simulation,
        seed: int,
        embedded: bool = False,
        started_at: float | None = None,
    ) -> Run:
        """Register a run with its frozen configuration.

        A run is known by its seed and `started_at`, seconds since the epoch (None: now). A second
        call with the same ones finds the run that the first has made.
        """
        started_at = self._clock.wall() if started_at is None else started_at
        boot, offset = self._clock.timeline or (None, 0.0)
        total = simulation.num_messages
        run = schema.runs.c
        same = select(run.id).where(run.started_at == started_at, run.seed == seed)
        row = {
            "started_at": started_at,
            "seed": seed,
            "total": total,
            "simulation": simulation.model_dump_json(),
            "embedded": embedded,
            "control": Control.RUNNING,
            "next_index": 0,
            "next_batch": 0,
            "boot": boot,
            "offset": offset,
        }
        row["digest"] = chains.digest(schema.runs, row)
        with self._database.writing() as connection:
            run_id = connection.execute(same).scalar()
            if run_id is None:
                run_id = connection.execute(
                    schema.runs.insert().returning(run.id), row
                ).scalar_one()
        return Run(run_id, started_at, seed, total, simulation, embedded, boot=boot, offset=offset)

    def run(self, run_id: int | None = None) -> Run:
        """The run with this id, or the latest rehearsal.

        Raises:
            UnknownRunError: there is none.
        """
        query = select(schema.runs).order_by(schema.runs.c.id.desc()).limit(1)
        wanted = queries.is_rehearsal() if run_id is None else schema.runs.c.id == run_id
        query = query.where(wanted)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownRunError(
                "the ledger has no run yet; start one with 'sms-pipeline run' or 'produce'"
                if run_id is None
                else f"the ledger has no run {run_id}; 'sms-pipeline runs' lists those it has"
            )
        return to_run(row)

    def latest_run_id(self) -> int | None:
        """None while there is none but forecasts, and runs that `measure` made."""
        query = select(func.max(schema.runs.c.id)).where(queries.is_rehearsal())
        with self._database.reading() as connection:
            latest: int | None = connection.execute(query).scalar()
            return latest

    def forecasts(self, count: int) -> list[Run]:
        """The latest saved forecasts that can be read, newest first."""
        with self._database.reading() as connection:
            return read_forecasts(connection, count)

    def page(self, count: int, before: int | None = None) -> RunPage:
        """The latest `count` runs, or the latest of those older than `before`, newest first."""
        with self._database.reading() as connection:
            return read_page(connection, count, before)

    def totals(self, count: int, before: int | None = None) -> list[RunTotals]:
        """Those of `page` that can be read."""
        return self.page(count, before).runs

    def control(self, run_id: int, wanted: Control) -> Control:
        """Ask for `wanted`; return what holds now. A cancelled run stays cancelled."""
        return self._controls.ask(run_id, wanted)

    def note_resume(self, run_id: int) -> None:
        """Note that the run is resumed now, and for how long nothing had happened.

        What an earlier resume has noted is not noted again.
        """
        self._controls.note_resume(run_id)

    # Dispatch

    def origin(self, run_id: int) -> float | None:
        """When the run's first batch was dispatched, seconds since the epoch; None before that.

        The events of a bad day count from then.
        """
        batch = schema.batches.c
        query = select(batch.queued_at).where(batch.run == run_id, batch.number == 0)
        with self._database.reading() as connection:
            origin: float | None = connection.execute(query).scalar()
        return origin

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
        with self._dispatch.writing(self._database) as connection:
            if not connection.execute(move).rowcount:
                return queries.read_batch(connection, first) == first
            signature = self._dispatch.signature(connection, run_id)
            stored = [batch_columns(row) | signature for row in rows]
            connection.execute(schema.batches.insert(), stored)
            encoded = [chains.encoded(schema.batches, row) for row in stored]
            self._dispatch.link(connection, run_id, encoded)
            self._database.add(connection, schema.dispatched, dispatch_sums(rows))
        return True

    def mark_published(self, run_id: int, published: Sequence[tuple[int, float]]) -> None:
        """Record when the broker confirmed batches: (number, time) each.

        Of a run that is sealed nothing is recorded any more.
        """
        statement = (
            update(schema.batches)
            .where(schema.batches.c.run == run_id, schema.batches.c.number == bindparam("batch"))
            .values(published_at=bindparam("at"))
        )
        rows = [{"batch": number, "at": at} for number, at in published]
        if not rows:
            return
        with self._database.writing() as connection:
            connection.execute(queries.lock_control(run_id))
            if not queries.is_sealed(connection, run_id):
                connection.execute(statement, rows)

    def stuck(self, run_id: int, queued_before: float) -> dict[str, int]:
        """Messages by profile in batches queued before then whose first attempt is not settled."""
        with self._database.reading() as connection:
            rows = connection.execute(queries.stuck(run_id, queued_before))
            return {profile: int(size) for profile, size in rows}

    def unsettled(self, run_id: int) -> list[Unsettled]:
        """Recorded batches without a settlement, or whose last one left a remainder."""
        with self._database.reading() as connection:
            rows = connection.execute(queries.unsettled(run_id))
            return [to_unsettled(row) for row in rows]

    def retrying(self, run_id: int, settled_after: float) -> list[Retrying]:
        """Batches that wait for a retry, or are in it, of those settled since that moment."""
        with self._database.reading() as connection:
            rows = connection.execute(queries.retrying(run_id, settled_after))
            return [Retrying(*row) for row in rows]

    # Settlement

    def standing(self, key: Key) -> Standing:
        """What the user wants of the run, and what is settled for this attempt.

        A newer settled attempt of the same batch counts, too: then nothing is left to do.

        Raises:
            UnknownRunError: the ledger has no such run.
        """
        run_id, batch, attempt = key
        values = {"run_id": run_id, "batch_number": batch, "from_attempt": attempt}
        with self._database.reading() as connection:
            rows = connection.execute(self._standing, values).all()
        if not rows:
            raise UnknownRunError(f"the ledger has no run {run_id}")
        found = [(row.attempt, row.remainder) for row in rows if row.attempt is not None]
        first = rows[0]
        recorded = None if first.size is None else Recorded(*first[1:4])
        return Standing(Control(first.control), answer_from(attempt, found), recorded)

    def absorb(self, worker: str, sums: Mapping[tuple[int, Absorbed], tuple[int, int]]) -> None:
        """Write what came twice to a worker.

        Args:
            worker: its id, unique for each process start.
            sums: (batches, messages) since that start, by run and kind; they replace those written
                before.
        """
        rows = absorbed_columns(worker, sums)
        rows = [row | {"digest": chains.digest(schema.absorbed, row)} for row in rows]
        with self._database.writing() as connection:
            self._database.add(connection, schema.absorbed, rows)

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        """Record a group of settlements in one transaction; count those that were new.

        Keys must differ within the group. The answers are in the order of `group`.
        """
        return self._settling.settle(group)

    # Workers

    def join(self, worker: str, profiles: Iterable[SenderProfile]) -> None:
        """Register a worker process with the profiles it serves."""
        joined_at = self._clock.wall()
        rows = [worker_columns(worker, profile, joined_at) for profile in profiles]
        rows = [row | {"digest": chains.digest(schema.workers, row)} for row in rows]
        with self._database.writing() as connection:
            self._database.insert_new(connection, schema.workers, rows)

    def beat(self, worker: str, heartbeat: int) -> None:
        """Show that the worker's driver thread is alive."""
        self._update_worker(worker, heartbeat=heartbeat, seen_at=self._clock.wall())

    def leave(self, worker: str) -> None:
        """Sign a worker process off."""
        self._update_worker(worker, left_at=self._clock.wall())

    def _update_worker(self, worker: str, **values: Any) -> None:
        changed = update(schema.workers).where(schema.workers.c.id == worker).values(**values)
        with self._database.writing() as connection:
            connection.execute(changed)

    def workers(self) -> tuple[WorkerRow, ...]:
        """Worker processes that have not signed off."""
        with self._database.reading() as connection:
            return queries.read_present_workers(connection)

    def open_runs(self) -> list[OpenRun]:
        """What workers may find in the queues of a broker."""
        with self._database.reading() as connection:
            return read_open_runs(connection)

    # Reading

    def snapshot(self, run: Run) -> Snapshot:
        """The run's counters, in one consistent reading."""
        with self._database.reading() as connection:
            return read_snapshot(connection, run)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction in which all queries see one state."""
        with self._database.streaming() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write."""
        with self._database.writing() as connection:
            yield connection

    def failures(self, run_id: int) -> Iterator[Failure]:
        """The messages that failed or expired, by index; streamed, however many there are."""
        table = schema.failures
        query = select(table).where(table.c.run == run_id).order_by(table.c.message_index)
        with self._database.streaming() as connection:
            for row in connection.execution_options(yield_per=1_000).execute(query):
                yield to_failure(row)

    def delivered_at(self, run_id: int, messages: int) -> float | None:
        """When that many messages of the run were delivered; None while fewer are."""
        with self._database.reading() as connection:
            at: float | None = connection.execute(queries.delivered_at(run_id, messages)).scalar()
            return at

    def all_workers(self) -> list[WorkerRow]:
        """Every worker process that ever joined."""
        query = select(schema.workers).order_by(schema.workers.c.joined_at)
        with self._database.reading() as connection:
            return [to_worker(row) for row in connection.execute(query)]
