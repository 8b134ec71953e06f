"""Measuring this machine, and finding what was measured."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sms_pipeline.cli import context
from sms_pipeline.cli.options import config_option
from sms_pipeline.core.errors import PipelineError

if TYPE_CHECKING:
    from sms_pipeline.config.settings import Settings
    from sms_pipeline.core.simulation import Simulation
    from sms_pipeline.forecast.costs import Costs
    from sms_pipeline.forecast.measuring import Measurement

#: Runs of one message; the first one does not count.
PROBES = 4


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def measure(config: Path | None, config_file: Path | None, as_json: bool) -> None:
    """Measure what this machine takes for messages and batches; forecasts use that.

    Real runs of a few seconds in which sending takes no time, with as many failures as are
    configured; through RabbitMQ if CELERY_BROKER_URL is set. What they took is kept in the ledger.

    \b
    Examples:
      sms-pipeline measure
      sms-pipeline measure alert.yml
    """
    settings = context.read_settings()
    from sms_pipeline.config.files import load_simulation

    planned = load_simulation(context.one_file(config, config_file, settings))
    from sms_pipeline.config.clock import MACHINE_CLOCK
    from sms_pipeline.forecast.measuring import Measurement, by_name, ceiling_of
    from sms_pipeline.ledger.measurements import Measured, keep
    from sms_pipeline.views.measurement import measurement_json, show_measurement
    from sms_pipeline.views.output import write

    costs = _measured_costs(settings, planned)
    found = Measurement(machine(), MACHINE_CLOCK.wall(), settings.embedded, costs)
    kept = Measured(found.at, by_name(costs))
    keep(context.open_ledger(settings), found.machine, found.embedded, kept)
    ceiling = ceiling_of(planned, costs)
    if as_json:
        write(json.dumps(measurement_json(found, ceiling)))
    else:
        show_measurement(found, ceiling)


def _measured_costs(settings: Settings, planned: Simulation) -> Costs:
    from sms_pipeline.cli.trial import trial
    from sms_pipeline.forecast.measuring import PROBE, RUNS, costs_of, run_to_measure
    from sms_pipeline.views.format import count, rate
    from sms_pipeline.views.output import say

    probe = run_to_measure(planned, machine(), *PROBE)
    say(f"Measuring {'without a broker' if settings.embedded else 'with the broker'} …")
    with trial(settings, probe) as here:
        # The first one is slower: much is loaded then.
        probes = [here.probe(probe) for _ in range(PROBES)][1:]
        samples = []
        for messages, batch_size in RUNS:
            sample = here.sample(run_to_measure(planned, machine(), messages, batch_size))
            samples.append(sample)
            done = rate(messages / sample.seconds)
            say(f"batches of {count(batch_size)}: {count(messages)} messages at {done}")
    return costs_of(samples, probes)


def machine() -> str:
    """What this machine is called."""
    return platform.node() or "localhost"


def measured(settings: Settings, workers: int | None) -> Measurement | None:
    """What was last measured here, with the broker of the run that is forecast.

    None if nothing was, or if there is no ledger: a forecast does without.
    """
    from sms_pipeline.forecast.measuring import Measurement, from_names
    from sms_pipeline.ledger.measurements import newest

    embedded = settings.embedded and workers is None
    try:
        found = newest(context.read_ledger(settings), machine(), embedded)
    except PipelineError:
        return None
    if found is None:
        return None
    return Measurement(machine(), found.at, embedded, from_names(found.costs))
