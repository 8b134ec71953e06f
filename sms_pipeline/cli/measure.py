"""Measuring this machine, and finding what was measured."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sms_pipeline.cli import context
from sms_pipeline.cli.options import config_option
from sms_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from sms_pipeline.config.settings import Settings
    from sms_pipeline.forecast.measuring import Measurement
    from sms_pipeline.ledger.store import Ledger


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def measure(config: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Measure what this machine takes for messages and batches; forecasts use that.

    A real run of a few seconds in which sending takes no time, with as many failures as are
    configured; through RabbitMQ if CELERY_BROKER_URL is set. It is kept in the ledger.

    \b
    Examples:
      sms-pipeline measure
      sms-pipeline measure alert.yml
    """
    settings = context.read_settings()
    from sms_pipeline.config.files import load_simulation

    planned = load_simulation(config or config_file or settings.config)
    from sms_pipeline.cli.rehearsal import run_here
    from sms_pipeline.forecast.measuring import run_to_measure
    from sms_pipeline.views.display import PlainView
    from sms_pipeline.views.outlook import measurement_json, measurement_line
    from sms_pipeline.views.output import write

    run_here(settings, run_to_measure(planned, machine()), PlainView(err=True))
    found = newest(context.open_ledger(settings), settings.embedded)
    if found is None:
        raise PipelineError("the run that measures has not ended")
    write(json.dumps(measurement_json(found)) if as_json else measurement_line(found))


def machine() -> str:
    """What this machine is called."""
    return platform.node() or "localhost"


def measured(settings: Settings, workers: int | None) -> Measurement | None:
    """What was last measured here, with the broker of the run that is forecast.

    None if nothing was, or if there is no ledger: a forecast does without.
    """
    try:
        ledger = context.read_ledger(settings)
    except PipelineError:
        return None
    return newest(ledger, settings.embedded and workers is None)


def newest(ledger: Ledger, embedded: bool) -> Measurement | None:
    """The newest measurement of this machine."""
    from sms_pipeline.forecast.measuring import MACHINE, Measurement, factor_of
    from sms_pipeline.ledger.measurements import newest_with_tag

    found = newest_with_tag(ledger, MACHINE, machine(), embedded)
    if found is None:
        return None
    run, seconds = found
    factor = factor_of(run.simulation, seconds)
    return Measurement(machine(), run.id, run.started_at, embedded, factor)
