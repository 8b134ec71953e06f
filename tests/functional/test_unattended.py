"""Messages of a profile whose workers are gone: idle workers of another one take them over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

PATIENCE_SECONDS = 60.0
MESSAGES = 900
#: A third of the messages goes to `slow`; half of the attempts fail, so that retries come back.
SIMULATION = {
    "num_messages": MESSAGES,
    "batch_size": 10,
    "routing": "static",
    "senders": [
        {"name": "fast", "count": 20, "mean_time": 0.1, "failure_rate": 0.5},
        {"name": "slow", "count": 10, "mean_time": 0.1, "failure_rate": 0.5},
    ],
    "retry": {"max_attempts": 4, "backoff": 1, "backoff_max": 1},
    "failover": {"unattended": 1},
}


def settled(database: str, run: int, batches_of: str) -> Counter[str]:
    """Who settled the batches that were dispatched to a profile."""
    mine = {row["number"] for row in checker.rows(database, "batches", run)
            if row["profile"] == batches_of}  # fmt: skip
    return Counter(
        row["profile"] for row in checker.rows(database, "settlements", run) if row["batch"] in mine
    )


def test_messages_of_killed_workers_are_sent_by_idle_workers_of_another_profile(
    shared_terminal: Terminal, start_worker: Callable[..., WorkerProcess]
) -> None:
    # Given a run on two profiles
    terminal, database = shared_terminal, shared_terminal.environment["SMS_DATABASE_URL"]
    terminal.configure(**SIMULATION)
    start_worker("fast", terminal.environment)
    slow = start_worker("slow", terminal.environment)
    assert terminal.run("produce").code == 0
    wait_until(
        lambda: settled(database, 1, "slow")["slow"] > 2, PATIENCE_SECONDS, "both are at work"
    )

    # When the only worker of one of them is killed
    slow.kill()
    killed_at = time.monotonic()

    # Then the run comes to its end in seconds, each message counted once
    wait_until(
        lambda: checker.finished(database, 1) == MESSAGES, PATIENCE_SECONDS, "every message ends"
    )
    assert time.monotonic() - killed_at < PATIENCE_SECONDS / 2
    checker.assert_counted_once(database, 1, MESSAGES, failover=True)
    assert terminal.run("audit").code == 0
    assert settled(database, 1, "slow")["fast"] > 0
    assert set(settled(database, 1, "fast")) == {"fast"}

    # And when a worker of it is there again, it gets its own messages
    start_worker("slow", terminal.environment)
    assert terminal.run("produce").code == 0
    wait_until(
        lambda: checker.finished(database, 2) == MESSAGES, PATIENCE_SECONDS, "the next one ends"
    )
    assert set(settled(database, 2, "slow")) == {"slow"}
    assert terminal.run("audit").code == 0


def test_retries_come_back_to_a_profile_that_never_had_a_worker(
    shared_terminal: Terminal, start_worker: Callable[..., WorkerProcess]
) -> None:
    # Given a broker at which only one of the two profiles ever had workers
    terminal, database = shared_terminal, shared_terminal.environment["SMS_DATABASE_URL"]
    terminal.configure(**SIMULATION)
    assert terminal.run("produce").code == 0
    start_worker("fast", terminal.environment)

    # Then the run comes to its end all the same: half of the attempts fail, and are retried
    wait_until(
        lambda: checker.finished(database, 1) == MESSAGES, PATIENCE_SECONDS, "every message ends"
    )
    assert set(settled(database, 1, "slow")) == {"fast"}
    assert terminal.run("audit").code == 0
