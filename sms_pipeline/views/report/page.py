"""Writes reports. The HTML page is complete: it has no scripts and makes no requests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tornado.template import Loader

from sms_pipeline.config.files import dotted
from sms_pipeline.config.reading import shown
from sms_pipeline.core.counts import how_many, of_messages
from sms_pipeline.core.parts import parts_per_message
from sms_pipeline.core.progress import Progress
from sms_pipeline.views.course import make_course
from sms_pipeline.views.format import (
    count,
    duration,
    event_text,
    exact_percent,
    exact_seconds,
    mean_parts,
    message_time,
    moment,
    money,
    percent,
    rate,
    run_title,
    setting,
    tag_list,
)
from sms_pipeline.views.output import say, write, write_file
from sms_pipeline.views.parts import parts_sent
from sms_pipeline.views.percentiles import percentiles, percentiles_on_phone
from sms_pipeline.views.report import charts
from sms_pipeline.views.report.document import RunReport, Struck, as_csv, as_json
from sms_pipeline.views.states import lost_time, notices

TEMPLATES = Path(__file__).parent / "templates"
#: The page lists so many workers and counts the others …
MAX_WORKERS = 100
#: … and so many problems that the audit found.
MAX_PROBLEMS = 20


def save(report: RunReport, kind: str, path: Path | None) -> None:
    """Write the report as `kind` (html, json or csv) to `path`; None is stdout.

    Raises:
        ConfigError: the file can't be written.
    """
    content = KINDS[kind](report).encode()
    if path is None:
        write(content, newline=False)
        return
    write_file(path, content)
    say(f"Wrote {shown(path)} ({count(len(content) / _KILO)} kB).")


#: Bytes.
_KILO = 1_000


def as_html(report: RunReport) -> str:
    """The page."""
    simulation, counts = report.run.simulation, report.progress.counts
    course = make_course(
        report.timeline, report.progress.seconds, counts, simulation.events, report.foretold
    )
    page = Loader(str(TEMPLATES)).load("report.html")
    content: bytes = page.generate(
        report=report,
        progress=report.progress,
        counts=counts,
        timeline=report.timeline,
        charts={
            "Reach over time": charts.reach(course),
            "Throughput": charts.throughput(course),
            "Delivery times": charts.delivery_times(course),
            "On the phone": charts.on_phone_times(course),
        },
        settings=[
            (key, setting(value))
            for key, value in dotted(simulation.model_dump(mode="json", exclude=_ELSEWHERE))
        ],
        versions=" · ".join(f"{name} {number}" for name, number in report.versions.items()),
        max_workers=MAX_WORKERS,
        max_problems=MAX_PROBLEMS,
        **_WORDS,
    )
    return content.decode()


def headline(progress: Progress) -> str:
    """The one sentence for readers who read no further."""
    total, time = of_messages(progress.total), duration(progress.seconds)
    if not progress.done:
        return f"Not done yet: {percent(progress.reached)} of {total} reached after {time}"
    if progress.counts.delivered == progress.total:
        return f"All {total} reached in {time}"
    return f"{percent(progress.reached)} of {total} reached in {time}"


def recovery_text(one: Struck) -> str:
    """How long the run took to recover from an event."""
    if one.recovered is None:
        return "not recovered before the end, or nothing to compare with"
    return f"recovered {duration(one.recovered)} after its end" if one.recovered else "not felt"


#: Keys of the configuration that the page shows elsewhere.
_ELSEWHERE = {"senders", "thresholds", "seed", "events"}
#: What writes a report, by the name of its format.
KINDS: dict[str, Callable[[RunReport], str]] = {"html": as_html, "json": as_json, "csv": as_csv}


#: Functions of the templates.
_WORDS: dict[str, Callable[..., object]] = {
    "headline": headline,
    "mean_parts": mean_parts,
    "parts_sent": parts_sent,
    "parts_per_message": parts_per_message,
    "run_title": run_title,
    "tag_list": tag_list,
    "notices": notices,
    "lost_time": lost_time,
    "count": count,
    "how_many": how_many,
    "of_messages": of_messages,
    "message_time": message_time,
    "duration": duration,
    "event_text": event_text,
    "recovery_text": recovery_text,
    "percent": percent,
    "percentiles": percentiles,
    "percentiles_on_phone": percentiles_on_phone,
    "exact_percent": exact_percent,
    "exact_seconds": exact_seconds,
    "rate": rate,
    "moment": moment,
    "money": money,
}
