"""Commands that start or resume a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.cli.commands import PROCESS_SECONDS, invoke, refused


def test_produce_needs_a_broker() -> None:
    line = refused("produce")
    assert "CELERY_BROKER_URL" in line
    assert "sms-pipeline run" in line


def test_celery_worker_needs_a_broker(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "sms_pipeline", "worker", "--profile", "fast"],
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
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


@pytest.mark.parametrize("broker", ["", "amqp://nowhere.invalid"])
def test_resume_of_a_run_that_is_done_says_so_and_asks_nobody(ledger: Ledger, broker: str) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id)])
    result = invoke("resume", CELERY_BROKER_URL=broker)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "Run 1 is done: there is nothing to resume.\n"


def test_resume_that_does_not_watch_judges_nothing(ledger: Ledger) -> None:
    ledger.start_run(make.simulation(), seed=1)
    broker = {"CELERY_BROKER_URL": "amqp://localhost"}
    result = invoke("resume", "--threshold", "lost == 0", **broker)
    assert result.exit_code == 2
    assert "'monitor'" in result.stderr
