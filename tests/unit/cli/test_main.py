"""The command line says what is wrong in one line, and ends with the right code."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from sms_pipeline import __version__
from sms_pipeline.cli.main import _terminal, cli
from sms_pipeline.errors import EXIT_OK, EXIT_UNFINISHED
from sms_pipeline.ledger.store import Ledger
from tests.unit import make

pytestmark = pytest.mark.usefixtures("clean")

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
IMPORT_SECONDS = 60


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, arguments, env=environment)


def refused(*arguments: str, **environment: str) -> str:
    """The one line on stderr of a command that ends with 2."""
    result = invoke(*arguments, **environment)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.fixture
def ledger(clean: Path) -> Ledger:
    """The ledger that commands find by default."""
    return Ledger.open("sqlite:///sms_pipeline.db")


# Help


def test_help_names_every_command() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)


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
        cli.commands[command].make_context(command, arguments, resilient_parsing=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    options = [one for one in cli.commands[command].params if isinstance(one, click.Option)]
    assert [option.name for option in options if not option.help] == []


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
        timeout=IMPORT_SECONDS,
        check=True,
    )
    heavy = {"celery", "kombu", "sqlalchemy", "numpy", "pydantic", "yaml", "rich"}
    assert heavy & set(done.stderr.split()) == set()


def test_no_stdout_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert not _terminal()


# Bad options and files


@pytest.mark.parametrize("command", ["run", "produce"])
@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["-n", "0"], ["num_messages", "0"]),
        (["--messages", "-5"], ["num_messages", "-5"]),
        (["--seed", "-1"], ["seed", "-1"]),
        (["--batch-size", "0"], ["batch_size", "0", "1 to 20000"]),
        (["--batch-size", "20001"], ["batch_size", "20001", "1 to 20000"]),
        (["--batch-size", "many"], ["batch_size", "'many'", "auto"]),
        (["--routing", "best"], ["routing", "'best'", "adaptive", "static"]),
        (["--max-attempts", "0"], ["retry.max_attempts", "0"]),
        (["--max-attempts", "ever"], ["retry.max_attempts", "'ever'", "integer"]),
        (["--config", "none.yml"], ["none.yml", "No such file"]),
        (["--config", "."], [".: can't be read", "directory"]),
        (["--config", "bad.yml"], ["bad.yml", "sneders", "senders"]),
    ],
)
def test_bad_option_is_one_line(command: str, options: list[str], parts: list[str]) -> None:
    Path("bad.yml").write_text("sneders: []\n")
    line = refused(command, *options)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize("every", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("command", ["run", "monitor"])
def test_bad_report_period_is_one_line(command: str, every: str) -> None:
    assert "report_period" in refused(command, "--every", every)


def test_file_may_be_the_argument_of_run() -> None:
    assert "none.yml" in refused("run", "none.yml")


def test_file_may_be_named_by_the_environment() -> None:
    assert "none.yml" in refused("run", SMS_CONFIG="none.yml")


def test_run_that_could_never_end_is_one_line() -> None:
    Path("dead.yml").write_text("senders: [{mean_time: 0, failure_rate: 1}]")
    assert "never end" in refused("run", "dead.yml", "--max-attempts", "unlimited")


@pytest.mark.parametrize(
    "arguments",
    [
        ["launch"],
        ["run", "--speed", "5"],
        ["run", "-n", "many"],
        ["run", "a.yml", "b.yml"],
        ["monitor", "last"],
        ["monitor", "--every"],
        ["--log-level", "LOUD", "runs"],
    ],
)
def test_what_cannot_be_parsed_ends_with_2_and_a_hint(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("name", "value"), [("SMS_LOG_LEVEL", "LOUD"), ("SMS_QUEUE_TYPE", "stream")]
)
def test_bad_variable_is_one_line(name: str, value: str) -> None:
    assert name in refused("runs", **{name: value})


@pytest.mark.parametrize("url", ["hello", "mysql://host/db", "sqlite://"])
def test_bad_database_url_is_one_line(url: str) -> None:
    assert refused("runs", SMS_DATABASE_URL=url).startswith("SMS_DATABASE_URL: ")


def test_unreachable_ledger_ends_with_1() -> None:
    result = invoke("runs", SMS_DATABASE_URL="sqlite:////no/such/folder/ledger.db")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "ledger sqlite:///" in result.stderr
    assert "can't be reached" in result.stderr


# Brokers


def test_produce_needs_a_broker() -> None:
    line = refused("produce")
    assert "CELERY_BROKER_URL" in line
    assert "sms-pipeline run" in line


def test_celery_worker_needs_a_broker(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "sms_pipeline", "worker", "--profile", "fast"],
        capture_output=True,
        text=True,
        timeout=IMPORT_SECONDS,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "CELERY_BROKER_URL" in line


@pytest.mark.parametrize("url", ["amqpp://host", "amqp://host:port", "http://host"])
def test_broker_url_that_is_none_is_one_line(url: str) -> None:
    result = invoke("produce", CELERY_BROKER_URL=url)
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert len(result.stderr.splitlines()) == 1


# Ledgers


@pytest.mark.parametrize("command", READING)
def test_ledger_without_runs_ends_with_2_and_a_hint(command: str) -> None:
    assert "sms-pipeline run" in refused(command)


@pytest.mark.parametrize("command", READING)
def test_unknown_run_ends_with_2_and_a_hint(command: str, ledger: Ledger) -> None:
    ledger.start_run(make.simulation(), seed=1)
    line = refused(command, "99")
    assert "no run 99" in line
    assert "sms-pipeline runs" in line


def test_lists_of_an_empty_ledger() -> None:
    assert invoke("runs").exit_code == 0
    assert invoke("senders").stdout == "No sender is online.\n"


def test_monitor_reports_a_finished_run_as_json(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.settle([make.settlement(run.id, delivered=9, failed=1)])
    result = invoke("monitor", "--once", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["run"], found["delivered"], found["failed"], found["done"]) == (
        run.id,
        9,
        1,
        True,
    )


def test_new_run_and_a_named_one_exclude_each_other(ledger: Ledger) -> None:
    result = invoke("monitor", "3", "--new")
    assert result.exit_code == 2
    assert "--new" in result.stderr


@pytest.mark.parametrize("other", ["3", "--once"])
def test_run_after_run_is_not_one_run(ledger: Ledger, other: str) -> None:
    result = invoke("monitor", "--forever", other)
    assert result.exit_code == 2
    assert "--forever" in result.stderr


def test_a_missed_threshold_does_not_end_what_goes_on_for_ever(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        run = ledger.start_run(make.simulation(num_messages=10), seed=1)
        ledger.settle([make.settlement(run.id, delivered=0, failed=10)])
    both = [ledger.run(1), ledger.run(2)]
    monkeypatch.setattr("sms_pipeline.views.monitor.runs_to_watch", lambda *_: both)
    result = invoke("monitor", "--forever", "--threshold", "failed < 1%")
    assert result.exit_code == 0
    assert result.stderr.count("Error: threshold missed") == 2
    assert invoke("monitor", "--threshold", "failed < 1%").stderr.count("Error:") == 1


def test_metrics_are_served_where_the_monitor_says(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.settle([make.settlement(run.id)])
    result = invoke("monitor", "--metrics", "0")
    assert result.exit_code == 0
    assert re.match(r"Metrics: http://127\.0\.0\.1:\d+/metrics\n", result.stderr)


def test_metrics_at_no_address_or_at_one_in_use(ledger: Ledger) -> None:
    ledger.start_run(make.simulation(), seed=1)
    assert "option --metrics: must be PORT" in refused("monitor", "--metrics", "nowhere")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused("monitor", "--metrics", str(port))
    assert line == f"can't listen on 127.0.0.1:{port}: Address already in use"


def test_latest_run_is_meant_unless_one_is_named(ledger: Ledger) -> None:
    for total in (10, 20):
        ledger.start_run(make.simulation(num_messages=total), seed=1)
    assert json.loads(invoke("monitor", "--once", "--json").stdout)["total"] == 20
    assert json.loads(invoke("monitor", "1", "--once", "--json").stdout)["total"] == 10


def test_run_is_paused_continued_and_cancelled(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    for command, control in (
        ("pause", "paused"),
        ("continue", "running"),
        ("cancel", "cancelled"),
    ):
        assert invoke(command).exit_code == 0
        assert ledger.run(run.id).control == control
    assert sum(one.cancelled for one in ledger.snapshot(run).profiles) == 10
    result = invoke("continue")
    assert result.exit_code != 0
    assert "final" in result.stderr


def test_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sms_pipeline.views.lists.list_runs", interrupt)
    assert invoke("runs").exit_code == 130


# Thresholds


@pytest.mark.parametrize("command", ["run", "produce", "monitor", "resume"])
def test_bad_threshold_is_pointed_at(command: str, ledger: Ledger) -> None:
    ledger.start_run(make.simulation(), seed=1)
    result = invoke(command, "--threshold", "failed < 1%", "--threshold", "lost = 0")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "Error: --threshold: '=' is not a comparison; use <, <=, >, >= or ==",
        "    lost = 0",
        "         ^",
    ]


def test_threshold_of_the_command_line_is_judged_by_the_monitor(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.settle([make.settlement(run.id)])
    watched = invoke(
        "monitor", "--json", "--threshold", "delivered < 5", "--threshold", "delivered > 5"
    )
    assert watched.exit_code == 3
    assert watched.stderr == "Error: threshold missed: delivered < 5 (seen 10)\n"
    states = [one["state"] for one in json.loads(watched.stdout)["thresholds"]]
    assert states == ["missed", "holding"]


def test_resume_that_does_not_watch_judges_nothing(ledger: Ledger) -> None:
    ledger.start_run(make.simulation(), seed=1)
    broker = {"CELERY_BROKER_URL": "amqp://localhost"}
    result = invoke("resume", "--threshold", "lost == 0", **broker)
    assert result.exit_code == 2
    assert "'monitor'" in result.stderr


# Reports


@pytest.fixture
def ended(ledger: Ledger) -> None:
    """Two runs that are done."""
    for _ in range(2):
        run = ledger.start_run(make.simulation(num_messages=10), seed=1)
        ledger.record_batches(run.id, [make.row(run.id)])
        ledger.settle([make.settlement(run.id, delivery_times={80: 10})])


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ([], "<!doctype html>"),
        (["-o", "-"], "<!doctype html>"),
        (["-o", "-", "--format", "json"], "{"),
        (["1", "--format", "csv"], "second,"),
    ],
)
def test_report_on_stdout(arguments: list[str], start: str) -> None:
    result = invoke("report", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(start)
    assert result.stderr == ""


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["-o", "r.html"], "<!doctype html>"),
        (["-o", "r.htm"], "<!doctype html>"),
        (["-o", "r"], "<!doctype html>"),
        (["-o", "r.JSON"], "{"),
        (["-o", "r.csv"], "second,"),
        (["-o", "r.csv", "--format", "html"], "<!doctype html>"),
    ],
)
def test_report_in_a_file_is_of_the_kind_its_suffix_says(arguments: list[str], start: str) -> None:
    result = invoke("report", *arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert Path(arguments[1]).read_text().startswith(start)


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("path", ["none/report.html", "."])
def test_report_that_can_not_be_written_is_one_line(path: str) -> None:
    line = refused("report", "-o", path)
    assert line.startswith(f"{path}: can't be written: ")


def test_page_is_not_printed_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sms_pipeline.cli.main._terminal", lambda: True)
    result = invoke("report")
    assert result.exit_code == 2
    assert "-o report.html" in result.stderr.splitlines()[-1]


@pytest.mark.usefixtures("ended")
def test_runs_are_compared() -> None:
    assert json.loads(invoke("compare", "1", "2", "--json").stdout)["runs"] == [1, 2]
    assert "difference" in invoke("compare", "1", "2").stdout


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize("runs", [["1", "77"], ["77", "1"]])
def test_comparison_with_an_unknown_run_is_one_line(runs: list[str]) -> None:
    assert "no run 77" in refused("compare", *runs)


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


def test_monitor_reports_as_often_as_the_run_was_started_to(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    periods = []
    monkeypatch.setattr(
        "sms_pipeline.views.monitor.watch",
        lambda ledger, run, view, once: periods.append(run.simulation.report_period),
    )
    ledger.start_run(make.simulation(report_period=7.0), seed=1)
    assert invoke("monitor").exit_code == invoke("monitor", "--every", "3").exit_code == EXIT_OK
    assert periods == [7.0, 3.0]
