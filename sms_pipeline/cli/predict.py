"""Commands that look ahead; they need no broker, and a ledger only to keep what they see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from sms_pipeline.cli import completion, context
from sms_pipeline.cli.measure import measured
from sms_pipeline.cli.options import (
    SimulationOptions,
    config_option,
    simulation_options,
    threshold_option,
)
from sms_pipeline.config.option_types import RUN_TIME
from sms_pipeline.core.errors import EXIT_THRESHOLD, ConfigError, ThresholdMissedError

if TYPE_CHECKING:
    from sms_pipeline.config.settings import Settings
    from sms_pipeline.forecast.outlook import Outlook
    from sms_pipeline.forecast.plan import Goal

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
@click.option("--save", is_flag=True, help="Keep it in the ledger, as a run marked forecast.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def forecast(
    config: Path | None,
    config_file: Path | None,
    checks: tuple[str, ...],
    workers: int | None,
    exact: bool,
    save: bool,
    as_json: bool,
    **options: Unpack[SimulationOptions],
) -> None:
    """Tell how long a run will take, in seconds instead of hours.

    The pipeline's own code plays the run on a virtual clock, many times with different seeds. No
    broker is needed, and a ledger only with --save: there it can be shown and compared like any
    other run, and is drawn beside those of the same configuration. A threshold that does not hold
    in nine of ten of these runs is missed, and the exit code is then 3.

    \b
    Examples:
      sms-pipeline forecast
      sms-pipeline forecast alert.yml -n 340000000
      sms-pipeline forecast alert.yml --workers 3 --json
      sms-pipeline forecast alert.yml --threshold "reached 99% < 10m"
      sms-pipeline forecast alert.yml --save
    """
    settings = context.read_settings()
    file = context.one_file(config, config_file, settings)
    simulation = context.read_simulation(file, options, checks)
    from sms_pipeline.config.clock import MACHINE_CLOCK
    from sms_pipeline.core.playable import require_playable
    from sms_pipeline.forecast.costs import COSTS
    from sms_pipeline.forecast.limits import limits_of
    from sms_pipeline.forecast.outlook import FIRST_SEED, look_ahead
    from sms_pipeline.forecast.setting import begun_at
    from sms_pipeline.views.outlook import outlook_json, outlook_lines
    from sms_pipeline.views.output import waiting, write

    require_playable(simulation)
    simulation = begun_at(simulation, MACHINE_CLOCK.wall())
    seed = FIRST_SEED if simulation.seed is None else simulation.seed
    measurement = measured(settings, workers)
    costs = measurement.costs if measurement else COSTS
    with waiting("Simulating runs …"):
        outlook = look_ahead(simulation, workers, seed, exact, costs)
    with waiting("Looking for what holds it up …"):
        limits = limits_of(simulation, workers, costs, outlook.end.middle, outlook.ends)
    if as_json:
        write(json.dumps(outlook_json(outlook, limits, measurement)))
    else:
        write("\n".join(outlook_lines(outlook, limits, measurement)))
    if save:
        _save(settings, outlook, seed)
    if outlook.missed:
        listed = "; ".join(
            f"{one.judgement.check.text} ({one.judgement.seen_text}, held in {one.held} of "
            f"{one.runs} simulated runs)"
            for one in outlook.missed
        )
        raise ThresholdMissedError(f"threshold will be missed: {listed}")


def _save(settings: Settings, outlook: Outlook, seed: int) -> None:
    from sms_pipeline.forecast.saving import as_forecast, records_of
    from sms_pipeline.views.output import say

    ledger = context.open_ledger(settings)
    run = ledger.start_run(as_forecast(outlook.simulation), seed, outlook.workers is None)
    rows, settlements = records_of(outlook, run)
    ledger.record_batches(run.id, rows)
    ledger.settle(settlements)
    say(f"Saved as run {run.id}. Show it: sms-pipeline report {run.id}")


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@config_option
@simulation_options
@click.option("--within", required=True, type=RUN_TIME, help="How long it may take: 90s, 10m, 2h.")
@click.option(
    "--share",
    default="99%",
    show_default=True,
    metavar="PERCENT",
    help="How many of the messages must be delivered by then.",
)
@click.option(
    "--profile",
    "grow",
    help="Change only the number of these senders.",
    shell_complete=completion.profiles,
)
@workers_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the configuration with the chosen fleet to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(
    config: Path | None,
    config_file: Path | None,
    within: float,
    share: str,
    grow: str | None,
    workers: int | None,
    output: Path | None,
    as_json: bool,
    **options: Unpack[SimulationOptions],
) -> None:
    """Tell how many senders it takes to be done in time.

    Keeps the configured mix of profiles, and looks for the smallest fleet with which every
    simulated run is in time, with 3 % in hand. If none is, says why, and ends with exit code 3.

    \b
    Examples:
      sms-pipeline plan --within 10m -n 1000000
      sms-pipeline plan alert.yml --within 2m --share 90% -o fleet.yml
      sms-pipeline plan alert.yml --within 10m --profile rural
    """
    settings = context.read_settings()
    goal = _goal(share, within)
    file = context.one_file(config, config_file, settings)
    simulation = context.read_simulation(file, options, ())
    from sms_pipeline.config.clock import MACHINE_CLOCK
    from sms_pipeline.forecast.costs import COSTS
    from sms_pipeline.forecast.plan import make_plan
    from sms_pipeline.forecast.setting import begun_at
    from sms_pipeline.views.output import say, waiting, write, write_file
    from sms_pipeline.views.plan import fleet_yaml, plan_json, plan_lines

    measurement = measured(settings, workers)
    costs = measurement.costs if measurement else COSTS
    simulation = begun_at(simulation, MACHINE_CLOCK.wall())
    with waiting("Simulating fleets …"):
        found = make_plan(simulation, goal, grow, workers, costs)
    write(json.dumps(plan_json(found)) if as_json else "\n".join(plan_lines(found)))
    if found.chosen is None:
        click.get_current_context().exit(EXIT_THRESHOLD)
    if output:
        write_file(output, fleet_yaml(found.chosen, goal).encode())
        say(f"Wrote {output}.")


def _goal(share: str, within: float) -> Goal:
    from sms_pipeline.core.checks import BadCheckError, parse
    from sms_pipeline.forecast.plan import Goal

    try:
        check = parse(f"reached {share} < 1s")
    except BadCheckError:
        raise ConfigError(
            f"--share: must be above 0% and at most 100%, as in 99%, got {share!r}"
        ) from None
    return Goal(check.share or 1.0, within)
