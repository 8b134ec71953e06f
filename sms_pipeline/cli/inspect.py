"""Commands that show what the ledger holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sms_pipeline.cli import completion, context
from sms_pipeline.cli.options import RUN_NUMBER, run_argument

if TYPE_CHECKING:
    from sms_pipeline.core.records import Run
    from sms_pipeline.ledger.store import Ledger

#: Formats of a report; the first is the default for files of any other suffix.
_KINDS = ("html", "json", "csv")
_STDOUT = "-"
#: A seal, or enough of it to tell it from others.
_SEAL = re.compile("[0-9a-fA-F]{8,64}")


recipients_option = click.option(
    "--recipients",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The run's file of recipients, to show their numbers: the ledger has none.",
)
json_lines_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on each line."
)
watch_option = click.option(
    "--watch", is_flag=True, help="Show the list again every two seconds, until Ctrl-C."
)


@click.command()
@watch_option
@json_lines_option
def senders(watch: bool, as_json: bool) -> None:
    """List the workers that are online, with their senders.

    \b
    Examples:
      sms-pipeline senders
      sms-pipeline senders --watch
    """
    settings = context.read_settings()
    from sms_pipeline.views.lists import list_senders

    ledger = context.read_ledger(settings)
    context.show_list(lambda: list_senders(ledger, as_json=as_json), watch)


@click.command()
@watch_option
@json_lines_option
def runs(watch: bool, as_json: bool) -> None:
    """List the runs of this ledger.

    \b
    Examples:
      sms-pipeline runs
      sms-pipeline runs --watch
      sms-pipeline runs --json | jq .average_rate
    """
    settings = context.read_settings()
    from sms_pipeline.views.lists import list_runs

    ledger = context.read_ledger(settings)
    context.show_list(lambda: list_runs(ledger, as_json=as_json), watch)


@click.command()
@run_argument
@click.option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="As CSV, for a spreadsheet: an apostrophe stands before what it would take for a formula, "
    "as in '+15551234567.",
)
@json_lines_option
@recipients_option
def failures(run_id: int | None, as_csv: bool, as_json: bool, file: Path | None) -> None:
    """List the messages of a run that were not reached: failed or expired.

    Cancelled messages are counted, not listed.

    \b
    Examples:
      sms-pipeline failures
      sms-pipeline failures 3 --csv > not-reached.csv
      sms-pipeline failures 3 --csv --recipients people.csv > not-reached.csv
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json can't be used together")
    settings = context.read_settings()
    from sms_pipeline.ledger.forecasts import require_sent
    from sms_pipeline.views.lists import list_failures

    ledger = context.read_ledger(settings)
    run = ledger.run(run_id)
    require_sent(run)
    list_failures(ledger, run, as_csv, _numbers(ledger, run, file), as_json)


def _numbers(ledger: Ledger, run: Run, file: Path | None) -> Callable[[int], str] | None:
    if file is None:
        return None
    from sms_pipeline.producer.messages import messages_of

    messages = messages_of(ledger, run, file)
    return lambda index: messages.take(index, 1)().to


@click.command()
@run_argument
@click.option("--follow", is_flag=True, help="Go on until the run is done.")
@click.option(
    "--message",
    "index",
    type=int,
    metavar="N",
    help="Only what became of message N: 0 is the first, 'failures' names those not reached.",
)
def trace(run_id: int | None, follow: bool, index: int | None) -> None:
    """Print what happened in a run, in order: dispatches, settlements, retries, workers.

    \b
    Examples:
      sms-pipeline trace
      sms-pipeline trace 3 --follow
      sms-pipeline trace 3 --message 1234
    """
    if follow and index is not None:
        raise click.UsageError("--message shows what is known now: leave out --follow")
    settings = context.read_settings()
    from sms_pipeline.ledger.forecasts import require_sent
    from sms_pipeline.views.trace import trace as print_trace
    from sms_pipeline.views.trace import trace_message

    ledger = context.read_ledger(settings)
    run = ledger.run(run_id)
    require_sent(run)
    if index is None:
        print_trace(ledger, run, follow)
    else:
        trace_message(ledger, run, index)


def _seal(_context: click.Context, _option: click.Parameter, noted: str | None) -> str | None:
    if noted is not None and not _SEAL.fullmatch(noted):
        raise click.BadParameter("must be 8 to 64 hexadecimal digits")
    return noted


