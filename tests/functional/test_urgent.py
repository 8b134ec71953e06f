"""An urgent run beside a bulk run, on the same worker."""

from __future__ import annotations

from collections.abc import Callable

from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

PATIENCE_SECONDS = 120.0
#: 1,000 messages a second, in batches of a tenth of a second: a worker takes 56 of them in hand.
FAST = {"name": "fast", "count": 200, "mean_time": 0.2, "failure_rate": 0.1}
RETRY = {"backoff": 1, "backoff_max": 1, "max_attempts": 4}
URGENT, BULK = 4_000, 20_000


def finished(database_url: str, run: int) -> int:
    return checker.finished(database_url, run)


def reached_after(database_url: str, run: int, share: float) -> float:
    """Seconds from the dispatch of a run until so many of its messages were delivered."""
    batches = checker.rows(database_url, "batches", run)
    wanted = share * sum(batch["size"] for batch in batches)
    delivered = 0
    for row in sorted(
        checker.rows(database_url, "settlements", run), key=lambda row: row["settled_at"]
    ):
        delivered += row["delivered"]
        if delivered >= wanted:
            return row["settled_at"] - min(batch["queued_at"] for batch in batches)
    raise AssertionError(f"run {run} never reached {share:.0%}")


def settled_while_urgent(database_url: str, bulk: int, urgent: int) -> int:
    """Bulk messages that ended while first attempts of an urgent run waited for senders."""
    first = sorted(
        row["settled_at"]
        for row in checker.rows(database_url, "settlements", urgent)
        if row["attempt"] == 0
    )
    # What was under way is sent to its end; a batch is settled when its slowest message has ended
    start, end = first[len(first) // 4], first[-1]
    return sum(
        row["delivered"]
        for row in checker.rows(database_url, "settlements", bulk)
        if start < row["settled_at"] < end
    )


def test_an_urgent_run_is_done_while_a_bulk_run_waits(
    shared_terminal: Terminal, start_worker: Callable[..., WorkerProcess]
) -> None:
    terminal, database_url = shared_terminal, shared_terminal.environment["SMS_DATABASE_URL"]
    terminal.configure(senders=[FAST], batch_size=100, routing="static", retry=RETRY)
    start_worker("fast", terminal.environment)

    def produce(*options: str) -> None:
        produced = terminal.run("produce", *options)
        assert produced.code == 0, produced.err

    def await_done(run: int, messages: int) -> None:
        wait_until(
            lambda: finished(database_url, run) >= messages, PATIENCE_SECONDS, f"run {run} is done"
        )

    # Given what an urgent run takes when it is alone
    produce("-n", str(URGENT), "--urgent")
    await_done(1, URGENT)
    # When another one comes while a worker has its hands full of a bulk run
    produce("-n", str(BULK))
    wait_until(
        lambda: finished(database_url, 2) >= BULK // 20, PATIENCE_SECONDS, "bulk is being sent"
    )
    produce("-n", str(URGENT), "--urgent")
    await_done(3, URGENT)
    # Then senders do hardly anything else until it is: `python -m benchmarks.urgent` has the ratio
    assert finished(database_url, 2) < BULK
    alone, beside = (reached_after(database_url, run, 0.99) for run in (1, 3))
    assert beside < 1.5 * alone
    assert settled_while_urgent(database_url, bulk=2, urgent=3) < URGENT // 10
    # And the bulk run loses nothing by it
    await_done(2, BULK)
    for run, messages in ((1, URGENT), (2, BULK), (3, URGENT)):
        checker.assert_counted_once(database_url, run, messages)
