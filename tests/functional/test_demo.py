"""`make demo` and `make broker`, as somebody types them who has just cloned the project."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import require
from tests.functional.terminal import PATIENCE_SECONDS, Started, Terminal
from tests.services.processes import processes_with_environment
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def installed() -> None:
    """RabbitMQ is installed here."""
    require(RabbitMQNode.available())


def start(terminal: Terminal, script: str, *arguments: str) -> Started:
    program = (sys.executable, "-m", f"scripts.{script}")
    variables = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "DISPLAY": None, "BROWSER": None}
    return terminal.start(*arguments, program=program, **variables)


def await_nothing_left(folder: Path) -> None:
    home = str(folder / ".rabbitmq")
    wait_until(
        lambda: not processes_with_environment("HOME", home), PATIENCE_SECONDS, "the broker ends"
    )


def test_the_demo_shows_a_run_over_rabbitmq_and_one_ctrl_c_ends_all(terminal: Terminal) -> None:
    demo = start(terminal, "demo", "300")
    demo.says("The run is done")
    assert "300 of 300 messages" in demo.out
    page = re.search(r"The dashboard: (http://\S+)", demo.out)
    assert page
    with urlopen(page[1], timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
        assert answer.status == 200
    demo.interrupt()
    ended = demo.wait()
    assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    await_nothing_left(terminal.folder)
    # What was rehearsed is still there.
    assert terminal.run("audit", SMS_DATABASE_URL=None).code == 0


def test_make_broker_tells_what_to_export(terminal: Terminal) -> None:
    broker = start(terminal, "broker")
    broker.says("sms-pipeline monitor")
    url = re.search(r"export CELERY_BROKER_URL=(\S+)", broker.out)
    assert url
    produced = terminal.run("produce", "-n", "10", SMS_DATABASE_URL=None, CELERY_BROKER_URL=url[1])
    assert produced.code == 0, produced.err
    broker.interrupt()
    assert broker.wait().code == 0
    await_nothing_left(terminal.folder)
