"""A report as a file. The HTML page needs nothing else: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from tornado.template import Loader

from sms_pipeline.config.files import dotted
from sms_pipeline.core.progress import Progress
from sms_pipeline.errors import ConfigError
from sms_pipeline.views import lines
from sms_pipeline.views.report import charts
from sms_pipeline.views.report.document import RunReport, as_csv, as_json

TEMPLATES = Path(__file__).parent / "templates"
#: Workers that are listed; of a large fleet the others are counted.
MAX_WORKERS = 100
#: Of the audit's problems.
MAX_PROBLEMS = 20


def save(report: RunReport, kind: str, path: Path | None) -> None:
    """Write it as `kind` (html, json or csv) to `path`, over what is there; None is stdout.

    Raises:
        ConfigError: the file can't be written.
    """
    content = _KINDS[kind](report).encode()
    if path is None:
        click.echo(content, nl=False)
        return
    try:
        path.write_bytes(content)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: can't be written: {reason}") from error
    click.echo(f"Wrote {path} ({len(content) / _KILO:,.0f} kB).", err=True)


#: Bytes.
_KILO = 1_000


def as_html(report: RunReport) -> str:
    """The page."""
    simulation = report.run.simulation
    page = Loader(str(TEMPLATES)).load("report.html")
    content: bytes = page.generate(
        report=report,
        progress=report.progress,
        counts=report.progress.counts,
        course=report.course,
        charts={
            "Reach over time": charts.reach(report.course),
            "Throughput": charts.throughput(report.course),
            "Delivery times": charts.distribution(report.delivery_times),
        },
        senders={sender.name: sender for sender in simulation.senders},
        settings=[
            (key, _plain(value))
            for key, value in dotted(simulation.model_dump(mode="json", exclude=_ELSEWHERE))
        ],
        versions=" · ".join(f"{name} {number}" for name, number in report.versions.items()),
        max_workers=MAX_WORKERS,
        max_problems=MAX_PROBLEMS,
        **_WORDS,
    )
    return content.decode()


def headline(progress: Progress) -> str:
    """What a reader should know who reads no more."""
    total, time = f"{progress.total:,} messages", charts.duration(progress.seconds)
    if not progress.done:
        return f"Still going on: {share(progress.reached)} of {total} reached after {time}"
    if progress.counts.delivered == progress.total:
        return f"All {total} reached in {time}"
    return f"{share(progress.reached)} of {total} reached in {time}"


#: Of the configuration: they have a table of their own, or stand beside it.
_ELSEWHERE = {"senders", "thresholds", "seed"}
_KINDS: dict[str, Callable[[RunReport], str]] = {"html": as_html, "json": as_json, "csv": as_csv}


def _plain(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "null" if value is None else str(value)


def _optional(show: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: "-" if value is None else show(value)


def share(value: float) -> str:
    """Of 0 to 1. 99.96 % is not shown as all: only all is 100 %."""
    if 0 < value < 1:
        value = min(max(value, _LEAST_SHOWN), 1 - _LEAST_SHOWN)
    return f"{value:.1%}"


#: As a share, what is shown as 0.1 %.
_LEAST_SHOWN = 0.001

#: Functions of the templates.
_WORDS: dict[str, Callable[..., str]] = {
    "headline": headline,
    "number": _optional(lambda value: f"{value:,.0f}"),
    "time": lines.time,
    "duration": _optional(charts.duration),
    "share": _optional(share),
    "moment": lines.date,
}
