"""Commands that start or resume a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from sms_pipeline.cli import context
from sms_pipeline.cli.options import (
    SimulationOptions,
    config_option,
    every_option,
    run_argument,
    simulation_options,
    threshold_option,
    to_option,
    verbose_option,
)

if TYPE_CHECKING:
    from sms_pipeline.views.display import View


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@config_option
@simulation_options
@threshold_option
@to_option
@every_option
@verbose_option
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on stdout.")
@click.option("--echo", is_flag=True, help="Print each SMS with its outcome.")
def run(
    config: Path | None,
    config_file: Path | None,
    checks: tuple[str, ...],
    to: str | None,
    every: float | None,
    verbose: bool,
    as_json: bool,
    echo: bool,
    **options: Unpack[SimulationOptions],
) -> None:
    """Rehearse everything in one process: producer, worker and monitor.

    Without CELERY_BROKER_URL the broker is inside the process, too.

    \b
    Examples:
      sms-pipeline run
      sms-pipeline run alert.yml --messages 50000 --every 5
      sms-pipeline run --seed 1 --json | tail -1
      sms-pipeline run --recipients people.csv --text "Evacuate {zone} now."
      sms-pipeline run --name "drill 3" --tag region=north
      sms-pipeline run --threshold "failed < 1%" --threshold "reached 99% < 2m"
    """
    settings = context.read_settings()
    file = context.one_file(config, config_file, settings)
    simulation = context.read_simulation(file, options, checks, every, to, settings)
    from sms_pipeline.cli.rehearsal import run_here
    from sms_pipeline.views.output import write
    from sms_pipeline.worker.echo import Echo

    if not echo:
        run_here(settings, simulation, _view(as_json, echo, verbose))
        return
    with Echo(write) as hook:
        run_here(settings, simulation, _view(as_json, echo, verbose), hook)


def _view(as_json: bool, echo: bool, verbose: bool) -> View:
    """With --echo or --json, updates go to stderr."""
    from sms_pipeline.views.display import PlainView, SummaryJsonView, make_view

    if as_json:
        return SummaryJsonView(verbose)
    if echo:
        return PlainView(err=True, verbose=verbose)
    return make_view(False, context.is_terminal(), verbose)


@click.command()
@config_option
@simulation_options
@threshold_option
@to_option
def produce(
    config_file: Path | None,
    checks: tuple[str, ...],
    to: str | None,
    **options: Unpack[SimulationOptions],
) -> None:
    """Make messages and dispatch them to the workers' queues; needs a broker.

    Prints the number of the run, and ends when the broker has confirmed the last batch. Thresholds
    are stored with the run; 'monitor' judges them.

    \b
    Examples:
      sms-pipeline produce -n 10000
      sms-pipeline produce --config alert.yml --seed 7
      sms-pipeline produce --recipients people.csv --text "Evacuate {zone} now."
      sms-pipeline produce --to failed:3 --text "Again: evacuate {zone} now."
      sms-pipeline produce --to delivered:3 --text "All clear. You may go home."
    """
    settings = context.read_settings()
    file = config_file or settings.config
    simulation = context.read_simulation(file, options, checks, to=to, settings=settings)
    why = "'produce' works with workers in other terminals, so it needs a broker"
    settings.require_broker(why, ", or use 'sms-pipeline run'")
    from sms_pipeline.cli.dispatch import produce as dispatch

    dispatch(settings, simulation)


@click.command()
@run_argument
@click.option(
    "--force",
    is_flag=True,
    help="Dispatch at once, without waiting for queues and workers to be quiet.",
)
@click.option(
    "--recipients",
    "moved_to",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the run's file of recipients is now, if it was moved.",
)
@threshold_option
@every_option
@verbose_option
def resume(
    run_id: int | None,
    force: bool,
    moved_to: Path | None,
    checks: tuple[str, ...],
    every: float | None,
    verbose: bool,
) -> None:
    """Dispatch again what is not settled, then what was never dispatched.

    Use it after a producer or a broker was killed. It waits first until the queues are empty and
    workers settle nothing more. A message that is still being sent then may be sent twice, but it
    is counted once.

    \b
    Examples:
      sms-pipeline resume
      sms-pipeline resume 3 --force
    """
    context.require_period(every)
    settings = context.read_settings()
    if checks and not settings.embedded:
        raise click.UsageError(
            "with a broker 'resume' ends before the run does, so it can't judge thresholds: "
            "give them to 'monitor'"
        )
    from sms_pipeline.producer.recovery import require_messages
    from sms_pipeline.views.output import write

    ledger = context.open_ledger(settings)
    resumed = context.with_options(ledger.run(run_id), checks, every)
    if ledger.snapshot(resumed).done and not checks:
        write(f"Run {resumed.id} is done: there is nothing to resume.")
        return
    require_messages(resumed)
    if settings.embedded:
        from sms_pipeline.cli.rehearsal import resume_here
        from sms_pipeline.views.display import make_view

        view = make_view(False, context.is_terminal(), verbose)
        resume_here(settings, ledger, resumed, force, view, moved_to)
    else:
        from sms_pipeline.cli.dispatch import resume_elsewhere

        resume_elsewhere(settings, ledger, resumed, force, moved_to)
