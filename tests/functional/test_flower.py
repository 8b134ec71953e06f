"""Flower and `celery inspect` on a real worker: batches in words, retries, profiles, no numbers."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from sms_pipeline.core.messages import make_columns
from tests.functional.terminal import CELERY, PATIENCE_SECONDS, Started, Terminal
from tests.services.processes import free_port
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

HTTP_SECONDS = 10
MESSAGES, SEED = 200, 7
#: Long enough to be seen at work, and to fail often.
PROFILE = {"name": "fast", "count": 40, "mean_time": 0.5, "failure_rate": 0.5}


@pytest.fixture
def pipeline(
    shared_terminal: Terminal, start_worker: Callable[..., WorkerProcess]
) -> Iterator[Terminal]:
    """A worker, and a terminal with the same profile."""
    path = shared_terminal.configure(
        senders=[PROFILE], num_messages=MESSAGES, seed=SEED, batch_size=20
    )
    start_worker("fast", {"SMS_CONFIG": str(path)})
    yield shared_terminal


@pytest.fixture
def flower(pipeline: Terminal) -> tuple[Started, str]:
    """Flower, as the README starts it but for the port, and its URL."""
    port = free_port()
    started = pipeline.start("flower", f"--port={port}", program=CELERY)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: page(url, "/healthcheck") == "OK", PATIENCE_SECONDS, "Flower answers")
    return started, url


def page(url: str, path: str) -> str:
    try:
        with urllib.request.urlopen(url + path, timeout=HTTP_SECONDS) as response:  # noqa: S310
            return str(response.read().decode())
    except urllib.error.URLError:
        return ""


def rows(url: str) -> list[dict[str, Any]]:
    """What the page of tasks shows."""
    query = urllib.parse.urlencode(
        {
            "draw": 1,
            "start": 0,
            "length": 100,
            "search[value]": "",
            "order[0][column]": 0,
            "order[0][dir]": "asc",
            "columns[0][data]": "name",
        }
    )
    found: list[dict[str, Any]] = json.loads(page(url, f"/tasks/datatable?{query}"))["data"]
    return found


def test_flower_shows_batches_retries_and_profiles_and_no_numbers(
    pipeline: Terminal, flower: tuple[Started, str]
) -> None:
    # Given a run half of whose attempts fail
    process, url = flower
    assert pipeline.run("produce").code == 0

    # Then retries are seen as such while they wait, and end as successes
    def retried() -> list[dict[str, Any]]:
        return [row for row in rows(url) if row["state"] == "RETRY"]

    waiting = wait_until(retried, PATIENCE_SECONDS, "Flower shows a retry")
    for row in waiting:
        assert re.fullmatch(
            r"retried as run \d+, batch \d+: \d+ SMS, attempt \d in \d+ s", row["exception"]
        )

    # And whoever is asked what a worker has in hand, the answer has no numbers
    active = pipeline.start("inspect", "active", "--json", program=CELERY).wait()
    name = wait_until(lambda: rows(url)[0]["worker"], PATIENCE_SECONDS, "the worker is named")
    assert re.fullmatch(r"fast-\d+-[0-9a-f]{6}@.+", name)
    assert name in active.out
    assert re.search(r"run \d+, batch \d+: \d+ SMS", active.out)
    pages = [page(url, f"/worker/{name}"), page(url, "/tasks"), page(url, "/")]
    assert name in pages[0]

    assert pipeline.run("monitor").code == 0

    def all_ended() -> list[dict[str, Any]]:
        found = rows(url)
        return found if {row["state"] for row in found} == {"SUCCESS"} else []

    ended = wait_until(all_ended, PATIENCE_SECONDS, "every batch ends as a success")
    assert len(ended) == MESSAGES / 20
    for row in ended:
        assert re.fullmatch(r"run \d+, batch \d+: \d+ SMS(, attempt \d)?", row["args"])
        assert row["retries"] == 0 or f"attempt {row['retries'] + 1}" in row["args"]
    pages += [page(url, f"/task/{row['uuid']}") for row in ended] + [json.dumps(ended)]
    columns = make_columns(SEED, 0, MESSAGES, 100, "xxx-xxx-xxxx")
    for secret in (*columns.to.split("\n"), *filter(None, columns.text.split("\n"))):
        if len(secret) >= 8:
            assert not any(secret in one for one in (*pages, active.out, process.err))

    # And nobody else on the network can look
    addresses = {
        connection.laddr.ip
        for connection in psutil.Process(process.process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}
