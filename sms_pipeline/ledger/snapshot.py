"""A run's counters and workers, in one consistent reading."""

from __future__ import annotations

from sqlalchemy import Connection, func, or_, select

from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.receipts import NO_RECEIPTS
from sms_pipeline.core.records import SUMMED, Control, Run, Snapshot, WorkerRow
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.handed import read_moved
from sms_pipeline.ledger.histograms import read_histograms
from sms_pipeline.ledger.mapping import known, plain_numbers, to_worker
from sms_pipeline.ledger.queries import (
    read_last_activity,
    read_last_settled,
    read_steps,
    settled_workers,
)
from sms_pipeline.ledger.receipts import read_on_phone


def read_snapshot(connection: Connection, run: Run) -> Snapshot:
    """The run's counters."""
    control = connection.execute(
        select(schema.runs.c.control).where(schema.runs.c.id == run.id)
    ).scalar_one()
    profiles = read_profile_counts(connection, run)
    done = sum(counts.finished for counts in profiles) >= run.total
    return Snapshot(
        run=run.id,
        total=run.total,
        seed=run.seed,
        simulation=run.simulation,
        control=Control(control),
        profiles=profiles,
        workers=read_workers_of(connection, run, done),
        started_at=run.started_at,
        settled_at=read_last_settled(connection, run.id),
        embedded=run.embedded,
        active_at=read_last_activity(connection, run.id),
        steps=read_steps(connection, run.id),
    )


_COUNTED = ("first_attempts", "attempts", *SUMMED)


def read_profile_counts(connection: Connection, run: Run) -> tuple[ProfileCounts, ...]:
    """The sums of each profile, those that are configured first."""
    counter, dispatch = schema.counters.c, schema.dispatched.c
    summed = [func.sum(counter[name]).label(name) for name in _COUNTED]
    summed.append(func.max(counter.longest_delivery).label("longest_delivery"))
    counts = {
        known(row.profile, "profile"): row._mapping
        for row in connection.execute(
            select(counter.profile, *summed).where(counter.run == run.id).group_by(counter.profile)
        )
    }
    dispatched = {
        known(row.profile, "profile"): known(row.messages, "messages")
        for row in connection.execute(
            select(dispatch.profile, dispatch.messages).where(dispatch.run == run.id)
        )
    }
    delivery_times = read_histograms(connection, schema.delivery_times, run.id)
    on_phone = read_on_phone(connection, run.id)
    configured = [profile.name for profile in run.simulation.senders]
    own = [
        ProfileCounts(
            profile=name,
            dispatched=int(dispatched.get(name, 0)),
            delivery_times=delivery_times[name],
            on_phone=on_phone.get(name, NO_RECEIPTS),
            **plain_numbers(counts.get(name)),
        )
        for name in dict.fromkeys([*configured, *dispatched, *counts])
    ]
    return read_moved(connection, run.id).added_to(own)


def read_workers_of(connection: Connection, run: Run, done: bool) -> tuple[WorkerRow, ...]:
    """Those that were there while the run was on; if it is done, those that settled some of it.

    Those of a forecast never were there.
    """
    worker = schema.workers
    if run.simulation.is_forecast:
        return _foretold_workers(connection, run)
    if done:
        query = settled_workers(run.id)
    else:
        present = or_(worker.c.left_at.is_(None), worker.c.left_at >= run.started_at)
        query = select(worker).where(present)
    ordered = query.order_by(worker.c.joined_at, worker.c.id)
    return tuple(to_worker(row) for row in connection.execute(ordered))


def _foretold_workers(connection: Connection, run: Run) -> tuple[WorkerRow, ...]:
    counter = schema.counters.c
    query = select(counter.profile, counter.worker).where(counter.run == run.id)
    ended_at = read_last_settled(connection, run.id) or run.started_at
    profiles = {profile.name: profile for profile in run.simulation.senders}
    return tuple(
        WorkerRow.playing(profiles[name], worker, joined_at=run.started_at, seen_at=ended_at)
        for name, worker in connection.execute(query.order_by(counter.worker))
        if name in profiles
    )
