"""Help comes at once; errors are one line, and end with the right code."""

from __future__ import annotations

import errno
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sms_pipeline import __version__
from sms_pipeline.cli import (
    calibrate,
    configure,
    inspect,
    measure,
    predict,
    recipients,
    start,
    steer,
    watch,
)
from sms_pipeline.cli.doctor import command as doctor_command
from sms_pipeline.cli.main import SECTIONS, cli
from sms_pipeline.core.errors import EXIT_FAILURE, EXIT_OK, EXIT_UNFINISHED
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.cli.commands import PROCESS_SECONDS, invoke, refused

COMMANDS = sorted(cli.commands)
#: Commands that read a run from the ledger.
READING = (
    "monitor",
    "report",
    "failures",
    "trace",
    "audit",
    "resume",
    "pause",
    "continue",
    "cancel",
)


# Help


def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)


def test_help_has_the_whole_summary_of_every_command_in_its_section() -> None:
    help_text = " ".join(invoke("--help").stdout.split())
    assert "…" not in help_text and "..." not in help_text.replace("[ARGS]...", "")
    for title, commands in SECTIONS.items():
        assert f" {title}: {commands[0].name} " in help_text
        for command in commands:
            assert f" {command.name} {command.get_short_help_str(1_000)}" in help_text


@pytest.mark.parametrize("command", ["pause", "continue", "cancel"])
def test_help_says_which_run_is_steered(command: str) -> None:
    assert "(the latest, if none is named)" in " ".join(invoke(command, "-h").stdout.split())


def test_help_has_every_exit_code() -> None:
    codes = range(EXIT_OK, EXIT_UNFINISHED + 1)
    assert all(re.search(rf" {code}  \w", invoke("-h").stdout) for code in codes)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example_that_parses(command: str) -> None:
    result = invoke(command, "-h")
    assert result.exit_code == 0
    examples = [
        shlex.split(re.split(r" [|>] ", line)[0])[1:]
        for line in result.stdout.splitlines()
        if line.strip().startswith("sms-pipeline ")
    ]
    assert examples
    for name, *arguments in examples:
        assert name == command
        parent = click.Context(cli, **cli.context_settings)
        cli.commands[command].make_context(command, arguments, parent)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    options = [one for one in cli.commands[command].params if isinstance(one, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_every_command_is_offered() -> None:
    modules = (
        calibrate,
        configure,
        doctor_command,
        inspect,
        measure,
        predict,
        recipients,
        start,
        steer,
        watch,
    )
    made = {
        one for module in modules for one in vars(module).values() if isinstance(one, click.Command)
    }
    assert made == set(cli.commands.values())


def test_version() -> None:
    assert invoke("--version").stdout == f"sms-pipeline, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_comes_at_once_without_heavy_imports(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from sms_pipeline.cli.main import cli\n"
        f"try: cli({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=True,
    )
    heavy = {"celery", "kombu", "sqlalchemy", "numpy", "pydantic", "yaml", "rich"}
    assert heavy & set(done.stderr.split()) == set()


# Errors


@pytest.mark.parametrize(
    ("name", "value"), [("SMS_LOG_LEVEL", "LOUD"), ("SMS_QUEUE_TYPE", "stream")]
)
def test_bad_variable_is_one_line(name: str, value: str) -> None:
    assert name in refused("runs", **{name: value})


@pytest.mark.parametrize("url", ["hello", "mysql://host/db", "sqlite://"])
def test_bad_database_url_is_one_line(url: str) -> None:
    assert refused("runs", SMS_DATABASE_URL=url).startswith("SMS_DATABASE_URL: ")


def test_unreachable_ledger_ends_with_1() -> None:
    result = invoke("pause", SMS_DATABASE_URL="sqlite:////no/such/folder/ledger.db")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "ledger sqlite:///" in result.stderr
    assert "can't be reached" in result.stderr


@pytest.mark.parametrize("command", READING)
def test_ledger_without_runs_ends_with_2_and_a_hint(command: str) -> None:
    # Without --once the monitor waits for the first run.
    arguments = [command, "--once"] if command == "monitor" else [command]
    assert "sms-pipeline run" in refused(*arguments)


@pytest.mark.parametrize("command", READING)
def test_unknown_run_ends_with_2_and_a_hint(command: str, ledger: Ledger) -> None:
    ledger.start_run(make.simulation(), seed=1)
    line = refused(command, "99")
    assert "no run 99" in line
    assert "sms-pipeline runs" in line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a.crt"), "a.crt: Permission denied"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (OSError("no such\nthing"), "no such thing"),
        (TimeoutError(), "TimeoutError"),
    ],
)
@pytest.mark.usefixtures("ledger")
def test_any_error_of_the_system_is_one_line_that_names_what_failed(
    error: OSError, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("sms_pipeline.views.lists.list_runs", fail)
    result = invoke("runs")
    assert (result.exit_code, result.stdout) == (EXIT_FAILURE, "")
    assert result.stderr == f"Error: 'runs' failed: {line}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.usefixtures("ledger")
def test_output_that_can_not_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from sms_pipeline.cli.main import main; main()", "runs"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PROCESS_SECONDS,
            check=False,
        )
    assert done.returncode == EXIT_FAILURE
    assert done.stderr == "Error: the output can't be written: No space left on device\n"


@pytest.mark.usefixtures("ledger")
def test_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sms_pipeline.views.lists.list_runs", interrupt)
    assert invoke("runs").exit_code == 130


# What a command does not need can't stop it


@pytest.mark.parametrize(
    "arguments",
    [
        ["pause"],
        ["cancel"],
        ["audit"],
        ["runs"],
        ["senders"],
        ["failures"],
        ["trace"],
        ["monitor", "--once"],
        ["report"],
        ["compare", "1", "1"],
    ],
    ids=" ".join,
)
def test_broken_configuration_stops_only_what_reads_it(
    arguments: list[str], ledger: Ledger
) -> None:
    ledger.start_run(make.simulation(), seed=1)
    Path("bad.yml").write_text("senders: [\n")
    # `audit` says by its code that the run has not ended.
    expected = EXIT_UNFINISHED if arguments == ["audit"] else EXIT_OK
    assert invoke(*arguments, SMS_CONFIG="bad.yml").exit_code == expected
    assert "bad.yml" in refused("run", SMS_CONFIG="bad.yml")
