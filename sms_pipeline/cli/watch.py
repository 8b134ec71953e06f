"""Commands that watch runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sms_pipeline.cli import context
from sms_pipeline.cli.options import every_option, run_argument, threshold_option, verbose_option
from sms_pipeline.core.errors import ThresholdMissedError

if TYPE_CHECKING:
    from sms_pipeline.config.settings import Settings

_LOOPBACK = "127.0.0.1"
_DASHBOARD_PORT, _MAX_PORT = 8080, 65_535

#: How the dashboard starts runs; `-P`: no file of the current folder stands in for a module.
THIS_COMMAND = (sys.executable, "-P", "-m", "sms_pipeline.cli.main")

allow_host_option = click.option(
    "--allow-host", multiple=True, metavar="NAME", help="Another host name that leads here."
)


@click.command()
@run_argument
@threshold_option
@every_option
@verbose_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each update.")
@click.option("--once", is_flag=True, help="One update, then end.")
@click.option("--new", is_flag=True, help="Wait for the next run to start, and watch that one.")
@click.option("--forever", is_flag=True, help="Watch run after run, until Ctrl-C.")
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve /metrics for Prometheus, and /healthz; on this machine only, unless HOST is given.",
)
@allow_host_option
def monitor(
    run_id: int | None,
    checks: tuple[str, ...],
    every: float | None,
    verbose: bool,
    as_json: bool,
    once: bool,
    new: bool,
    forever: bool,
    metrics: str | None,
    allow_host: tuple[str, ...],
) -> None:
    """Watch a run (the latest, if none is named) until it is done.

    While there is no run at all, it waits for the first one.

    \b
    Examples:
      sms-pipeline monitor --every 2
      sms-pipeline monitor 3 --once --json
      sms-pipeline monitor --new
      sms-pipeline monitor --forever --metrics 9464
    """
    _refuse_contradictions(run_id, once, new, forever)
    context.require_period(every)
    settings = context.read_settings()
    from sms_pipeline.views.display import make_view
    from sms_pipeline.views.monitor import runs_to_watch, watch

    ledger = context.read_ledger(settings, or_make=not once and run_id is None)
    with _serving_metrics(settings, run_id, metrics, allow_host):
        for run in runs_to_watch(ledger, run_id, new, forever, once):
            watched = context.with_options(run, checks, every)
            view = make_view(as_json, context.is_terminal(), verbose)
            with _going_on(forever):
                watch(ledger, watched, view, once)


@contextmanager
def _going_on(forever: bool) -> Iterator[None]:
    """With `forever`, print that a threshold was missed instead of ending."""
    try:
        yield
    except ThresholdMissedError as error:
        if not forever:
            raise
        from sms_pipeline.views.output import say

        say(f"Error: {error}")


def _refuse_contradictions(run_id: int | None, once: bool, new: bool, forever: bool) -> None:
    if new and run_id is not None:
        raise click.UsageError("--new watches the next run to start: leave out RUN")
    if forever and (once or run_id is not None):
        raise click.UsageError("--forever watches run after run: leave out RUN and --once")


@contextmanager
def _serving_metrics(
    settings: Settings, run_id: int | None, where: str | None, names: tuple[str, ...]
) -> Iterator[None]:
    if where is None:
        yield
        return
    from sms_pipeline.config.address import parse_address
    from sms_pipeline.views.metrics.exporter import METRICS_PATH, Exporter
    from sms_pipeline.views.metrics.server import serving
    from sms_pipeline.views.output import say

    address = parse_address(where, "--metrics")
    exporter = Exporter(context.read_ledger(settings, or_make=True), run_id)
    with serving(exporter, address, names) as served:
        say(f"Metrics: http://{served}{METRICS_PATH}")
        yield


@click.command()
@click.option("--host", default=_LOOPBACK, show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, _MAX_PORT),
    default=_DASHBOARD_PORT,
    show_default=True,
    help="Port to listen on; 0 takes one that is free.",
)
@click.option(
    "--password-file", type=click.Path(path_type=Path), help="File whose first line is a password."
)
@click.option(
    "--password",
    prompt=True,
    prompt_required=False,
    hide_input=True,
    help="Ask for a password that protects the page. A password given here can be seen in `ps`; "
    "better set SMS_DASHBOARD_PASSWORD.",
)
@click.option("--read-only", is_flag=True, help="Let nobody start, pause, continue or cancel.")
@allow_host_option
def dashboard(
    host: str,
    port: int,
    password_file: Path | None,
    password: str | None,
    read_only: bool,
    allow_host: tuple[str, ...],
) -> None:
    """Serve a web page of all runs, with live figures, charts and buttons that start and steer.

    It listens on this machine only, unless --host says otherwise; then a password is required.

    \b
    Examples:
      sms-pipeline dashboard
      sms-pipeline dashboard --read-only --port 9000
      sms-pipeline dashboard --host 0.0.0.0 --password-file secret.txt
    """
    settings = context.read_settings()
    from sms_pipeline.views.dashboard import read_password, require_packages

    require_packages()
    from sms_pipeline.views.dashboard.access import Door
    from sms_pipeline.views.dashboard.server import serve
    from sms_pipeline.views.output import write

    password = password or read_password(password_file) or settings.dashboard_password
    door = Door(host, port, frozenset(allow_host), password, read_only)
    serve(
        partial(context.read_ledger, settings, or_make=True),
        door,
        write,
        settings,
        THIS_COMMAND,
    )
