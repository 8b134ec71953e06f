"""How a command ends: one line and an exit code, also where nothing can be written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from sms_pipeline.cli.ending import exit_code
from sms_pipeline.core.errors import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_USAGE,
    ConfigError,
)
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.cli.commands import PROCESS_SECONDS, invoke, refused

COMMAND = f'{sys.executable} -c "from sms_pipeline.cli.main import main; main()"'
NO_ROOM = "Error: the output can't be written: No space left on device\n"
CLOSED = "Error: the output can't be written: stdout is closed\n"

needs_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full"
)


def test_a_wrong_command_is_told_what_was_meant() -> None:
    said = "No such command 'dashbord'. Did you mean 'dashboard'? See cli --help"
    assert refused("dashbord") == said


def shell(arguments: str) -> tuple[int, str]:
    """The exit code and stderr of `sms-pipeline` with these arguments and redirections."""
    done = subprocess.run(
        ["sh", "-c", f"{COMMAND} {arguments}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PROCESS_SECONDS,
        check=False,
    )
    return done.returncode, done.stderr


@needs_full
@pytest.mark.parametrize("arguments", ["--help", "--version", "runs", "failures --csv"])
def test_a_full_disk_is_said_once(arguments: str, ended: None) -> None:
    assert shell(f"{arguments} > /dev/full") == (EXIT_FAILURE, NO_ROOM)


@pytest.mark.parametrize("command", ["runs", "compare 1 1"])
def test_a_name_that_the_encoding_of_the_output_does_not_know_is_escaped(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    ledger.start_run(make.simulation(name="Übung"), seed=1)
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    listed = tmp_path / "listed"
    assert shell(f"{command} > {listed}") == (EXIT_OK, "")
    assert r"\xdcbung" in listed.read_text(encoding="ascii")


@needs_full
def test_a_full_disk_is_said_of_the_help_of_a_command() -> None:
    code, line = shell("run --help > /dev/full")
    assert (code, line.count("\n")) == (EXIT_FAILURE, 1)
    assert "No space left on device" in line


@pytest.mark.parametrize("arguments", ["--help", "runs", "failures", "run -n 1"])
def test_a_closed_stdout_is_said_before_anything_is_done(arguments: str, ledger: Ledger) -> None:
    assert shell(f"{arguments} >&-") == (EXIT_FAILURE, CLOSED)
    assert ledger.latest_run_id() is None


@needs_full
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_the_exit_code_needs_no_stderr(stderr: str) -> None:
    assert shell(f"nope {stderr}") == (EXIT_USAGE, "")
    assert shell(f"failures 7 {stderr}") == (EXIT_USAGE, "")


def test_no_file_gets_the_number_of_a_closed_stream(ended: None) -> None:
    # Given a ledger that would be opened as file 0 or 2, then it is not damaged
    assert shell("--log-level DEBUG runs <&- 2>&-") == (EXIT_OK, "")
    assert invoke("runs").exit_code == EXIT_OK


def test_a_wrong_command_line_is_one_line_that_says_where_to_look() -> None:
    assert refused("nope") == "No such command 'nope'; see cli --help"
    assert refused("runs", "9").endswith("unexpected extra argument (9); see cli runs --help")
    assert refused("runs", "a\nb")
    assert r"\u001b" in refused("runs", "\x1b")


def test_no_command_at_all_shows_the_help() -> None:
    result = invoke()
    assert result.exit_code == EXIT_USAGE
    assert "First steps" in result.stderr


@pytest.mark.parametrize(
    ("cause", "code", "said"),
    [
        (KeyboardInterrupt(), EXIT_INTERRUPTED, ""),
        (EOFError(), EXIT_USAGE, "Error: no answer was given\n"),
    ],
)
def test_a_question_that_is_not_answered_ends_the_command(
    cause: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask() -> None:
        try:
            raise cause
        except (KeyboardInterrupt, EOFError):
            raise click.Abort from None

    assert exit_code(ask) == code
    assert capsys.readouterr() == ("", said)


def test_an_error_can_not_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ConfigError("a\x1b[2J")

    assert exit_code(fail) == EXIT_USAGE
    assert capsys.readouterr().err == "Error: a\\u001b[2J\n"


def test_a_mistake_of_ours_is_not_hidden() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        exit_code(fail)
