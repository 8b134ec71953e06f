"""Output that can't be written is said to be that; nothing else is."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from sms_pipeline.core.errors import OutputError
from sms_pipeline.views import output
from sms_pipeline.views.display import JsonView, PlainView, View
from sms_pipeline.views.output import new_table, say, waiting, write, write_all, writing
from sms_pipeline.views.terminal import LiveView
from tests.unit.views.runs import progress

PACKAGE = Path(output.__file__).parents[1]
#: Modules that write to stdout or stderr themselves; `ending` says by what error a command ended.
WRITERS = {"output.py", "terminal.py", "ending.py"}


class Full:
    """A file on a disk without room."""

    encoding = "utf-8"

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@contextmanager
def full() -> Iterator[None]:
    """Neither stdout nor stderr has room."""
    with redirect_stdout(Full()), redirect_stderr(Full()):  # type: ignore[type-var]
        yield


def test_what_is_written_is_where_it_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    write("asked for")
    write(b"bytes", newline=False)
    say("besides")
    assert capsys.readouterr() == ("asked for\nbytes", "besides\n")


def test_no_name_can_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "a\x1b]0;b\x07\u202ec\r\x9b2J\udcff"
    shown = r"a\u001b]0;b\u0007\u202ec\u000d\u009b2J\udcff"
    table = new_table("name")
    table.add_row(evil)
    write(evil)
    say(evil)
    write_all(table, evil)
    out, err = capsys.readouterr()
    assert [line.rstrip() for line in out.splitlines()] == [shown, "name", shown, shown]
    assert err == f"{shown}\n"


def test_what_is_on_its_way_to_a_file_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    write(b"a\x1bb\r\n", newline=False)
    assert capsys.readouterr().out == "a\x1bb\r\n"


def test_tables_are_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    table = new_table("name", "number", numbers_from=1)
    table.add_row("x" * 120, "7")
    write_all(table, "after")
    heading, row, after = capsys.readouterr().out.splitlines()
    assert (row.split(), after) == (["x" * 120, "7"], "after")
    assert len(heading) == len(row)


@pytest.mark.parametrize("view", [JsonView(), PlainView()])
def test_a_full_disk_is_one_error_whoever_writes(view: View) -> None:
    table = new_table("name")
    calls = [
        lambda: write("x"),
        lambda: say("x"),
        lambda: write_all(table),
        lambda: view.show(progress()),
        lambda: view.note("x"),
        lambda: view.close(progress(), "done"),
    ]
    for call in calls:
        with pytest.raises(OutputError, match="can't be written: No space left"), full():
            call()


def test_a_full_disk_stops_the_screen() -> None:
    with pytest.raises(OutputError), full():
        LiveView().note("x")


def test_a_reader_that_has_gone_is_no_error() -> None:
    with pytest.raises(BrokenPipeError), writing():
        raise BrokenPipeError


def test_who_waits_sees_on_a_terminal_what_for() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal, redirect_stderr(terminal), waiting("Counting sheep …"):
        seen = b""
        while b"Counting sheep" not in seen:
            seen += os.read(ours, 1_000)
    os.close(ours)


def test_who_waits_elsewhere_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("Counting sheep …"):
        pass
    assert capsys.readouterr() == ("", "")


def test_everything_is_written_in_one_place() -> None:
    """Otherwise an error while writing would be taken for another."""
    for room in ("views", "cli"):
        for file in (PACKAGE / room).rglob("*.py"):
            if file.name in WRITERS:
                continue
            called = {
                ast.unparse(node.func)
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Call)
            }
            assert not called & {"click.echo", "print", "console.print"}, file
