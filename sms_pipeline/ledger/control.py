"""What is asked of a run from outside, and the record of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, update

from sms_pipeline.core.clock import Clock, clock_of
from sms_pipeline.core.records import Control, Steering
from sms_pipeline.ledger import chains, queries, schema
from sms_pipeline.ledger.database import Database

#: What asking for it is called afterwards.
_STEPS = {
    Control.RUNNING: Steering.CONTINUED,
    Control.PAUSED: Steering.PAUSED,
    Control.CANCELLED: Steering.CANCELLED,
}


class Controls:
    """Steers runs; a run that is sealed stays as it is."""

    def __init__(self, database: Database, ledger_id: str, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._writer = chains.Writer("steering", ledger_id)

    def ask(self, run_id: int, wanted: Control) -> Control:
        """See `Ledger.control`."""
        run = schema.runs.c
        statement = update(schema.runs).where(run.id == run_id).values(control=wanted)
        with self._writer.writing(self._database) as connection:
            before = Control(connection.execute(queries.lock_control(run_id)).scalar_one())
            if before in (wanted, Control.CANCELLED) or queries.is_sealed(connection, run_id):
                return before
            connection.execute(statement)
            self._note(connection, run_id, _STEPS[wanted])
        return wanted

    def note_resume(self, run_id: int) -> None:
        """See `Ledger.note_resume`."""
        run, step = schema.runs.c, schema.steps.c
        query = select(run.started_at).where(run.id == run_id)
        resumed = select(func.max(step.at)).where(step.run == run_id, step.what == Steering.RESUMED)
        with self._writer.writing(self._database) as connection:
            connection.execute(queries.lock_control(run_id))
            if queries.is_sealed(connection, run_id):
                return
            last = max(
                connection.execute(query).scalar_one(),
                connection.execute(resumed).scalar() or 0.0,
                queries.read_last_activity(connection, run_id) or 0.0,
            )
            idle = max(self._now(connection, run_id) - last, 0.0)
            self._note(connection, run_id, Steering.RESUMED, idle)

    def _now(self, connection: Connection, run_id: int) -> float:
        """By the run's timeline: whoever steers it may have started after the clock was set."""
        run = schema.runs.c
        query = select(run.boot, run.offset).where(run.id == run_id)
        return clock_of(connection.execute(query).one(), self._clock).wall()

    def _note(
        self, connection: Connection, run_id: int, what: Steering, idle_seconds: float = 0.0
    ) -> None:
        row: dict[str, Any] = {
            "run": run_id,
            "what": what,
            "at": self._now(connection, run_id),
            "idle_seconds": idle_seconds,
            **self._writer.signature(connection, run_id),
        }
        insert = schema.steps.insert().returning(schema.steps.c.id)
        row["id"] = connection.execute(insert, row).scalar_one()
        self._writer.link(connection, run_id, [chains.encoded(schema.steps, row)])
