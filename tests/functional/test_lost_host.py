"""A worker that falls silent with batches in hand does not starve the others."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

#: Only a failure waits so long.
PATIENCE_SECONDS = 90.0
SENDERS, MEAN_TIME = 20, 0.1
#: Messages a second that one worker can send.
CAPACITY = SENDERS / MEAN_TIME
#: From when the survivor's own backlog would be used up to when the broker notices by itself.
WATCHED_SECONDS = 30.0
SHARE = 0.8


def settled_by(database_url: str, worker: WorkerProcess) -> int:
    """Messages of the first run that a worker process has settled."""
    return sum(
        row["attempts"]
        for row in checker.rows(database_url, "counters", 1)
        if f"-{worker.pid}-" in row["worker"]
    )


# PostgreSQL: whoever is stopped while it writes to SQLite keeps everyone from writing.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_healthy_worker_keeps_its_rate_while_another_is_silent(
    shared_terminal: Terminal, database_url: str, start_worker: Callable[..., WorkerProcess]
) -> None:
    # Given two workers in the middle of a run that adaptive routing holds back
    shared_terminal.configure(
        num_messages=1_000_000,
        senders=[{"name": "fast", "count": SENDERS, "mean_time": MEAN_TIME, "failure_rate": 0}],
    )
    silent, healthy = (
        start_worker("fast", shared_terminal.environment, wait=False) for _ in range(2)
    )
    for worker in (silent, healthy):
        worker.ready()
    producer = shared_terminal.start("produce")
    for worker in (silent, healthy):
        wait_until(
            lambda worker=worker: settled_by(database_url, worker) >= 2 * CAPACITY,
            PATIENCE_SECONDS,
            "both workers are at it",
        )

    # When one falls silent, as behind a link that was cut: its batches do not come back
    silent.pause()
    before, began = settled_by(database_url, healthy), time.monotonic()

    # Then the producer says what it may hold
    producer.says("messages are with worker")

    # And the other has enough to do all the time
    wanted = before + SHARE * CAPACITY * WATCHED_SECONDS
    wait_until(
        lambda: settled_by(database_url, healthy) >= wanted,
        WATCHED_SECONDS - (time.monotonic() - began),
        f"the healthy worker keeps {SHARE:.0%} of its rate",
    )
