"""Beginning a configuration, checking it, and letting an editor know its keys."""

from __future__ import annotations

import json
from pathlib import Path

from sms_pipeline.config.schema import SCHEMA_FILE, configuration_schema
from tests.unit.cli.commands import invoke, refused


def test_init_writes_a_configuration_that_validates_and_its_schema() -> None:
    result = invoke("init")
    assert result.exit_code == 0
    assert "sms-pipeline validate alert.yml" in result.stderr
    assert json.loads(Path(SCHEMA_FILE).read_text()) == configuration_schema()
    assert invoke("validate").exit_code == 0


def test_init_overwrites_nothing() -> None:
    Path("alert.yml").write_text("seed: 1\n")
    assert refused("init") == "alert.yml: is there already; name another file"
    assert Path("alert.yml").read_text() == "seed: 1\n"
    assert not Path(SCHEMA_FILE).exists()
    Path(SCHEMA_FILE).write_text("mine")
    result = invoke("init", "north.yml")
    assert result.exit_code == 0
    assert SCHEMA_FILE not in result.stderr
    assert Path(SCHEMA_FILE).read_text() == "mine"


def test_init_where_nothing_can_be_written_is_one_line() -> None:
    assert refused("init", "no/such/folder.yml").startswith("no/such/folder.yml: can't be written")


def test_validate_tells_what_a_file_means() -> None:
    Path("alert.yml").write_text(
        "num_messages: 200\n"
        "senders: [{name: rural, count: 20, mean_time: 0.1, failure_rate: 0.25}]\n"
        "thresholds: [reached 50% < 1h, duration < 1ms]\n"
    )
    result = invoke("validate")
    assert result.exit_code == 0
    first, fleet, best, forecast, reached, kept, missed, last = result.stdout.splitlines()
    assert first == "alert.yml is valid."
    assert fleet.split("  ") == [
        *("", "rural", "20 senders", "0.1 s an attempt", "25% fail", "200 attempts/s"),
    ]
    assert best.endswith(": 200 attempts/s, 150 of them delivered.")
    assert forecast.startswith("Forecast: 200 messages in ")
    assert reached.startswith("50% reached in ")
    assert kept.startswith("threshold passed: reached 50% < 1h")
    assert missed.startswith("threshold missed: duration < 1ms")
    assert last == "Rehearse it: sms-pipeline run alert.yml"


def test_validate_names_every_mistake() -> None:
    Path("alert.yml").write_text("sede: 1\nsenders: 5\n")
    result = invoke("validate")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "Error: alert.yml: 2 problems",
        "  line 1: unknown key 'sede'; did you mean 'seed'?",
        "  line 2: senders: should be a list, got 5",
    ]


def test_validate_refuses_what_run_refuses() -> None:
    Path("slow.yml").write_text("senders: [{name: a, mean_time: 1000, failure_rate: 0}]")
    assert refused("validate", "slow.yml").startswith("slow.yml: ")
    assert "no such file" in refused("validate")


def test_validate_tells_of_receipts() -> None:
    Path("alert.yml").write_text(
        "num_messages: 100\n"
        "senders:\n"
        "  - {name: a, mean_time: 0.1, failure_rate: 0, receipts: {mean_time: 4, missing: 0.02}}\n"
        "  - {name: b, mean_time: 0.1, failure_rate: 0}\n"
    )
    lines = invoke("validate").stdout.splitlines()
    assert "  a: on the phone 4 s after delivery, 2% without a receipt" in lines
    assert not [line for line in lines if line.startswith("  b: ")]


def test_validate_in_an_empty_folder_tells_what_writes_a_configuration() -> None:
    assert refused("validate") == "alert.yml: there is no such file; 'sms-pipeline init' writes one"
    assert refused("validate", "north.yml").startswith("north.yml: can't be read")


def test_validate_of_senders_without_a_limit() -> None:
    Path("alert.yml").write_text("senders: [{mean_time: 0, failure_rate: 0}]")
    assert "∞ attempts/s" in invoke("validate").stdout


def test_the_schema_is_printed() -> None:
    assert json.loads(invoke("schema").stdout) == configuration_schema()