@click.command()
@run_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--seal",
    "noted",
    metavar="HEX",
    callback=_seal,
    help="A seal of the run that was noted earlier, or its first 8 digits or more: it must be the "
    "same now.",
)
@click.option(
    "--maybe-twice",
    is_flag=True,
    help="List instead who may have got a message twice, after a crash or 'resume'.",
)
@click.option("--csv", "as_csv", is_flag=True, help="With --maybe-twice: as CSV.")
@recipients_option
def audit(
    run_id: int | None,
    as_json: bool,
    noted: str | None,
    maybe_twice: bool,
    as_csv: bool,
    file: Path | None,
) -> None:
    """Prove from independent records that every message of a run has exactly one fate.

    Ends with 0 when that is proven, with 4 when it found problems, and with 5 when the run is not
    finished. It works at any time. Of a run that has ended it prints the seal: note it elsewhere,
    and --seal tells whether anything was changed since.

    \b
    Examples:
      sms-pipeline audit
      sms-pipeline audit 3 --json
      sms-pipeline audit 3 --seal 3f9a02c4
      sms-pipeline audit 3 --maybe-twice --csv --recipients people.csv > maybe-twice.csv
    """
    if maybe_twice and (as_json or noted):
        raise click.UsageError("--maybe-twice lists messages: leave out --json and --seal")
    if not maybe_twice and (as_csv or file):
        raise click.UsageError("--csv and --recipients are for --maybe-twice")
    settings = context.read_settings()
    from sms_pipeline.ledger.verdict import EXIT_CODES
    from sms_pipeline.views.output import write
    from sms_pipeline.views.verdict import audit_run

    ledger = context.read_ledger(settings)
    run = ledger.run(run_id)
    if maybe_twice:
        from sms_pipeline.views.twice import list_maybe_twice

        list_maybe_twice(ledger, run, as_csv, _numbers(ledger, run, file))
        return
    result = audit_run(settings, ledger, run)
    if noted is not None:
        result.compare_seal(noted)
    write(json.dumps(result.to_json()) if as_json else "\n".join(result.lines()))
    click.get_current_context().exit(EXIT_CODES[result.verdict])


@click.command()
@run_argument
@click.option("-o", "--output", help="File to write; - is stdout.  [default: stdout]")
@click.option(
    "--format",
    "kind",
    type=click.Choice(_KINDS),
    help="Default: by the suffix of the file, else html.",
)
def report(run_id: int | None, output: str | None, kind: str | None) -> None:
    """Make a report of a run (the latest, if none is named) to keep or to send.

    As HTML it is one file that needs no network: figures, reach and throughput over time, delivery
    times, profiles, workers, configuration and the verdict of the audit. JSON has the same. CSV has
    the course of the run, a row for each stretch of time. A run that goes on is shown as it is now.

    \b
    Examples:
      sms-pipeline report -o report.html
      sms-pipeline report 3 -o report.json
      sms-pipeline report 3 --format csv > course.csv
    """
    path = None if output in (None, _STDOUT) else Path(str(output))
    kind = kind or _kind_of(path)
    if kind == "html" and path is None and context.is_terminal():
        raise click.UsageError("a terminal can't show HTML; name a file: -o report.html")
    settings = context.read_settings()
    from sms_pipeline.views.report.document import make_report
    from sms_pipeline.views.report.page import save

    ledger = context.read_ledger(settings)
    save(make_report(settings, ledger, ledger.run(run_id)), kind, path)


def _kind_of(path: Path | None) -> str:
    suffix = path.suffix.lower().removeprefix(".") if path else ""
    return suffix if suffix in _KINDS else _KINDS[0]


@click.command()
@click.argument("first", metavar="RUN", type=RUN_NUMBER, shell_complete=completion.runs)
@click.argument("second", metavar="RUN", type=RUN_NUMBER, shell_complete=completion.runs)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(first: int, second: int, as_json: bool) -> None:
    """Compare two runs: their figures, the differences, and the settings that differ.

    \b
    Examples:
      sms-pipeline compare 3 4
      sms-pipeline compare 3 4 --json
    """
    settings = context.read_settings()
    from sms_pipeline.views.compare import compare as compare_runs
    from sms_pipeline.views.compare import show

    ledger = context.read_ledger(settings)
    show(compare_runs(ledger.run(first), ledger.run(second), ledger), as_json)
