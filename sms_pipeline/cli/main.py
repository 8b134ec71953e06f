"""The `sms-pipeline` command. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import click

from sms_pipeline import __version__
from sms_pipeline.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TERMINATED,
    NeedsBrokerError,
    PipelineError,
    Terminated,
    ThresholdMissedError,
)

if TYPE_CHECKING:
    from sms_pipeline.config.settings import Settings
    from sms_pipeline.core.records import Run
    from sms_pipeline.core.simulation import Simulation
    from sms_pipeline.ledger.store import Ledger


class _Commands(click.Group):
    """Ends with the error's own exit code, and with one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except Terminated:
            ctx.exit(EXIT_TERMINATED)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            raise
        except OSError as error:
            click.echo(f"Error: the output can't be written: {error.strerror}", err=True)
            ctx.exit(EXIT_FAILURE)


class _Context(NamedTuple):
    """Where things are, and what to rehearse."""

    settings: Settings
    simulation: Simulation


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sms-pipeline")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False),
    help="What to log on stderr; default: SMS_LOG_LEVEL, else WARNING.",
)
def cli(log_level: str | None) -> None:
    """Rehearse a mass SMS alert on Celery and RabbitMQ. Nothing is ever sent to a phone.

    \b
    First steps, no server needed:
      sms-pipeline run
      sms-pipeline run -n 100000 --every 5

    \b
    The same on RabbitMQ, each line in a terminal of its own:
      export CELERY_BROKER_URL=amqp://guest:guest@localhost
      celery -A sms_pipeline worker --profile fast
      sms-pipeline produce -n 10000
      sms-pipeline monitor --every 2

    \b
    Where things are (environment or .env):
      CELERY_BROKER_URL   the broker; none: inside the process
      SMS_DATABASE_URL    the ledger; default sqlite:///sms_pipeline.db
      SMS_CONFIG          the YAML file with the profiles
      SMS_LOG_LEVEL       DEBUG, INFO, WARNING, ERROR or CRITICAL

    RUN is a number that 'runs' lists; without one it is the latest.

    \b
    Exit codes:
      0  done                          3  a threshold was missed
      1  something outside failed      4  the audit found a contradiction
      2  asked for the impossible      5  the audited run has not ended
    """
    # `_settings` reads the option, once a command needs it.


def _config_option(function: Any) -> Any:
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="YAML file; default: SMS_CONFIG, else the built-in profiles.",
    )(function)


def _simulation_options(function: Any) -> Any:
    for option in reversed(
        (
            click.option("-n", "--messages", type=int, help="Messages to send.  [default: 1000]"),
            click.option("--seed", type=int, help="Same seed, same numbers and texts."),
            click.option("--batch-size", help="Messages per task, 1 to 20000, or auto."),
            click.option("--routing", help="adaptive (follow the backlog) or static."),
            click.option("--max-attempts", help="Attempts in all: 1, 2, …, or unlimited."),
        )
    ):
        function = option(function)
    return function


_threshold_option = click.option(
    "--threshold",
    "checks",
    multiple=True,
    metavar="CHECK",
    help="What the run must keep to, as in 'p95 delivery < 30s'; again for more. "
    "Who judges it ends with 3 if it does not.",
)
_every_option = click.option(
    "--every",
    type=float,
    help="Seconds between reports.  [default: what the run was started with, else 2]",
)
#: What the ledger numbers runs with.
_RUN_NUMBER = click.IntRange(1, 2**31 - 1)
_run_argument = click.argument("run_id", metavar="[RUN]", type=_RUN_NUMBER, required=False)


@cli.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@_config_option
@_simulation_options
@_threshold_option
@_every_option
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
@click.option("--echo", is_flag=True, help="Print each SMS with its outcome.")
def run(
    config: Path | None,
    config_file: Path | None,
    checks: tuple[str, ...],
    every: float | None,
    as_json: bool,
    echo: bool,
    **options: Any,
) -> None:
    """Rehearse everything in one process: producer, worker and monitor.

    Without CELERY_BROKER_URL the broker is inside the process, too.

    \b
    Examples:
      sms-pipeline run
      sms-pipeline run alert.yml --messages 50000 --every 5
      sms-pipeline run --seed 1 --json | tail -1
      sms-pipeline run --threshold "failed < 1%" --threshold "reached 99% < 2m"
    """
    context = _context(config or config_file, every, options, checks)
    from sms_pipeline.cli.rehearsal import run_all
    from sms_pipeline.views.display import PlainView, SummaryJsonView, make_view
    from sms_pipeline.views.echo import Echo

    view = make_view(False, _terminal())
    if as_json or echo:
        # The messages, or the object at the end, have stdout for themselves.
        view = SummaryJsonView() if as_json else PlainView(err=True)
    run_all(context.settings, context.simulation, view, Echo() if echo else None)


