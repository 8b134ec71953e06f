"""A rehearsal on several hosts: workers there, broker, database and producer here."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.functional import checker
from tests.functional.terminal import Started, Terminal
from tests.hosts.network import Host
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

#: Only a failure waits so long.
PATIENCE_SECONDS = 90.0
PROFILE = "carrier"
#: Each host sends 200 messages a second.
SENDERS, MEAN_SECONDS = 20, 0.1
HOST_RATE = SENDERS / MEAN_SECONDS
_POLL_SECONDS = 0.2


class Stage:
    """A terminal and its workers."""

    def __init__(self, terminal: Terminal) -> None:
        """On the broker and the ledger that the terminal's environment names."""
        self.terminal = terminal
        self._workers: list[WorkerProcess] = []

    @property
    def database_url(self) -> str:
        """The ledger's."""
        return self.terminal.environment["SMS_DATABASE_URL"]

    def configure(self, messages: int, failure_rate: float = 0.02) -> None:
        """So many messages, all by one profile."""
        profile = {
            "name": PROFILE,
            "count": SENDERS,
            "mean_time": MEAN_SECONDS,
            "failure_rate": failure_rate,
        }
        self.terminal.configure(
            num_messages=messages,
            senders=[profile],
            retry={"backoff": 1, "backoff_max": 1},
        )

    def worker_on(self, *hosts: Host | None) -> list[WorkerProcess]:
        """One worker on each host; None is this machine."""
        started = []
        for host in hosts:
            prefix = host.prefix if host else ()
            worker = WorkerProcess(
                PROFILE, self.terminal.folder, self.terminal.environment, prefix=prefix
            )
            self._workers.append(worker)
            worker.start()
            started.append(worker)
        for worker in started:
            worker.ready()
        return started

    def produce(self) -> Started:
        """Start a producer on this machine."""
        return self.terminal.start("produce")

    def finished(self, run: int = 1) -> int:
        """What a reader sees now: a settlement's own time is before its commit."""
        return checker.finished(self.database_url, run)

    def await_finished(self, count: int, run: int = 1) -> None:
        """Wait until so many messages are in a terminal state."""
        wait_until(
            lambda: self.finished(run) >= count,
            PATIENCE_SECONDS,
            f"{count} messages are in a terminal state",
        )

    def readings(self, seconds: float, run: int = 1) -> Iterator[tuple[float, int]]:
        """(seconds since now, messages in a terminal state), for so long."""
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            yield now, self.finished(run)
            time.sleep(_POLL_SECONDS)

    def rate_over(self, seconds: float, run: int = 1) -> float:
        """Messages a second that end from now on, for so long."""
        readings = list(self.readings(seconds, run))
        (began, before), (ended, after) = readings[0], readings[-1]
        return (after - before) / (ended - began)

    def longest_gap(self, seconds: float, run: int = 1) -> float:
        """The longest time from now on in which nothing ended."""
        latest, changed, longest = -1, 0.0, 0.0
        for now, count in self.readings(seconds, run):
            if count != latest:
                latest, changed = count, now
            longest = max(longest, now - changed)
        return longest

    def assert_proven(self, total: int, run: int = 1) -> None:
        """By the audit, and by the checker that compares sets of messages."""
        audit = self.terminal.run("audit", str(run))
        assert audit.code == 0, audit.out + audit.err
        checker.assert_counted_once(self.database_url, run, total)

    def close(self) -> None:
        """Kill what still runs."""
        for worker in self._workers:
            worker.kill()
        self.terminal.close()
