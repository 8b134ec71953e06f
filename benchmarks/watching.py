"""What it costs to be watched: by a terminal monitor, the dashboard and Prometheus at once.

The same run is made in pairs, one watched and one not, in turns, on one worker; the cost is the
middle one of the pairs' differences. The monitor redraws in a terminal, the dashboard's page asks
for its figures and Prometheus scrapes, each once a second.
"""

from __future__ import annotations

import os
import pty
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import psutil
from click.testing import CliRunner

from benchmarks import harness
from benchmarks.harness import Record
from benchmarks.rehearsal import (
    BIN,
    Fleet,
    Result,
    Services,
    Setting,
    command,
    cpu_seconds,
    fleet,
    own_environment,
)
from benchmarks.throughput import PLENTY, TINY
from sms_pipeline.cli.main import cli
from tests.services.processes import free_port
from tests.services.waiting import wait_until

NAME = "watching"
PAIRS, TINY_PAIRS = 5, 1
PERIOD_SECONDS = 1.0
#: In a run of so long every visitor has been answered.
SEEN_SECONDS = 4.0
START_SECONDS, ANSWER_SECONDS = 30.0, 5.0
_TERMINAL_BYTES = 65_536
FAST = Setting(messages=100_000, senders=10_000, mean_time=0.01)
SETTINGS = {
    "100,000 messages, 20,000 senders": Setting(messages=100_000, senders=20_000),
    "100,000 messages, flat out": FAST,
    "3,000,000 messages, flat out": Setting(messages=3_000_000, senders=PLENTY),
}