@cli.command()
@_config_option
@_simulation_options
@_threshold_option
def produce(config_file: Path | None, checks: tuple[str, ...], **options: Any) -> None:
    """Make messages and dispatch them to the workers' queues; needs a broker.

    Prints the run's number, and ends when the broker has confirmed the last batch. Thresholds are
    kept with the run: 'monitor' judges them.

    \b
    Examples:
      sms-pipeline produce -n 10000
      sms-pipeline produce --config alert.yml --seed 7
    """
    context = _context(config_file, options=options, checks=checks)
    _require_broker(context, "produce")
    from sms_pipeline.cli.rehearsal import produce as dispatch

    dispatch(context.settings, context.simulation)


@cli.command()
@_run_argument
@_threshold_option
@_every_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per report.")
@click.option("--once", is_flag=True, help="One report, then end.")
@click.option("--new", is_flag=True, help="Wait for the next run to start, and watch that.")
@click.option("--forever", is_flag=True, help="Watch run after run, until Ctrl-C.")
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve /metrics for Prometheus, and /healthz; on this machine only, unless HOST is given.",
)
def monitor(
    run_id: int | None,
    checks: tuple[str, ...],
    every: float | None,
    as_json: bool,
    once: bool,
    new: bool,
    forever: bool,
    metrics: str | None,
) -> None:
    """Watch a run (the latest, if none is named) until it is done.

    \b
    Examples:
      sms-pipeline monitor --every 2
      sms-pipeline monitor 3 --once --json
      sms-pipeline monitor --new
      sms-pipeline monitor --forever --metrics 9464
    """
    _refuse_contradictions(run_id, once, new, forever)
    _require_period(every)
    settings = _settings()
    from sms_pipeline.views.display import make_view
    from sms_pipeline.views.monitor import runs_to_watch, watch

    ledger = _ledger(settings)
    with _serving_metrics(settings, run_id, metrics):
        for run in runs_to_watch(ledger, run_id, new, forever):
            watched = _watched(run, checks, every)
            view = make_view(as_json, _terminal())
            with _told_and_forgotten(forever):
                watch(ledger, watched, view, once)


@contextmanager
def _told_and_forgotten(forever: bool) -> Iterator[None]:
    """A missed threshold does not end what goes on for ever."""
    try:
        yield
    except ThresholdMissedError as error:
        if not forever:
            raise
        click.echo(f"Error: {error}", err=True)


def _refuse_contradictions(run_id: int | None, once: bool, new: bool, forever: bool) -> None:
    if new and run_id is not None:
        raise click.UsageError("--new watches the next run, whatever its number: leave out RUN")
    if forever and (once or run_id is not None):
        raise click.UsageError("--forever watches run after run: leave out RUN and --once")


@contextmanager
def _serving_metrics(settings: Settings, run_id: int | None, where: str | None) -> Iterator[None]:
    if where is None:
        yield
        return
    from sms_pipeline.views.metrics.exporter import METRICS_PATH, Exporter, parse_address, serving

    address = parse_address(where, "--metrics")
    with serving(Exporter(_ledger(settings), run_id), address) as served:
        click.echo(f"Metrics: http://{served}{METRICS_PATH}", err=True)
        yield


@cli.command()
def senders() -> None:
    """List the workers that are online, with their senders.

    \b
    Example:
      sms-pipeline senders
    """
    settings = _settings()
    from sms_pipeline.views.lists import list_senders

    list_senders(_ledger(settings))


@cli.command()
def runs() -> None:
    """List the runs of this ledger.

    \b
    Example:
      sms-pipeline runs
    """
    settings = _settings()
    from sms_pipeline.views.lists import list_runs

    list_runs(_ledger(settings))


@cli.command()
@_run_argument
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, for a spreadsheet or a script.")
def failures(run_id: int | None, as_csv: bool) -> None:
    """List who was not reached: messages that failed for good or came too late.

    Cancelled messages are counted, not listed.

    \b
    Examples:
      sms-pipeline failures
      sms-pipeline failures 3 --csv > not-reached.csv
    """
    settings = _settings()
    from sms_pipeline.views.lists import list_failures

    ledger = _ledger(settings)
    list_failures(ledger, ledger.run(run_id), as_csv)


@cli.command()
@_run_argument
@click.option("--follow", is_flag=True, help="Go on until the run is done.")
def trace(run_id: int | None, follow: bool) -> None:
    """Print what happened in a run, in order: dispatches, settlements, retries, workers.

    \b
    Examples:
      sms-pipeline trace
      sms-pipeline trace 3 --follow
    """
    settings = _settings()
    from sms_pipeline.views.trace import trace as print_trace

    ledger = _ledger(settings)
    print_trace(ledger, ledger.run(run_id), follow)


