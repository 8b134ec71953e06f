"""Writing what was asked for; only here an OSError means that it can't be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console, RenderableType
from rich.table import Table

from sms_pipeline.errors import OutputError

#: Where there is no terminal, tables are as wide as they need to be, up to this.
PIPE_COLUMNS = 200


@contextmanager
def writing() -> Iterator[None]:
    """Around whatever writes to stdout or stderr.

    Raises:
        OutputError: it can't be written.
        BrokenPipeError: whoever read it has gone; the command ends in silence.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the output can't be written: {error.strerror or error}") from error


def write(text: str | bytes, err: bool = False, newline: bool = True) -> None:
    """Write a line, or with `newline` false just this.

    Raises:
        OutputError: it can't be written.
    """
    with writing():
        click.echo(text, err=err, nl=newline)


def say(message: str) -> None:
    """Tell the user something besides; stdout is for what was asked for.

    Raises:
        OutputError: it can't be written.
    """
    write(message, err=True)


def write_all(*parts: RenderableType) -> None:
    """Write tables and lines: fitted to a terminal, but never cut in a pipe.

    Raises:
        OutputError: it can't be written.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    with writing():
        for part in parts:
            console.print(part)


def new_table(*headings: str, numbers_from: int | None = None) -> Table:
    """A table whose cells are folded, never cut; from that column on they are set right."""
    table = Table(box=None, pad_edge=False)
    for column, heading in enumerate(headings):
        is_number = numbers_from is not None and column >= numbers_from
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    return table
