"""A report: the figures of a run, its course, its workers, and the verdict of the audit."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.events import Event
from sms_pipeline.core.hosts import host_of
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Run, WorkerRow
from sms_pipeline.core.recovery import time_to_recover
from sms_pipeline.ledger.forecasts import foretold
from sms_pipeline.ledger.scan import Records
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.sums import CounterRow
from sms_pipeline.ledger.timeline import Bin, Timeline, timeline
from sms_pipeline.ledger.verdict import AuditResult
from sms_pipeline.views.course import BINS
from sms_pipeline.views.format import iso, number
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.outcome import Outcome, outcome_of
from sms_pipeline.views.reader import Reader
from sms_pipeline.views.verdict import audit_run

#: Bins in which recovery is looked for: finer than a chart shows.
RECOVERY_BINS = 2_400
#: Packages whose versions are in the report.
PACKAGES = ("sms-pipeline", "celery", "kombu")
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class WorkerPart(NamedTuple):
    """What one worker did in the run for one profile."""

    counts: CounterRow
    #: None for a settler that is no worker: `cancel`.
    row: WorkerRow | None

    @property
    def host(self) -> str | None:
        """Where it ran, if its id says so."""
        return host_of(self.counts.worker)


class Struck(NamedTuple):
    """Something that went wrong in the run; seconds from its start."""

    event: Event
    start: float
    end: float
    #: Seconds after its end: see `recovery.time_to_recover`.
    recovered: float | None


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything in a report. Times are seconds, moments are seconds since the epoch."""

    run: Run
    progress: Progress
    timeline: Timeline
    workers: tuple[WorkerPart, ...]
    audit: AuditResult
    #: Versions installed here; the workers of the run may have had others.
    versions: dict[str, str]
    made_at: float
    struck: tuple[Struck, ...] = ()
    #: What was forecast for the same configuration, if anything was saved.
    foretold: Timeline | None = None

    @property
    def not_reached(self) -> int:
        """Failed and expired messages: those that `failures` lists."""
        return self.progress.counts.failed + self.progress.counts.expired

    @property
    def outcome(self) -> Outcome:
        """What came of the run."""
        return outcome_of(self.progress, self.audit.verdict, self.audit.seal)

    def to_json(self) -> dict[str, Any]:
        """The document of `report --format json`; moments in ISO 8601."""
        counts = self.progress.counts
        return {
            "run": self.run.id,
            "made_at": iso(self.made_at),
            "started_at": iso(self.timeline.started_at),
            "seed": self.run.seed,
            "outcome": self.outcome.line,
            "seal": self.audit.seal,
            "progress": progress_json(self.progress),
            "not_reached": self.not_reached,
            "course": _course_json(self.timeline),
            "forecast": _course_json(self.foretold) if self.foretold else None,
            "delivery_times": _histogram_json(counts.delivery_times),
            "on_phone_times": _histogram_json(counts.on_phone.times),
            "events": [_struck_json(one) for one in self.struck],
            "workers": [_worker_json(part) for part in self.workers],
            "audit": self.audit.to_json(),
            "configuration": self.run.simulation.model_dump(mode="json"),
            "versions": self.versions,
        }


def make_report(
    settings: Settings, ledger: Ledger, run: Run, clock: Clock = MACHINE_CLOCK
) -> RunReport:
    """Make a report; of a run that goes on, as it is now.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    progress = Reader(ledger, run, clock=clock).read_decided().progress
    with ledger.reading() as connection:
        counters = Records(connection, run).counters()
        database = connection.dialect.name, connection.dialect.server_version_info or ()
    return RunReport(
        run=run,
        progress=progress,
        timeline=timeline(ledger, run, BINS),
        workers=_workers(counters, ledger.all_workers()),
        audit=audit_run(settings, ledger, run),
        versions=_versions(run, *database),
        made_at=clock.wall(),
        struck=_struck(ledger, run),
        foretold=foretold(ledger, run, BINS),
    )


def _struck(ledger: Ledger, run: Run) -> tuple[Struck, ...]:
    """What went wrong so far, and how long the run took to recover."""
    events = run.simulation.events
    if not events:
        return ()
    course = timeline(ledger, run, RECOVERY_BINS)
    delivered = [one.delivered for one in course.bins]
    spans = [(event, course.origin + event.at, course.origin + event.end) for event in events]
    return tuple(
        Struck(event, start, end, time_to_recover(delivered, course.width, start, end))
        for event, start, end in spans
        if start < course.seconds
    )


def _struck_json(one: Struck) -> dict[str, Any]:
    return {
        **one.event.model_dump(mode="json"),
        "start": round(one.start, 3),
        "end": round(one.end, 3),
        "time_to_recover": None if one.recovered is None else round(one.recovered, 3),
    }


def as_json(report: RunReport) -> str:
    """One JSON object, indented."""
    return json.dumps(report.to_json(), indent=2) + "\n"


def as_csv(report: RunReport) -> str:
    """The course of the run, a row for each bin."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    course = report.timeline
    writer.writerow(("second", *Bin._fields, "reached"))
    for start, one, reached in zip(course.starts, course.bins, course.reached, strict=True):
        writer.writerow((number(start), *one, number(round(reached, 6))))
    return text.getvalue()


def _histogram_json(times: Mapping[int, int]) -> dict[str, int]:
    return {str(bucket): times[bucket] for bucket in sorted(times)}


def _course_json(course: Timeline) -> dict[str, Any]:
    return {
        "width": course.width,
        "seconds": round(course.seconds, 3),
        "time_to_reach": {
            number(share): None if seconds is None else round(seconds, 3)
            for share, seconds in course.time_to_reach.items()
        },
        "bins": [one._asdict() for one in course.bins],
    }


def _workers(counters: list[CounterRow], rows: list[WorkerRow]) -> tuple[WorkerPart, ...]:
    by_key = {(row.profile, row.id): row for row in rows}
    return tuple(
        WorkerPart(counts, by_key.get((counts.profile, counts.worker))) for counts in counters
    )


def _worker_json(part: WorkerPart) -> dict[str, Any]:
    row = part.row
    return {
        "id": part.counts.worker,
        "host": part.host,
        "profile": part.counts.profile,
        "senders": row.senders if row else None,
        "mean_time": row.mean_time if row else None,
        "failure_rate": row.failure_rate if row else None,
        "joined_at": iso(row.joined_at) if row else None,
        "left_at": iso(row.left_at) if row else None,
        "settlements": part.counts.settlements,
        "attempts": part.counts.attempts,
        "delivered": part.counts.delivered,
        "failed": part.counts.failed,
    }


def _versions(run: Run, database: str, numbers: tuple[Any, ...]) -> dict[str, str]:
    shown = ".".join(str(number) for number in numbers)
    return {
        **{name: version(name) for name in PACKAGES},
        "Python": platform.python_version(),
        "database": f"{_DATABASES[database]} {shown}",
        "broker": "inside the process" if run.embedded else "RabbitMQ",
    }
