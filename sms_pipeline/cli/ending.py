"""How a command ends: what went wrong in one line on stderr, and the exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import click

from sms_pipeline.core.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    PipelineError,
    printable,
)

_STDIN, _STDOUT, _STDERR = range(3)


def exit_code(work: Callable[[], Any]) -> int:
    """Do `work`, tell the user what is wrong with it, and return what the process ends with."""
    _escape_what_has_no_code()
    try:
        code = work() or EXIT_OK
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        return _end(_usage(error), EXIT_USAGE)
    except click.ClickException as error:
        return _end(error.format_message(), error.exit_code)
    except click.Abort as error:
        return _aborted(error)
    except PipelineError as error:
        return _end(str(error), error.exit_code)
    except BrokenPipeError:
        # Nobody reads any more: nothing is wrong, and there is nobody to tell.
        _discard(sys.stdout)
        return EXIT_FAILURE
    except OSError as error:
        return _end(f"the output can't be written: {described(error)}", EXIT_FAILURE)
    return int(code)


def _escape_what_has_no_code() -> None:
    """Let stdout and stderr write what their encoding does not know, such as a name, as `\\xdc`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def require_output() -> None:
    """End the process if its stdout is closed.

    A database or a connection that is opened later would get the number of a stream that is
    closed, and what is printed would end up in it: so the others lead nowhere from now on.
    """
    closed = [number for number in (_STDIN, _STDOUT, _STDERR) if not _is_open(number)]
    for _ in closed:
        # Takes the lowest number that is free.
        os.open(os.devnull, os.O_RDWR)
    if _STDOUT in closed:
        sys.exit(_end("the output can't be written: stdout is closed", EXIT_FAILURE))


def described(error: OSError) -> str:
    """What failed, on one line."""
    reason = error.strerror or str(error) or type(error).__name__
    named = f"{error.filename}: {reason}" if error.filename else reason
    return " ".join(named.split())


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _usage(error: click.UsageError) -> str:
    """What is wrong with the command line, and where to read how it should be."""
    message = " ".join(error.format_message().split()).removesuffix(".")
    if error.ctx is None:
        return message
    see = " See" if message.endswith("?") else "; see"
    return f"{message}{see} {error.ctx.command_path} --help"


def _aborted(error: click.Abort) -> int:
    """A question was not answered."""
    if isinstance(error.__context__, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return _end("no answer was given", EXIT_USAGE)


def _end(message: str, code: int) -> int:
    # What could not be written would be tried once more when the process ends.
    _discard_if_full(sys.stdout)
    with suppress(OSError):
        click.echo(f"Error: {printable(message)}", err=True)
    _discard_if_full(sys.stderr)
    return code


def _discard_if_full(stream: TextIO | None) -> None:
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        _discard(stream)


def _discard(stream: TextIO | None) -> None:
    """Let a stream lead nowhere: Python complains about what it can't write at its end."""
    with suppress(OSError, AttributeError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)
