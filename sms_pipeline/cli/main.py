"""The `sms-pipeline` command. Heavy modules are imported by the commands that need them."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import Any

import click

from sms_pipeline import __version__
from sms_pipeline.cli import (
    calibrate,
    configure,
    ending,
    inspect,
    measure,
    predict,
    recipients,
    start,
    steer,
    watch,
)
from sms_pipeline.cli.doctor.command import doctor
from sms_pipeline.cli.ending import described
from sms_pipeline.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TERMINATED,
    PipelineError,
    Terminated,
)

#: Longer than any summary of a command: the help breaks lines, and cuts nothing.
_WHOLE = 1_000


class Commands(click.Group):
    """Turns errors into one line on stderr and an exit code; lists commands by section."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return [str(command.name) for commands in SECTIONS.values() for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Group.format_commands`."""
        widest = max(map(len, self.commands))
        for title, commands in SECTIONS.items():
            rows = [
                (str(command.name).ljust(widest), command.get_short_help_str(_WHOLE))
                for command in commands
            ]
            with formatter.section(title):
                formatter.write_dl(rows)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """See `click.Group.main`."""
        work = partial(super().main, *args, standalone_mode=False, **extra)
        if not standalone_mode:
            return work()
        sys.exit(ending.exit_code(work))

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group.invoke`."""
        try:
            return super().invoke(ctx)
        except Terminated:
            ctx.exit(EXIT_TERMINATED)
        except KeyboardInterrupt:
            # Before click sees it, which knows one code for all that goes wrong.
            ctx.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise PipelineError(f"'{ctx.invoked_subcommand}' failed: {described(error)}") from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
      CELERY_BROKER_URL   the broker; without it: inside the process
      SMS_DATABASE_URL    the ledger; default sqlite:///sms_pipeline.db
      SMS_CONFIG          the YAML file with the profiles
      SMS_LOG_LEVEL       DEBUG, INFO, WARNING, ERROR or CRITICAL

    If something does not work: sms-pipeline doctor

    RUN is a number that 'runs' lists; without one it is the latest.

    \b
    Exit codes:
      0  done                               3  a threshold was missed
      1  broker, ledger or output failed    4  the audit found problems
      2  wrong option, file or run          5  the audited run is not finished
    """
    # `context.read_settings` reads the option, once a command needs it.


#: In the order in which they are used.
SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Configure": (
        configure.init,
        configure.validate,
        configure.schema,
    ),
    "Look ahead": (
        predict.forecast,
        predict.plan,
        measure.measure,
        calibrate.calibrate,
        doctor,
    ),
    "Start": (
        recipients.recipients,
        start.run,
        start.produce,
        start.resume,
    ),
    "Watch": (
        watch.monitor,
        watch.dashboard,
        inspect.runs,
        inspect.senders,
    ),
    "Steer": (
        steer.pause,
        steer.go_on,
        steer.cancel,
    ),
    "Look back": (
        inspect.audit,
        inspect.failures,
        inspect.trace,
        inspect.report,
        inspect.compare,
    ),
}
for commands in SECTIONS.values():
    for command in commands:
        cli.add_command(command)


def _terminate(_number: int, _frame: object) -> None:
    # Only once: a second signal ends the process at once.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def main() -> None:
    """Entry point of the `sms-pipeline` script."""
    # So that the terminal gets its cursor back, and the summary is shown.
    signal.signal(signal.SIGTERM, _terminate)
    ending.require_output()
    cli(prog_name="sms-pipeline")
    raise SystemExit(EXIT_OK)


if __name__ == "__main__":
    main()
