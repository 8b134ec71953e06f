"""Commands that steer a run."""

from __future__ import annotations

import click

from sms_pipeline.cli import context
from sms_pipeline.cli.options import run_argument


@click.command()
@run_argument
def pause(run_id: int | None) -> None:
    """Pause a run (the latest, if none is named).

    Batches that workers have in hand are finished; the others wait.

    \b
    Example:
      sms-pipeline pause 3
    """
    number = _steer(run_id, "paused")
    from sms_pipeline.views.output import write

    write(f"Continue it with: sms-pipeline continue {number}")


@click.command(name="continue")
@run_argument
def go_on(run_id: int | None) -> None:
    """Continue a paused run (the latest, if none is named).

    \b
    Example:
      sms-pipeline continue 3
    """
    _steer(run_id, "running")


@click.command()
@run_argument
def cancel(run_id: int | None) -> None:
    """Cancel a run (the latest, if none is named); this is final.

    Batches that workers have in hand are finished; all other messages are counted as cancelled.

    \b
    Example:
      sms-pipeline cancel 3
    """
    _steer(run_id, "cancelled")


def _steer(run_id: int | None, wanted: str) -> int:
    """Steer a run, tell the user what that means, and return its number."""
    settings = context.read_settings()
    from sms_pipeline.core.records import Control
    from sms_pipeline.ledger.steering import steer
    from sms_pipeline.views.output import write

    ledger = context.open_ledger(settings)
    run = ledger.run(run_id)
    write(steer(ledger, run, Control(wanted)))
    return run.id
