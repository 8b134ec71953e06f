"""Runs that are started from the page, and sent by workers over RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest

from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess
from tests.unit.views.browser import Browser

PATIENCE_SECONDS = 60.0
MESSAGES = 200
SENDERS = "senders: [{name: fast, count: 20, mean_time: 0.01, failure_rate: 0.05}]\n"
RUN = f"num_messages: {MESSAGES}\n{SENDERS}retry: {{max_attempts: 2, backoff: 0}}\n"
#: Takes minutes, and is dispatched in small pieces.
LONG = f"num_messages: 1000000\nbatch_size: 100\n{SENDERS}"

pytestmark = pytest.mark.usefixtures("dashboard_packages")


class Page:
    """A dashboard, and somebody who starts runs there."""

    def __init__(self, terminal: Terminal, loop: asyncio.AbstractEventLoop) -> None:
        self.dashboard = terminal.start("dashboard", "--port", "0")
        self.dashboard.says("http://")
        found = re.search(r"http://\S+:(\d+)", self.dashboard.out)
        assert found
        self._browser = Browser(loop, int(found[1]))

    def post(self, path: str, text: str = "") -> tuple[int, dict[str, Any]]:
        """Status and answer."""
        token = self._browser.token()
        answer = self._browser.ask(path, "POST", json.dumps({"text": text}), X_Xsrftoken=token)
        return answer.code, json.loads(answer.body)

    def start(self, path: str, text: str = "") -> int:
        """Start a run; returns its number."""
        code, answer = self.post(path, text)
        assert code == HTTPStatus.OK, answer
        return int(answer["run"])

    def await_proof(self, run: int) -> None:
        """Wait until the page shows that it ended well."""
        wait_until(
            lambda: self.read(run)["verdict"].startswith("Proven"),
            PATIENCE_SECONDS,
            f"run {run} is proven",
        )

    def read(self, run: int) -> dict[str, Any]:
        return dict(self._browser.json(f"/api/runs/{run}"))


@pytest.fixture
def page(shared_terminal: Terminal) -> Iterator[Page]:
    """A dashboard on the broker and the ledger of this test's workers."""
    loop = asyncio.new_event_loop()
    opened = Page(shared_terminal, loop)
    yield opened
    # Whatever it has started ends with it.
    opened.dashboard.interrupt()
    opened.dashboard.wait()
    loop.close()


def senders_of(database_url: str, run: int) -> set[str]:
    """The worker processes that took part, by their ids."""
    return {row["worker"] for row in checker.rows(database_url, "settlements", run)}


def test_workers_send_what_is_started_and_what_is_run_again(
    page: Page, database_url: str, start_worker: Callable[..., WorkerProcess]
) -> None:
    # Given a worker with senders of its own
    worker = start_worker("fast")

    # When a run is started and repeated, then the forecast has said who sends it
    code, forecast = page.post("/api/forecast", RUN)
    assert (code, forecast["workers"]) == (HTTPStatus.OK, 1), forecast
    assert "other senders" in forecast["lines"][-1] and "fast 20 at 0.05 s" in forecast["lines"][-1]
    first = page.start("/api/start", RUN)
    second = page.start(f"/api/runs/{first}/again")

    # And that worker has sent all of both
    for run in (first, second):
        page.await_proof(run)
        checker.assert_counted_once(database_url, run, MESSAGES)
        (sender,) = senders_of(database_url, run)
        assert sender.startswith(f"fast-{worker.pid}-")


def test_without_a_worker_a_run_brings_its_own(page: Page, database_url: str) -> None:
    run = page.start("/api/start", RUN)
    page.await_proof(run)
    assert senders_of(database_url, run)


@pytest.mark.parametrize("broker_url", ["amqp://guest:guest@127.0.0.1:1"])
def test_without_a_broker_nothing_is_started(page: Page) -> None:
    code, answer = page.post("/api/start", RUN)
    assert code == HTTPStatus.CONFLICT
    assert "the broker at " in answer["error"] and "can't be reached" in answer["error"]
    assert "guest:guest" not in answer["error"]


def test_when_the_dashboard_ends_workers_go_on_with_what_was_dispatched(
    page: Page,
    shared_terminal: Terminal,
    database_url: str,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given a run under way
    start_worker("fast")
    run = page.start("/api/start", LONG)
    wait_until(lambda: page.read(run)["delivered"], PATIENCE_SECONDS, "it gets on")

    # When the dashboard ends
    page.dashboard.interrupt()
    ended = page.dashboard.wait()
    assert (ended.code, ended.err) == (0, "")
    (farewell,) = ended.out.splitlines()[1:]
    assert f"Dispatch the rest: sms-pipeline resume {run}" in farewell

    # Then nothing more is dispatched, but what was is sent, and `resume` takes it up
    dispatched = len(checker.rows(database_url, "batches", run))
    finished = checker.finished(database_url, run)
    wait_until(
        lambda: checker.finished(database_url, run) > finished, PATIENCE_SECONDS, "workers go on"
    )
    assert len(checker.rows(database_url, "batches", run)) == dispatched
    resumed = shared_terminal.start("resume", "--force")
    resumed.says("batches dispatched again")
