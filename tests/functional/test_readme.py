"""The commands of the README, as a new user would type them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
#: Long enough for a run of 10,000 messages by the default profiles on a loaded machine.
LONG_SECONDS = 110
#: What a run of an example ends with when one attempt per message is too few for its thresholds.
EXIT_THRESHOLD = 3


def commands() -> list[str]:
    """Every line that follows a prompt."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def shell(
    command: str, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "SMS_"))}
    clean["PATH"] = f"{BIN}{os.pathsep}{clean['PATH']}"
    return subprocess.run(
        shlex.split(command),
        cwd=folder,
        env={**clean, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
        check=False,
    )


def test_the_first_commands_run_and_prove_a_thousand_messages(tmp_path: Path) -> None:
    assert commands()[:2] == ["make run", ".venv/bin/sms-pipeline audit"]
    run = shell("make -n run", ROOT)
    assert ".venv/bin/sms-pipeline run" in run.stdout.splitlines()

    ran = shell("sms-pipeline run", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "1,000 of 1,000 messages" in ran.stdout

    audit = shell("sms-pipeline audit", tmp_path)
    assert audit.returncode == 0, audit.stdout
    assert audit.stdout.splitlines()[-1] == "Verdict: proven"


def test_the_commands_for_separate_terminals_work_together(
    tmp_path: Path,
    broker_url: str,
    database_url: str,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given the environment and the workers that the README starts
    environment = {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": database_url}
    workers = [line for line in commands() if "worker --profile" in line]
    assert workers
    for line in workers:
        words = shlex.split(line)
        assert words[:5] == ["celery", "-A", "sms_pipeline", "worker", "--profile"]
        start_worker(words[5], environment, arguments=words[6:])

    # When its other commands are typed
    for line in [line for line in commands() if line.startswith(("sms-pipeline produce",))]:
        produced = shell(line.replace("10000", "2000"), tmp_path, environment)
        assert produced.returncode == 0, produced.stderr
    watched = shell("sms-pipeline monitor --every 2", tmp_path, environment)

    # Then the run is done, and its totals are proven
    assert watched.returncode == 0, watched.stderr
    assert "done: 2,000 of 2,000 messages" in watched.stdout
    audit = shell("sms-pipeline audit", tmp_path, environment)
    assert audit.returncode == 0, audit.stdout


def test_the_configuration_shown_is_accepted(tmp_path: Path) -> None:
    pages = README + (ROOT / "docs" / "configuration.md").read_text()
    people = [f"+1202555{row:04},north" for row in range(100)]
    (tmp_path / "people.csv").write_text("\n".join(["to,zone", *people]))
    for number, example in enumerate(re.findall(r"```yaml\n(.*?)```", pages, re.S)):
        file = tmp_path / f"{number}.yml"
        file.write_text(example)
        ran = shell(f"sms-pipeline run {file} -n 20 --max-attempts 1", tmp_path)
        assert ran.returncode in (0, EXIT_THRESHOLD), ran.stderr


@pytest.mark.parametrize("row", re.findall(r"^\| `(sms-pipeline[^|]*)\|", README, re.M))
def test_each_command_of_the_table_has_help(row: str, tmp_path: Path) -> None:
    names = re.findall(r"`(?:sms-pipeline )?([a-z]+)", f"`{row}")
    assert names
    for name in names:
        helped = shell(f"sms-pipeline {name} --help", tmp_path)
        assert helped.returncode == 0, name
