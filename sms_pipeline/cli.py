"""The `sms-pipeline` command. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click

from sms_pipeline import __version__
from sms_pipeline.errors import EXIT_INTERRUPTED, EXIT_OK, NeedsBrokerError, PipelineError


class _Commands(click.Group):
    """Ends with the error's own exit code, and with one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)


class _Context(NamedTuple):
    """What every command reads: where things are, and what to rehearse."""

    settings: Any
    simulation: Any


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sms-pipeline")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False),
    help="What to log on stderr; default: SMS_LOG_LEVEL, else WARNING.",
)
@click.pass_context
def cli(ctx: click.Context, log_level: str | None) -> None:
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
    """
    ctx.obj = log_level


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
            click.option("--seed", type=int, help="Makes a run repeatable."),
            click.option("--batch-size", help="Messages per task, 1 to 5000, or auto."),
            click.option("--routing", help="adaptive (follow the backlog) or static."),
            click.option("--max-attempts", help="Attempts in all: 1, 2, …, or unlimited."),
        )
    ):
        function = option(function)
    return function


_every_option = click.option("--every", type=float, help="Seconds between reports.  [default: 2]")
_run_argument = click.argument("run_id", metavar="[RUN]", type=int, required=False)


@cli.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@_config_option
@_simulation_options
@_every_option
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
@click.option("--echo", is_flag=True, help="Print each SMS with its outcome.")
@click.pass_obj
def run(
    log_level: str | None,
    config: Path | None,
    config_file: Path | None,
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
    """
    context = _context(log_level, config or config_file, every, options)
    from sms_pipeline.monitor import PlainView, SummaryJsonView, make_view
    from sms_pipeline.run import Echo, run_all

    view = SummaryJsonView() if as_json else PlainView() if echo else make_view(False, _terminal())
    run_all(context.settings, context.simulation, view, Echo() if echo else None)


@cli.command()
@_config_option
@_simulation_options
@click.pass_obj
def produce(log_level: str | None, config_file: Path | None, **options: Any) -> None:
    """Make messages and dispatch them to the workers' queues; needs a broker.

    Prints the run's number, and ends when the broker has confirmed the last batch.

    \b
    Examples:
      sms-pipeline produce -n 10000
      sms-pipeline produce --config alert.yml --seed 7
    """
    context = _context(log_level, config_file, None, options)
    _require_broker(context, "produce")
    from sms_pipeline.dispatch import produce as dispatch

    dispatch(context.settings, context.simulation)


@cli.command()
@_run_argument
@_config_option
@_every_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per report.")
@click.option("--once", is_flag=True, help="One report, then end.")
@click.pass_obj
def monitor(
    log_level: str | None,
    run_id: int | None,
    config_file: Path | None,
    every: float | None,
    as_json: bool,
    once: bool,
) -> None:
    """Watch a run (the latest, if none is named) until it is done.

    \b
    Examples:
      sms-pipeline monitor --every 2
      sms-pipeline monitor 3 --once --json
    """
    context = _context(log_level, config_file, every, {})
    from sms_pipeline.inspect import watch

    watch(context.settings, context.simulation, run_id, as_json, once, _terminal())


def _context(
    log_level: str | None, config: Path | None, every: float | None, options: dict[str, Any]
) -> _Context:
    import logging

    from sms_pipeline.config import load_settings, load_simulation

    settings = load_settings()
    logging.basicConfig(
        level=(log_level or settings.log_level).upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    overrides = _overrides({**options, "every": every})
    return _Context(settings, load_simulation(config or settings.config, overrides))


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
    return click.get_text_stream("stdout").isatty()


def main() -> None:
    """Entry point of the `sms-pipeline` script."""
    cli(prog_name="sms-pipeline")
    raise SystemExit(EXIT_OK)
