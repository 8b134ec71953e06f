"""The command that checks what a run will meet."""

from __future__ import annotations

from pathlib import Path

import click

from sms_pipeline.cli import context
from sms_pipeline.cli.options import config_option
from sms_pipeline.core.errors import EXIT_FAILURE


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(config_file: Path | None, as_json: bool) -> None:
    """Check what a run will meet here, and say the remedy for what would disturb it.

    It tries things out: it sends a message of its own through the broker, with a delay, commits to
    the database, and starts threads. Nothing of that stays, and the queues and the ledger of your
    runs are not touched. Without CELERY_BROKER_URL it checks what 'run' needs.

    Ends with 0, or with 1 if there is at least one fault. It takes about ten seconds.

    \b
    Examples:
      sms-pipeline doctor
      sms-pipeline doctor --config alert.yml
      sms-pipeline doctor --json
    """
    settings = context.read_settings()
    from sms_pipeline.cli.doctor.check import is_healthy
    from sms_pipeline.cli.doctor.checklist import show, show_json
    from sms_pipeline.cli.doctor.checkup import subjects_of
    from sms_pipeline.cli.doctor.examination import examine

    subjects = subjects_of(settings, config_file or settings.config)
    checks = examine(subjects)
    if as_json:
        made = show_json(checks)
    else:
        names = (step.name for steps in subjects for step in steps)
        made = show(checks, names, context.is_terminal())
    if not is_healthy(made):
        click.get_current_context().exit(EXIT_FAILURE)
