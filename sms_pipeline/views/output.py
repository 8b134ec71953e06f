"""Writes to stdout and stderr. Only here does an OSError mean that output can't be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console, RenderableType
from rich.table import Table

from sms_pipeline.errors import OutputError

#: Width of tables where there is no terminal.
PIPE_COLUMNS = 200


@contextmanager
def writing() -> Iterator[None]:
    """Use it around whatever writes to stdout or stderr.

    Raises:
        OutputError: it can't be written.
        BrokenPipeError: the reader has gone; the command then ends silently.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the output can't be written: {error.strerror or error}") from error


def write(text: str | bytes, err: bool = False, newline: bool = True) -> None:
    """Write text to stdout, or with `err` to stderr.

    Raises:
        OutputError: it can't be written.
    """
    with writing():
        click.echo(text, err=err, nl=newline)


def say(message: str) -> None:
    """Tell the user something on stderr; stdout is for what they asked for.

    Raises:
        OutputError: it can't be written.
    """
    write(message, err=True)


def write_all(*parts: RenderableType) -> None:
    """Write tables and lines. They fit the terminal; in a pipe nothing is cut off.

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
    """A table that folds long cells; columns from `numbers_from` on are right-aligned."""
    table = Table(box=None, pad_edge=False)
    for column, heading in enumerate(headings):
        is_number = numbers_from is not None and column >= numbers_from
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    return table
