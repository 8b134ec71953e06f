"""The command that makes a clean file of recipients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sms_pipeline.cli import context

if TYPE_CHECKING:
    from sms_pipeline.producer.cleaning import Cleaned

_path = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=_path)
@click.option(
    "-o", "--output", type=_path, required=True, help="File to write: .csv, .csv.gz or .parquet."
)
@click.option("--column", default="to", show_default=True, help="The column with the numbers.")
@click.option(
    "--country", metavar="XX", help="Of the numbers that do not begin with +: US, DE, and so on."
)
@click.option(
    "--suppress",
    type=_path,
    multiple=True,
    metavar="FILE",
    help="Numbers that must get no message. Repeat for more.",
)
@click.option(
    "--rejects",
    type=_path,
    metavar="FILE",
    help="Write there which rows were left out, and why.",
)
def recipients(
    file: Path,
    output: Path,
    column: str,
    country: str | None,
    suppress: tuple[Path, ...],
    rejects: Path | None,
) -> None:
    """Make a clean file of recipients: numbers checked, each once, in the column 'to'.

    Numbers are written in full, as +12025550100, and the other columns stay as they are. What is
    no number, was there before, or is on a suppression list is left out. Rows are counted from 1,
    the first after the header.

    \b
    Examples:
      sms-pipeline recipients list.csv --country US -o people.csv
      sms-pipeline recipients list.csv --column mobile -o people.parquet
      sms-pipeline recipients list.csv --suppress stop.csv --rejects bad.csv -o people.csv
    """
    context.read_settings()
    from sms_pipeline.producer.cleaning import clean
    from sms_pipeline.views.output import write

    cleaned = clean(file, output, column, country, suppress, rejects, context.progress)
    write("\n".join(_summary(cleaned, output)))


#: Of rows of a suppression list: one, and more.
_UNREAD = ("row is no number, and keeps", "rows are no numbers, and keep")


def _summary(cleaned: Cleaned, output: Path) -> list[str]:
    from sms_pipeline.core.counts import how_many
    from sms_pipeline.views.format import count

    lines = [f"{output}: {count(cleaned.kept)} of {how_many(cleaned.rows, 'row')}."]
    if cleaned.rejected:
        listed = ", ".join(f"{one.reason} {count(n)}" for one, n in cleaned.rejected.most_common())
        lines.append(f"Left out {count(cleaned.rejected.total())}: {listed}.")
    lines += [
        f"Warning: {path}: {how_many(rows, *_UNREAD)} nobody out."
        for path, rows in cleaned.unread.items()
        if rows
    ]
    return lines
