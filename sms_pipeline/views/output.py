"""Writes to stdout and stderr. Only here does an OSError mean that output can't be written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from sms_pipeline.config.reading import shown
from sms_pipeline.core.errors import ConfigError, OutputError, printable

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
    safe = printable(text) if isinstance(text, str) else text
    with writing():
        click.echo(safe, err=err, nl=newline)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that the user has named.

    Raises:
        ConfigError: it can't be written.
    """
    _write_file(path, content, "wb")


def write_new_file(path: Path, content: bytes) -> None:
    """Write a file that is not there yet.

    Raises:
        ConfigError: it is there, or can't be written.
    """
    try:
        _write_file(path, content, "xb")
    except FileExistsError as error:
        raise ConfigError(f"{shown(path)}: is there already; name another file") from error


def _write_file(path: Path, content: bytes, mode: str) -> None:
    try:
        with path.open(mode) as file:
            file.write(content)
    except FileExistsError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{shown(path)}: can't be written: {reason}") from error


def say(message: str) -> None:
    """Tell the user something on stderr; stdout is for what they asked for.

    Raises:
        OutputError: it can't be written.
    """
    write(message, err=True)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal, and nowhere else, what the user is waiting for; gone once it is done."""
    console = SafeConsole(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what, spinner="line"):
        yield


class SafeConsole(Console):
    """A console that passes on no control characters but its own."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `Console.render`."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)


def write_all(*parts: RenderableType) -> None:
    """Write tables and lines. They fit the terminal; in a pipe nothing is cut off.

    Raises:
        OutputError: it can't be written.
    """
    console = SafeConsole()
    if not console.is_terminal:
        console = SafeConsole(width=PIPE_COLUMNS)
    with writing():
        for part in parts:
            console.print(printable(part) if isinstance(part, str) else part)


def write_fitting(fit: Callable[[int], RenderableType], *parts: RenderableType) -> None:
    """The same, with a table made to the width that there is.

    Raises:
        OutputError: it can't be written.
    """
    console = SafeConsole()
    write_all(fit(console.width if console.is_terminal else PIPE_COLUMNS), *parts)


class _SafeTable(Table):
    """Has room for what the console spells out."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """See `Table.add_row`."""
        safe = (printable(cell) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*safe, **options)


def new_table(*headings: str, numbers_from: int | None = None) -> Table:
    """A table that folds long cells; columns from `numbers_from` on are right-aligned."""
    table = _SafeTable(box=None, pad_edge=False)
    for column, heading in enumerate(headings):
        is_number = numbers_from is not None and column >= numbers_from
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    return table