class Visitor(threading.Thread):
    """Asks for an address once a second, as a page or Prometheus does."""

    def __init__(self, address: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._ended = threading.Event()
        self.answers = 0

    def run(self) -> None:
        """Thread body."""
        while not self._ended.wait(PERIOD_SECONDS):
            with suppress(OSError):
                self.answers += bool(fetch(self._address()))

    def stop(self) -> None:
        """End the thread; it must have seen something by then."""
        self._ended.set()
        self.join()


class Watchers:
    """Processes that watch, and visitors that make them work."""

    def __init__(self) -> None:
        self.processes: list[psutil.Process] = []
        self.visitors: list[Visitor] = []

    def cpu_seconds(self) -> float:
        """What all have used so far."""
        return cpu_seconds(self.processes)


@contextmanager
def watched(workers: Fleet) -> Iterator[Watchers]:
    """Everything that this version can be watched with, at once."""
    watchers = Watchers()
    with ExitStack() as stack:
        stack.enter_context(_terminal_monitor(workers, watchers))
        if offers("monitor", "--metrics"):
            stack.enter_context(_prometheus(workers, watchers))
        if "dashboard" in cli.commands:
            stack.enter_context(_dashboard(workers, watchers))
        yield watchers


def offers(name: str, option: str) -> bool:
    """Whether `sms-pipeline` has this option of this command."""
    return option in CliRunner().invoke(cli, [name, "--help"]).output


@contextmanager
def _terminal_monitor(workers: Fleet, watchers: Watchers) -> Iterator[None]:
    """A monitor that believes it is looked at."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [BIN / "sms-pipeline", "monitor", "--forever", "--every", str(PERIOD_SECONDS)],
        cwd=workers.folder,
        env=own_environment() | workers.environment | {"TERM": "xterm"},
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    reader = threading.Thread(target=_read_all, args=(ours,), daemon=True)
    reader.start()
    watchers.processes.append(psutil.Process(process.pid))
    try:
        yield
    finally:
        process.kill()
        process.wait()
        reader.join()
        os.close(ours)


def _read_all(terminal: int) -> None:
    # Reading fails once the other end is closed.
    with suppress(OSError):
        while os.read(terminal, _TERMINAL_BYTES):
            pass


@contextmanager
def _prometheus(workers: Fleet, watchers: Watchers) -> Iterator[None]:
    port = free_port()
    arguments = ("monitor", "--forever", "--every", PERIOD_SECONDS, "--metrics", port)
    address = f"http://127.0.0.1:{port}/metrics"
    with _serving(workers, watchers, arguments, address, lambda: address):
        yield


@contextmanager
def _dashboard(workers: Fleet, watchers: Watchers) -> Iterator[None]:
    port = free_port()
    site = f"http://127.0.0.1:{port}"

    def latest() -> str:
        return f"{site}/api/runs/{workers.ledger.latest_run_id()}"

    arguments = ("dashboard", "--port", port)
    with _serving(workers, watchers, arguments, f"{site}/api/runs", latest):
        yield


@contextmanager
def _serving(
    workers: Fleet,
    watchers: Watchers,
    arguments: tuple[object, ...],
    ready: str,
    address: Callable[[], str],
) -> Iterator[None]:
    """A server of figures that is up, with one visitor."""
    with command(workers.folder, workers.environment, *arguments) as process:
        wait_until(lambda: _answers(ready), START_SECONDS, f"{ready} answers")
        watchers.processes.append(psutil.Process(process.pid))
        visitor = Visitor(address)
        watchers.visitors.append(visitor)
        visitor.start()
        try:
            yield
        finally:
            visitor.stop()


def _answers(address: str) -> bool:
    with suppress(OSError):
        return bool(fetch(address))
    return False


def fetch(address: str) -> bytes:
    """What the address answers."""
    with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - ours
        content: bytes = answer.read()
        return content


def run_unwatched(workers: Fleet, setting: Setting) -> dict[str, Any]:
    """One half of a pair."""
    return _figures(workers.rehearse(setting))


def run_watched(workers: Fleet, setting: Setting) -> dict[str, Any]:
    """The other half."""
    with watched(workers) as watchers:
        # All are at work before the run begins.
        time.sleep(PERIOD_SECONDS)
        before, began = watchers.cpu_seconds(), time.monotonic()
        found = _figures(workers.rehearse(setting))
        found["watchers_cores"] = (watchers.cpu_seconds() - before) / (time.monotonic() - began)
        found["watchers"] = len(watchers.processes)
        found["answers"] = [visitor.answers for visitor in watchers.visitors]
        long = found["seconds"] > SEEN_SECONDS
        assert all(found["answers"]) or not long, "a watcher saw nothing of the run"
    return found


def _figures(result: Result) -> dict[str, Any]:
    return {"rate": result.rate, "seconds": result.seconds}


def pairs_of(workers: Fleet, setting: Setting, count: int) -> Iterator[dict[str, Any]]:
    """Watched first in one pair, second in the next."""
    halves = (("unwatched", run_unwatched), ("watched", run_watched))
    for number in range(count):
        order = halves if number % 2 else halves[::-1]
        yield {name: half(workers, setting) for name, half in order}


def cost(pairs: list[dict[str, Any]]) -> float:
    """The share of the rate that is lost; below 0 it is the noise that is measured."""
    return harness.median(
        [1 - pair["watched"]["rate"] / pair["unwatched"]["rate"] for pair in pairs]
    )


def measure(record: Record, services: Services) -> None:
    """Every row that is wanted."""
    for title, setting in SETTINGS.items():
        if (record.tiny and setting is not FAST) or not record.wants(title):
            continue
        chosen = replace(FAST, messages=TINY.messages) if record.tiny else setting
        found: list[dict[str, Any]] = []
        with fleet(services, chosen) as workers:
            if not record.tiny:
                workers.rehearse(chosen)  # The first run of a worker is slower than all others.
            for pair in pairs_of(workers, chosen, TINY_PAIRS if record.tiny else PAIRS):
                found.append(pair)
                record.add("rows", title, {"cost": cost(found), "pairs": found})
                print(line(title, pair), flush=True)
        print(f"{title}: watching costs {cost(found):.1%}", flush=True)


def line(title: str, pair: dict[str, Any]) -> str:
    """A line of the table."""
    watched_, unwatched = pair["watched"], pair["unwatched"]
    return (
        f"{title}: {unwatched['rate']:,.0f}/s alone, {watched_['rate']:,.0f}/s watched by "
        f"{watched_['watchers']} processes ({watched_['watchers_cores']:.2f} cores)"
    )


if __name__ == "__main__":
    harness.run(NAME, __doc__, measure)
