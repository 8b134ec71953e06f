"""Bad options and files are refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from sms_pipeline.cli.main import cli
from sms_pipeline.cli.options import OPTION_OF, SimulationOptions, overrides
from sms_pipeline.config.files import dotted, load_simulation
from sms_pipeline.config.option_types import TIME
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.cli.commands import invoke, refused


@pytest.mark.parametrize("command", ["run", "produce"])
@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["-n", "0"], ["--messages: ", "0"]),
        (["--messages", "-5"], ["--messages: ", "-5"]),
        (["--seed", "-1"], ["--seed: ", "-1"]),
        (["--batch-size", "0"], ["--batch-size: ", "0", "1 to 20000"]),
        (["--batch-size", "20001"], ["--batch-size: ", "20001", "1 to 20000"]),
        (["--batch-size", "many"], ["--batch-size: ", "'many'", "auto"]),
        (["--routing", "best"], ["--routing: ", "'best'", "adaptive", "static"]),
        (["--max-attempts", "0"], ["--max-attempts: ", "0"]),
        (["--max-attempts", "ever"], ["--max-attempts: ", "'ever'", "integer"]),
        (["--name", "a\tb"], ["--name: ", "printable"]),
        (["--name", ""], ["--name: ", "printable"]),
        (["--name", "x" * 65], ["--name: ", "1 to 64"]),
        (["--tag", "north"], ["--tag", "KEY=VALUE", "'north'"]),
        (["--tag", "=north"], ["--tag: ", "printable"]),
        (["--tag", "region="], ["--tag: ", "printable"]),
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
    assert refused(command, "--every", every).startswith("--every: ")


@pytest.mark.parametrize(("given", "seconds"), [("0.25", 0.25), ("250ms", 0.25), ("1m", 60.0)])
def test_option_takes_a_time(given: str, seconds: float) -> None:
    assert TIME.convert(given, None, None) == seconds


def test_option_that_is_no_time_is_one_line() -> None:
    said = "'--every': must be a number of seconds, or a time as in 500ms, 30s, 10m or 2h, got '2x'"
    assert said in refused("run", "--every", "2x")


def test_every_key_that_options_set_has_the_name_of_its_option() -> None:
    options = dict.fromkeys(SimulationOptions.__annotations__, "1") | {"tags": ("a=b",)}
    keys = {key for key, _ in dotted(overrides(cast(SimulationOptions, options), 1.0))}
    # --to is an option of those commands only that may look up an earlier run.
    keys = {key.replace("tags.a", "tags") for key in keys} | {"recipients.only"}
    assert keys == set(OPTION_OF)
    offered = {name for param in cli.commands["run"].params for name in param.opts}
    assert set(OPTION_OF.values()) <= offered


def test_wrong_options_are_listed() -> None:
    result = invoke("run", "--seed=-1", "--messages", "0", "--every", "0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.partition(": ")[0].strip() for line in result.stderr.splitlines()[1:]] == [
        *("--messages", "--every", "--seed"),
    ]


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


def test_name_and_tags_are_laid_over_those_of_the_file() -> None:
    Path("named.yml").write_text("name: drill\ntags: {region: north, team: a}\n")
    options: SimulationOptions = {
        "messages": None,
        "seed": None,
        "batch_size": None,
        "routing": None,
        "max_attempts": None,
        "rate": None,
        "urgent": False,
        "name": "drill 3",
        "tags": ("team=b=c", "round=2"),
        "recipients": None,
        "column": None,
        "text": None,
    }
    simulation = load_simulation(Path("named.yml"), overrides(options, None))
    assert simulation.name == "drill 3"
    assert simulation.tags == {"region": "north", "team": "b=c", "round": "2"}


def test_a_run_has_only_so_many_tags() -> None:
    tags = [word for number in range(21) for word in ("--tag", f"t{number}=x")]
    assert "at most 20 tags" in refused("run", *tags)
