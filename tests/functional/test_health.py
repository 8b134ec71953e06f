"""What probes of a real worker are told while it, its broker or its ledger is in trouble."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sms_pipeline.ledger.store import Ledger
from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.postgres import PostgresNode
from tests.services.processes import free_port
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

#: Only a failure waits so long.
PATIENCE_SECONDS = 60.0
#: A probe of Kubernetes waits one second by default.
PROBE_SECONDS = 5.0
#: A file that is older belongs to a worker that is not alive; see docs/hosts.md.
STALE_SECONDS = 5.0

StartWorker = Callable[..., WorkerProcess]


class Probe:
    """Asks one worker."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def __call__(self, path: str) -> tuple[int, dict[str, Any]]:
        """The status and the JSON; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(  # noqa: S310 - our own server
                self._url + path, timeout=PROBE_SECONDS
            ) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except urllib.error.URLError:
            return 0, {}

    def await_ready(self) -> dict[str, Any]:
        """Wait until it is."""
        wait_until(lambda: self("/ready")[0] == 200, PATIENCE_SECONDS, "the worker is ready")
        return self("/ready")[1]

    def await_hindrance(self, reason: str) -> None:
        """Wait until it is alive, and not ready, for that reason."""

        def is_told() -> bool:
            status, told = self("/ready")
            assert self("/live")[0] == 200, told
            return status == 503 and any(reason in one for one in told["reasons"])

        wait_until(is_told, PATIENCE_SECONDS, reason)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_worker_is_alive_but_not_ready_without_its_broker_or_its_ledger(
    start_worker: StartWorker, rabbitmq: RabbitMQNode, postgres: PostgresNode
) -> None:
    port = free_port()
    worker = start_worker("fast", arguments=["--health", str(port)])
    probe = Probe(port)
    told = probe.await_ready()
    assert (told["live"], told["reasons"], told["consuming"]) == (True, [], True)
    assert max(told[f"{part}_seconds"] for part in ("main_loop", "sender_driver")) < PROBE_SECONDS

    # When the broker is away, nobody needs it to say so
    rabbitmq.kill()
    probe.await_hindrance("the broker is not connected")
    assert probe("/live")[0] == 200
    rabbitmq.restart()
    probe.await_ready()

    # When the ledger is away
    postgres.kill()
    probe.await_hindrance("the ledger has not answered for")
    postgres.start()
    probe.await_ready()

    # When the worker shuts down
    worker.term()
    assert worker.wait() == 0
    assert probe("/live")[0] == 0


def test_file_is_fresh_only_while_the_worker_is_alive(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    file = tmp_path / "health.json"
    worker = start_worker("fast", arguments=["--health", str(file)])

    def is_ready() -> bool:
        return bool(json.loads(file.read_text())["ready"])

    def age() -> float:
        return time.time() - file.stat().st_mtime

    wait_until(is_ready, PATIENCE_SECONDS, "the worker is ready")
    assert age() < STALE_SECONDS
    # When it hangs, the file grows old
    worker.pause()
    wait_until(lambda: age() > STALE_SECONDS, PATIENCE_SECONDS, "the file is stale")
    worker.resume()
    wait_until(lambda: age() < STALE_SECONDS, PATIENCE_SECONDS, "the file is fresh")
    # When it has ended, the file is gone
    worker.term()
    assert worker.wait() == 0
    assert not file.exists()


def test_shutdown_waits_for_the_batches_in_hand_as_long_as_it_is_told(
    shared_terminal: Terminal, start_worker: StartWorker, rabbitmq: RabbitMQNode, database_url: str
) -> None:
    # Given a batch that takes a minute
    shared_terminal.configure(
        num_messages=1, senders=[{"name": "fast", "mean_time": 60, "failure_rate": 0}]
    )
    environment = shared_terminal.environment
    worker = start_worker(
        "fast", environment, arguments=["--drain", "1"], cwd=Path(shared_terminal.folder)
    )
    shared_terminal.start("produce").says("Run 1")
    wait_until(
        lambda: checker.rows(database_url, "batches", 1) and "received" in worker.logs(),
        PATIENCE_SECONDS,
        "the batch is in hand",
    )
    # When it is told to stop, then it gives up soon after a second, and the batch goes back
    worker.term()
    began = time.monotonic()
    assert worker.wait() == 0
    assert time.monotonic() - began < 15
    assert "for at most 1 s" in worker.logs()
    assert "1 batch goes back to the broker" in worker.logs()


def test_secrets_come_from_files_and_the_profile_from_the_environment(
    start_worker: StartWorker, broker_url: str, database_url: str, tmp_path: Path
) -> None:
    files = {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": database_url}
    environment = {"SMS_PROFILE": "slow", "SMS_SENDERS": "7"}
    for name, url in files.items():
        (tmp_path / name).write_text(f"{url}\n")
        environment |= {name: "", f"{name}_FILE": str(tmp_path / name)}
    # An empty option is none
    start_worker("", environment)
    with closing(Ledger.open(database_url)) as ledger:
        (row,) = ledger.workers()
    assert (row.profile, row.senders) == ("slow", 7)
