"""The command that makes sender profiles from a provider's delivery log."""

from __future__ import annotations

from pathlib import Path

import click

from sms_pipeline.cli import context

_STDOUT = "-"


@click.command()
@click.argument("log", metavar="LOG.csv", type=click.Path(path_type=Path))
@click.option("-o", "--output", help="File to write; - is stdout.  [default: stdout]")
@click.option(
    "--columns",
    multiple=True,
    metavar="KEY=COLUMN,…",
    help="Names of the columns sent, ended, status and profile; usual names are guessed.",
)
@click.option(
    "--status",
    "words",
    multiple=True,
    metavar="WORD=MEANING",
    help="What a status word means: delivered, failed or pending. Repeat for more.",
)
@click.option(
    "--empirical",
    is_flag=True,
    help="Give profiles the measured send times in place of a gamma distribution.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def calibrate(
    log: Path,
    output: str | None,
    columns: tuple[str, ...],
    words: tuple[str, ...],
    empirical: bool,
    as_json: bool,
) -> None:
    """Make sender profiles from a provider's delivery log, for 'run' to rehearse with.

    The log is a CSV file (UTF-8, also packed by gzip) with a header and a row for each attempt at a
    message: when it was sent, when its receipt came, its status, and the profile, such as the
    carrier. Times are ISO 8601 or seconds since 1970. A log without a column for the profile is one
    profile.

    For each profile it finds the mean and the shape of the send times and the failure rate, with
    their intervals, how many senders were busy at the same time, and the rate of the busiest
    seconds. It warns of missing receipts, of failures that come in bursts, and of send times that
    no gamma distribution describes.

    \b
    Examples:
      sms-pipeline calibrate log.csv -o fleet.yml
      sms-pipeline calibrate log.csv.gz --columns sent=started,ended=receipt,profile=carrier
      sms-pipeline calibrate log.csv --status ARRIVED=delivered --status GONE=failed
      sms-pipeline calibrate log.csv --empirical -o fleet.yml --json
    """
    if as_json and output == _STDOUT:
        raise click.UsageError("--json and '-o -' would both write to stdout; name a file")
    context.read_settings()
    from sms_pipeline.forecast.calibration import calibrate as calibrate_log
    from sms_pipeline.forecast.delivery_log import read_log
    from sms_pipeline.views.calibration import show, tell
    from sms_pipeline.views.fleet_file import save_fleet

    found = calibrate_log(read_log(log, columns, words), empirical)
    path = None if output in (None, _STDOUT) else Path(str(output))
    if path or not as_json:
        save_fleet(found, path)
    if path or as_json:
        show(found, as_json)
    else:
        tell(found)
