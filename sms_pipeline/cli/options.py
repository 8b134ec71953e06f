"""Options and arguments that commands share. No heavy imports: the help must come at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import click

from sms_pipeline.cli import completion
from sms_pipeline.config.option_types import TIME
from sms_pipeline.core.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

#: The numbers that a run can have.
RUN_NUMBER = click.IntRange(1, 2**31 - 1)
_UNLIMITED = "unlimited"
_AUTO = "auto"


class SimulationOptions(TypedDict):
    """The values of `simulation_options`; None if an option was not given."""

    messages: int | None
    seed: int | None
    batch_size: str | None
    routing: str | None
    max_attempts: str | None
    name: str | None
    tags: tuple[str, ...]
    rate: str | None
    urgent: bool
    recipients: Path | None
    column: str | None
    text: str | None


run_argument = click.argument(
    "run_id",
    metavar="[RUN]",
    type=RUN_NUMBER,
    required=False,
    shell_complete=completion.runs,
)
config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="YAML file; default: SMS_CONFIG, else the built-in profiles.",
)
threshold_option = click.option(
    "--threshold",
    "checks",
    multiple=True,
    metavar="CHECK",
    shell_complete=completion.metrics,
    help="A limit that the run must keep, as in 'p95 delivery < 30s'. Repeat for more. "
    "A command that sees one missed ends with exit code 3.",
)
to_option = click.option(
    "--to",
    metavar="failed:RUN|delivered:RUN",
    help="Only to those whose message of an earlier run failed or expired, or was delivered; "
    "a cancelled one is neither.",
)
every_option = click.option(
    "--every",
    type=TIME,
    help="Between updates: seconds, or 500ms, 1m.  [default: report_period of the run, which is 2 "
    "unless set]",
)
verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="In a pipe: all figures in every update, and those of each profile.",
)
_SIMULATION = (
    click.option("-n", "--messages", type=int, help="Messages to send.  [default: 1000]"),
    click.option(
        "--recipients",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Who they go to: CSV or Parquet with a header.",
    ),
    click.option("--column", help="The column of FILE with the numbers.  [default: to]"),
    click.option("--text", help="What they say, as in 'Evacuate {zone} now.'"),
    click.option("--seed", type=int, help="The same seed makes the same numbers and texts."),
    click.option(
        "--batch-size",
        help="Messages per task, 1 to 20000, or auto.",
        shell_complete=completion.words(_AUTO),
    ),
    click.option(
        "--routing",
        help="adaptive (follow the backlog) or static.",
        shell_complete=completion.routings,
    ),
    click.option(
        "--max-attempts",
        help="Attempts at each message: 1, 2, …, or unlimited.",
        shell_complete=completion.words(_UNLIMITED),
    ),
    click.option(
        "--rate", help="Messages dispatched per second at most, as in 500/s, 10k/s or 600/min."
    ),
    click.option("--urgent", is_flag=True, help="Let workers take it before other runs."),
    click.option("--name", help="What to call the run."),
    click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="KEY=VALUE",
        help="A word to tell runs by, as in region=north. Repeat for more.",
    ),
)


def simulation_options(command: Command) -> Command:
    """Add the options that change what is rehearsed."""
    for option in reversed(_SIMULATION):
        command = option(command)
    return command


#: The option that sets a key of the configuration.
OPTION_OF = {
    "report_period": "--every",
    "num_messages": "--messages",
    "recipients.file": "--recipients",
    "recipients.column": "--column",
    "recipients.only": "--to",
    "text": "--text",
    "seed": "--seed",
    "batch_size": "--batch-size",
    "routing": "--routing",
    "rate": "--rate",
    "urgent": "--urgent",
    "retry.max_attempts": "--max-attempts",
    "name": "--name",
    "tags": "--tag",
}


def overrides(options: SimulationOptions | None, every: float | None) -> dict[str, Any]:
    """The options that were given, by the configuration key that each overrides.

    Raises:
        ConfigError: a tag has no value.
    """
    found: dict[str, Any] = {"report_period": every}
    if options:
        found |= {
            "num_messages": options["messages"],
            "seed": options["seed"],
            "batch_size": _number_or_word(options["batch_size"]),
            "routing": options["routing"],
            "rate": options["rate"],
            "urgent": options["urgent"] or None,
            "retry": _retry(options["max_attempts"]),
            "name": options["name"],
            "tags": _tags(options["tags"]),
            "recipients": _recipients(options["recipients"], options["column"]),
            "text": options["text"],
        }
    return {key: value for key, value in found.items() if value is not None}


def _recipients(file: Path | None, column: str | None) -> dict[str, str] | None:
    given = {"file": None if file is None else str(file), "column": column}
    return {key: value for key, value in given.items() if value is not None} or None


def _tags(given: tuple[str, ...]) -> dict[str, str] | None:
    found = {}
    for tag in given:
        key, equals, value = tag.partition("=")
        if not equals:
            raise ConfigError(f"--tag: must be KEY=VALUE, got {tag!r}")
        found[key] = value
    return found or None


def _retry(max_attempts: str | None) -> dict[str, Any] | None:
    if max_attempts is None:
        return None
    unlimited = max_attempts == _UNLIMITED
    return {"max_attempts": None if unlimited else _number_or_word(max_attempts)}


def _number_or_word(text: str | None) -> int | str | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return text