@cli.command()
@_run_argument
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def audit(run_id: int | None, as_json: bool) -> None:
    """Prove from independent records that every message of a run has exactly one fate.

    Ends with 0 when that is proven, 4 when records contradict one another, 5 when the run has not
    ended. Works at any time.

    \b
    Examples:
      sms-pipeline audit
      sms-pipeline audit 3 --json
    """
    settings = _settings()
    from sms_pipeline.ledger.verdict import EXIT_CODES
    from sms_pipeline.views.verdict import audit_run

    ledger = _ledger(settings)
    report = audit_run(settings, ledger, ledger.run(run_id))
    click.echo(json.dumps(report.to_json()) if as_json else "\n".join(report.lines()))
    click.get_current_context().exit(EXIT_CODES[report.verdict])


@cli.command()
@_run_argument
@click.option("-o", "--output", help="File to write; - is stdout.  [default: stdout]")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["html", "json", "csv"]),
    help="Default: by the file's suffix, else html.",
)
def report(run_id: int | None, output: str | None, kind: str | None) -> None:
    """Make a report of a run (the latest, if none is named) to keep or to send.

    As HTML it is one file that needs no network: figures, reach and throughput over time, delivery
    times, profiles, workers, configuration and the audit's verdict. JSON has the same; CSV has the
    course of the run, a row for each stretch of time. A run that goes on is shown as it is now.

    \b
    Examples:
      sms-pipeline report -o report.html
      sms-pipeline report 3 -o report.json
      sms-pipeline report 3 --format csv > course.csv
    """
    path = None if output in (None, "-") else Path(str(output))
    kind = kind or _kind_of(path)
    if kind == "html" and path is None and _terminal():
        raise click.UsageError("an HTML page is not for a terminal; name a file: -o report.html")
    settings = _settings()
    from sms_pipeline.views.report.document import make_report
    from sms_pipeline.views.report.page import save

    ledger = _ledger(settings)
    save(make_report(settings, ledger, ledger.run(run_id)), kind, path)


def _kind_of(path: Path | None) -> str:
    suffix = path.suffix.lower().removeprefix(".") if path else ""
    return suffix if suffix in ("json", "csv") else "html"


@cli.command()
@click.argument("first", metavar="RUN", type=_RUN_NUMBER)
@click.argument("second", metavar="RUN", type=_RUN_NUMBER)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def compare(first: int, second: int, as_json: bool) -> None:
    """Hold two runs against each other: figures, their difference, and what was set otherwise.

    \b
    Examples:
      sms-pipeline compare 3 4
      sms-pipeline compare 3 4 --json
    """
    settings = _settings()
    from sms_pipeline.views.compare import compare as compare_runs
    from sms_pipeline.views.compare import show

    ledger = _ledger(settings)
    show(compare_runs(ledger.run(first), ledger.run(second), ledger), as_json)


@cli.command()
@_run_argument
@click.option("--force", is_flag=True, help="Do not wait until what is not settled must be lost.")
@_threshold_option
@_every_option
def resume(
    run_id: int | None,
    force: bool,
    checks: tuple[str, ...],
    every: float | None,
) -> None:
    """Dispatch again what is not settled, and go on where a killed producer stopped.

    Waits first until queues are empty and nothing moves; what is in truth still under way is
    counted once all the same, but may be sent twice.

    \b
    Examples:
      sms-pipeline resume
      sms-pipeline resume 3 --force
    """
    _require_period(every)
    settings = _settings()
    from sms_pipeline.cli.rehearsal import resume as resume_run
    from sms_pipeline.views.display import make_view

    if checks and not settings.embedded:
        raise click.UsageError("over a broker 'resume' ends before the run: use 'monitor' for it")
    ledger = _ledger(settings)
    view = make_view(False, settings.embedded and _terminal())
    run = _watched(ledger.run(run_id), checks, every)
    resume_run(settings, ledger, run, force, view)


@cli.command()
@_run_argument
def pause(run_id: int | None) -> None:
    """Stop dispatching and sending a run (the latest, if none is named).

    What is in hand is finished.

    \b
    Example:
      sms-pipeline pause 3
    """
    _steer(run_id, "paused")


@cli.command(name="continue")
@_run_argument
def go_on(run_id: int | None) -> None:
    """Go on with a paused run (the latest, if none is named).

    \b
    Example:
      sms-pipeline continue 3
    """
    _steer(run_id, "running")


