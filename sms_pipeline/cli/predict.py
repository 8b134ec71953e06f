"""Commands that look ahead; they need no broker and no ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Unpack

import click

from sms_pipeline.cli import context
from sms_pipeline.cli.options import (
    SimulationOptions,
    config_option,
    simulation_options,
    threshold_option,
)
from sms_pipeline.errors import ThresholdMissedError

workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    help="Worker processes of each profile, on RabbitMQ.  [default: one process for all, as 'run']",
)


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@config_option
@simulation_options
@threshold_option
@workers_option
@click.option("--exact", is_flag=True, help="Simulate every message, however long that takes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def forecast(
    config: Path | None,
    config_file: Path | None,
    checks: tuple[str, ...],
    workers: int | None,
    exact: bool,
    as_json: bool,
    **options: Unpack[SimulationOptions],
) -> None:
    """Tell how long a run will take, in seconds instead of hours.

    The pipeline's own code plays the run on a virtual clock, many times with different seeds. No
    broker and no ledger are needed. A threshold that does not hold in nine of ten of these runs is
    missed, and the exit code is then 3.

    \b
    Examples:
      sms-pipeline forecast
      sms-pipeline forecast alert.yml -n 340000000
      sms-pipeline forecast alert.yml --workers 3 --json
      sms-pipeline forecast alert.yml --threshold "reached 99% < 10m"
    """
    settings = context.read_settings()
    file = config or config_file or settings.config
    simulation = context.read_simulation(file, options, checks)
    from sms_pipeline.forecast.limits import limits_of
    from sms_pipeline.forecast.outlook import FIRST_SEED, look_ahead
    from sms_pipeline.views.outlook import outlook_json, outlook_lines
    from sms_pipeline.views.output import write
    from sms_pipeline.worker.in_hand import require_playable

    require_playable(simulation)
    seed = FIRST_SEED if simulation.seed is None else simulation.seed
    outlook = look_ahead(simulation, workers, seed, exact)
    limits = limits_of(outlook)
    if as_json:
        write(json.dumps(outlook_json(outlook, limits)))
    else:
        write("\n".join(outlook_lines(outlook, limits)))
    if outlook.missed:
        listed = "; ".join(
            f"{one.judgement.check.text} ({one.judgement.seen_text}, held in {one.held} of "
            f"{outlook.runs} simulated runs)"
            for one in outlook.missed
        )
        raise ThresholdMissedError(f"threshold will be missed: {listed}")
