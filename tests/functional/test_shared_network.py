"""Workers in containers that share their host's network: each is process 1 of the same host."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sms_pipeline.core.hosts import host_of
from sms_pipeline.ledger.store import Ledger
from tests.services.processes import GuardedProcess
from tests.services.waiting import wait_until
from tests.services.worker import FOREIGN_VARIABLES, READY_LOG

PATIENCE_SECONDS = 60.0
#: A process number space of its own, as a container has; the network and the name stay the host's.
IN_A_CONTAINER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare"
)

Start = Callable[[str], GuardedProcess]


@pytest.fixture
def start(broker_url: str, database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start a worker of the profile fast."""
    started: list[GuardedProcess] = []
    own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_VARIABLES)}
    urls = {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": database_url}

    def worker(name: str) -> GuardedProcess:
        process = GuardedProcess(
            [
                *IN_A_CONTAINER,
                *(sys.executable, "-m", "celery", "-A", "sms_pipeline", "worker"),
                *("--profile", "fast", "--loglevel", "INFO"),
            ],
            cwd=tmp_path,
            environment=own | urls,
            log=tmp_path / f"{name}.log",
        )
        started.append(process)
        return process

    yield worker
    for process in started:
        process.kill()


def test_workers_that_are_all_process_1_live_side_by_side(start: Start, database_url: str) -> None:
    # When two start one after the other, then neither shuts the other out
    for worker in (start("first"), start("second")):
        wait_until(
            lambda worker=worker: READY_LOG in worker.log.read_text(),  # type: ignore[misc]
            PATIENCE_SECONDS,
            "it is ready",
        )
    with closing(Ledger.open(database_url)) as ledger:
        ids = [row.id for row in ledger.workers()]
    assert len(set(ids)) == 2
    assert {host_of(one) for one in ids} == {socket.gethostname()}
    assert all("-1-" in one for one in ids)