@cli.command()
@_run_argument
def cancel(run_id: int | None) -> None:
    """End a run (the latest, if none is named) for good.

    What is not sent yet is counted as cancelled.

    \b
    Example:
      sms-pipeline cancel 3
    """
    _steer(run_id, "cancelled")


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
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
    help="Ask for a password to protect the page with. Given here, others may see it in `ps`; "
    "rather set SMS_DASHBOARD_PASSWORD.",
)
@click.option("--read-only", is_flag=True, help="Nobody can pause, continue or cancel here.")
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="A name that the page is reached by."
)
def dashboard(
    host: str,
    port: int,
    password_file: Path | None,
    password: str | None,
    read_only: bool,
    allow_host: tuple[str, ...],
) -> None:
    """Serve a web page of all runs: live figures, charts, and buttons that steer.

    On this machine only, unless --host says otherwise; a password is needed then.

    \b
    Examples:
      sms-pipeline dashboard
      sms-pipeline dashboard --read-only --port 9000
      sms-pipeline dashboard --host 0.0.0.0 --password-file secret.txt
    """
    settings = _settings()
    from sms_pipeline.views.dashboard import read_password, require_packages

    require_packages()
    from sms_pipeline.views.dashboard.access import Door
    from sms_pipeline.views.dashboard.server import serve

    password = password or read_password(password_file) or settings.dashboard_password
    door = Door(host, port, frozenset(allow_host), password, read_only)
    serve(
        partial(_ledger, settings),
        door,
        lambda url: click.echo(f"The dashboard is at {url} (Ctrl-C ends it)"),
    )


def _steer(run_id: int | None, wanted: str) -> None:
    settings = _settings()
    from sms_pipeline.core.records import Control
    from sms_pipeline.ledger.steering import steer

    ledger = _ledger(settings)
    run = ledger.run(run_id)
    click.echo(steer(ledger, run, Control(wanted)))
    if wanted == Control.PAUSED:
        click.echo(f"Go on with: sms-pipeline continue {run.id}")


def _ledger(settings: Settings) -> Ledger:
    from sms_pipeline.ledger.store import Ledger

    return Ledger.open(settings.database_url)


def _require_period(every: float | None) -> None:
    """Refuse what can't be a period before anything is opened."""
    from sms_pipeline.config.files import load_simulation

    load_simulation(None, _overrides({"every": every}))


def _watched(run: Run, checks: tuple[str, ...], every: float | None) -> Run:
    """`run` with the thresholds and the period that the options ask for."""
    from dataclasses import replace

    from sms_pipeline.config.files import override_simulation, with_thresholds

    simulation = override_simulation(run.simulation, _overrides({"every": every}))
    return replace(run, simulation=with_thresholds(simulation, checks))


def _settings() -> Settings:
    """Where things are; what a command needs that rehearses nothing."""
    import logging

    from sms_pipeline.config.settings import load_settings

    settings = load_settings()
    log_level = click.get_current_context().find_root().params["log_level"]
    logging.basicConfig(
        level=(log_level or settings.log_level).upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    return settings


def _context(
    config: Path | None,
    every: float | None = None,
    options: dict[str, Any] | None = None,
    checks: tuple[str, ...] = (),
) -> _Context:
    from sms_pipeline.config.files import load_simulation, with_thresholds

    settings = _settings()
    overrides = _overrides({**(options or {}), "every": every})
    simulation = load_simulation(config or settings.config, overrides)
    return _Context(settings, with_thresholds(simulation, checks))


def _overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Options by the key of the configuration that each one overrides."""
    keys = {"messages": "num_messages", "every": "report_period"}
    given = {keys.get(name, name): value for name, value in options.items() if value is not None}
    if "batch_size" in given:
        given["batch_size"] = _number_or_word(given["batch_size"])
    if "max_attempts" in given:
        attempts = given.pop("max_attempts")
        unlimited = attempts == "unlimited"
        given["retry"] = {"max_attempts": None if unlimited else _number_or_word(attempts)}
    return given


def _number_or_word(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _require_broker(context: _Context, command: str) -> None:
    if context.settings.embedded:
        raise NeedsBrokerError(
            f"'{command}' works together with workers in other terminals and needs a broker: set "
            "CELERY_BROKER_URL=amqp://USER:PASSWORD@HOST, or use 'sms-pipeline run'"
        )


def _terminal() -> bool:
    """Whether stdout is a terminal on which something can be redrawn."""
    # Python has no stdout where the shell closed it.
    stdout: TextIO | None = sys.stdout
    is_terminal = stdout is not None and stdout.isatty()
    return is_terminal and os.environ.get("TERM") not in ("dumb", "unknown")


def _terminate(_number: int, _frame: object) -> None:
    # Once: what follows is the end, and a second signal shall not wait for it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def main() -> None:
    """Entry point of the `sms-pipeline` script."""
    # The terminal gets its cursor back, and the summary is shown.
    signal.signal(signal.SIGTERM, _terminate)
    cli(prog_name="sms-pipeline")
    raise SystemExit(EXIT_OK)
