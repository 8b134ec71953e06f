"""Commands for the configuration: begin one, check it, let an editor know its keys."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sms_pipeline.cli import context
from sms_pipeline.core.errors import ConfigError

_FIRST_FILE = "alert.yml"
file_argument = click.argument(
    "file", type=click.Path(path_type=Path), default=_FIRST_FILE, metavar="[FILE]"
)


@click.command()
@file_argument
def init(file: Path) -> None:
    """Write a configuration to begin with (alert.yml, if no FILE is named); overwrite nothing.

    It has every key, with what it means. The JSON schema that is written beside it, if there is
    none, lets editors that know YAML schemas complete keys and mark mistakes.

    \b
    Examples:
      sms-pipeline init
      sms-pipeline init north.yml
    """
    from sms_pipeline.config.schema import SCHEMA_FILE, configuration_schema
    from sms_pipeline.config.starter import starter_text
    from sms_pipeline.views.output import say, write_new_file

    schema = file.parent / SCHEMA_FILE
    write_new_file(file, starter_text(file.name).encode())
    wrote = f"{file}"
    if not schema.exists():
        write_new_file(schema, _as_text(configuration_schema()).encode())
        wrote += f", and {schema} for editors"
    say(f"Wrote {wrote}. Next: sms-pipeline validate {file}")


@click.command()
@file_argument
def validate(file: Path) -> None:
    """Check a configuration (alert.yml, if no FILE is named), and tell what it means.

    Names every mistake with its line, and ends with exit code 2 if there is one. Otherwise it tells
    what the senders can do, how long the run will take, and whether it will keep its thresholds.

    \b
    Examples:
      sms-pipeline validate
      sms-pipeline validate north.yml
    """
    context.read_settings()
    from sms_pipeline.config.clock import MACHINE_CLOCK
    from sms_pipeline.config.files import load_simulation
    from sms_pipeline.core.playable import require_playable
    from sms_pipeline.forecast.outlook import look_ahead
    from sms_pipeline.forecast.setting import begun_at
    from sms_pipeline.views.meaning import meaning_lines
    from sms_pipeline.views.outlook import brief_lines
    from sms_pipeline.views.output import write

    if file == Path(_FIRST_FILE) and not file.exists():
        raise ConfigError(f"{file}: there is no such file; 'sms-pipeline init' writes one")
    simulation = load_simulation(file)
    try:
        require_playable(simulation)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    # What is known at once is shown at once.
    write("\n".join([f"{file} is valid.", *meaning_lines(simulation)]))
    outlook = look_ahead(begun_at(simulation, MACHINE_CLOCK.wall()))
    write("\n".join([*brief_lines(outlook), f"Rehearse it: sms-pipeline run {file}"]))


@click.command()
def schema() -> None:
    """Print the JSON schema of a configuration, for editors and other programs.

    \b
    Example:
      sms-pipeline schema > sms-pipeline.schema.json
    """
    from sms_pipeline.config.schema import configuration_schema
    from sms_pipeline.views.output import write

    write(_as_text(configuration_schema()), newline=False)


def _as_text(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
