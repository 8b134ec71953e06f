"""One measured rehearsal: real worker and producer processes over a real broker, then its audit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from sms_pipeline.audit import Verdict, audit_ledger
from sms_pipeline.entries import Run
from sms_pipeline.ledger import Ledger
from tests.services.postgres import PostgresNode
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

BIN = Path(sys.executable).parent
#: The part of a run between its first and last tenth of messages.
MIDDLE = (0.1, 0.9)
_SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class Setting:
    """What is rehearsed, and over what."""

    messages: int
    senders: int
    mean_time: float = 1.0
    failure_rate: float = 0.0
    workers: int = 1
    batch_size: int | str = "auto"
    queue_type: str = "quorum"
    database: str = "sqlite"
    max_text_length: int = 100
    backoff: float = 1.0


@dataclass
class Usage:
    """What one process used: CPU seconds and peak resident memory."""

    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass
class Result:
    """What a rehearsal came to. Rates are messages a second."""

    setting: Setting
    seconds: float
    rate: float
    #: Over the messages between the first and the last tenth.
    middle_rate: float
    delivered: int
    failed: int
    retried: int
    verdict: str
    ledger_bytes: int
    usage: dict[str, Usage] = field(default_factory=dict)

    @property
    def efficiency(self) -> float:
        """Middle rate by what the senders could do at most."""
        setting = self.setting
        attempts_needed = 1 / (1 - setting.failure_rate)
        nominal = setting.workers * setting.senders / setting.mean_time / attempts_needed
        return self.middle_rate / nominal

    def to_json(self) -> dict[str, Any]:
        """All of it, and what follows from it."""
        cpu = {
            role: used.cpu_seconds / self.setting.messages * 1e6
            for role, used in self.usage.items()
        }
        return {
            **asdict(self),
            "efficiency": self.efficiency if self.setting.mean_time else None,
            "cpu_seconds_per_million": cpu,
        }


class Services:
    """A broker and a database of their own, for as many rehearsals as wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._count = 0
        self.broker = RabbitMQNode(folder / "rabbitmq")
        self._postgres: PostgresNode | None = None

    def __enter__(self) -> Services:
        (self._folder / "rabbitmq").mkdir(parents=True, exist_ok=True)
        self.broker.start()
        self._stack.callback(self.broker.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def database_url(self, kind: str) -> str:
        """A fresh database."""
        self._count += 1
        if kind == "sqlite":
            return f"sqlite:///{self._folder / f'ledger-{self._count}.db'}"
        return self.postgres.new_database(f"bench{self._count}")

    @property
    def postgres(self) -> PostgresNode:
        """Started when it is first asked for."""
        if self._postgres is None:
            folder = self._folder / "postgres"
            folder.mkdir(mode=0o711)
            self._postgres = PostgresNode(folder)
            self._postgres.start()
            self._stack.callback(self._postgres.stop)
        return self._postgres

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """A fresh virtual host of the broker."""
        name = f"bench{self._count}-{time.time_ns()}"
        yield self.broker.new_vhost(name)
        self.broker.delete_vhost(name)


class Meter(threading.Thread):
    """Samples CPU time and memory of processes by role until stopped."""

    def __init__(self, processes: dict[str, list[int]]) -> None:
        super().__init__(daemon=True)
        self._processes = {
            role: [psutil.Process(pid) for pid in pids] for role, pids in processes.items()
        }
        self._before = {role: self._cpu(role) for role in processes}
        self._latest = dict(self._before)
        self._ended = threading.Event()
        self.peaks = dict.fromkeys(processes, 0.0)

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            for role, processes in self._processes.items():
                self._sample(role, processes)

    def stop(self) -> dict[str, Usage]:
        """What was used since the start."""
        self._ended.set()
        self.join()
        return {
            role: Usage(self._latest[role] - self._before[role], self.peaks[role])
            for role in self._processes
        }

    def _sample(self, role: str, processes: list[psutil.Process]) -> None:
        try:
            # A process that has ended keeps what it had used when it was last seen.
            self._latest[role] = self._cpu(role)
            memory = sum(process.memory_info().rss for process in processes) / 2**20
            self.peaks[role] = max(self.peaks[role], memory)
        except psutil.Error:
            return

    def _cpu(self, role: str) -> float:
        total = 0.0
        for process in self._processes[role]:
            times = process.cpu_times()
            total += times.user + times.system
        return total


def rehearse(services: Services, setting: Setting, folder: Path, timeout: float = 900) -> Result:
    """Run `setting` and measure it from the ledger; the audit's verdict is part of the result."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _write_config(setting, folder)
    database_url = services.database_url(setting.database)
    with services.vhost() as broker_url, ExitStack() as stack:
        environment = {
            "CELERY_BROKER_URL": broker_url,
            "SMS_DATABASE_URL": database_url,
            "SMS_CONFIG": str(config),
            "SMS_QUEUE_TYPE": setting.queue_type,
        }
        workers = [_start_worker(folder, environment, stack) for _ in range(setting.workers)]
        ledger = Ledger.open(database_url)
        stack.callback(ledger.close)
        producer = stack.enter_context(_producer(folder, environment))
        meter = Meter(_roles(services, setting, [worker.pid for worker in workers], producer.pid))
        meter.start()
        wait_until(lambda: _is_done(ledger, setting), timeout, "the run is done")
        usage = meter.stop()
        return replace(_read(ledger, setting, database_url), usage=usage)


def _write_config(setting: Setting, folder: Path) -> Path:
    path = folder / "simulation.yml"
    profile = {
        "name": "bench",
        "mean_time": setting.mean_time,
        "failure_rate": setting.failure_rate,
        "count": setting.senders,
    }
    content = {
        "num_messages": setting.messages,
        "senders": [profile],
        "seed": 1,
        "batch_size": setting.batch_size,
        "max_text_length": setting.max_text_length,
        "retry": {"backoff": setting.backoff},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def _start_worker(folder: Path, environment: dict[str, str], stack: ExitStack) -> WorkerProcess:
    worker = WorkerProcess("bench", folder, environment)
    stack.enter_context(worker)
    return worker


@contextmanager
def _producer(folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "producer.log").open("wb") as log:
        process = subprocess.Popen(
            [BIN / "sms-pipeline", "produce"],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def _roles(
    services: Services, setting: Setting, workers: list[int], producer: int
) -> dict[str, list[int]]:
    roles = {"producer": [producer], "worker": workers, "broker": [services.broker.pid]}
    if setting.database == "postgresql":
        roles["database"] = [
            process.pid
            for process in psutil.process_iter(["name"])
            if process.info["name"] == "postgres"
        ]
    return roles


def _is_done(ledger: Ledger, setting: Setting) -> bool:
    runs = ledger.runs()
    if not runs:
        return False
    snapshot = ledger.snapshot(runs[-1])
    return snapshot.finished >= setting.messages


def _read(ledger: Ledger, setting: Setting, database_url: str) -> Result:
    run = ledger.run()
    report = audit_ledger(ledger, run)
    if report.verdict is not Verdict.PROVEN:
        raise AssertionError("\n".join(report.lines()))
    snapshot = ledger.snapshot(run)
    assert snapshot.started_at is not None
    assert snapshot.settled_at is not None
    seconds = snapshot.settled_at - snapshot.started_at
    return Result(
        setting=setting,
        seconds=seconds,
        rate=setting.messages / seconds,
        middle_rate=_middle_rate(ledger, run),
        delivered=report.delivered,
        failed=report.failed,
        retried=sum(profile.retried for profile in snapshot.profiles),
        verdict=report.verdict.value,
        ledger_bytes=_size(database_url),
    )


def _middle_rate(ledger: Ledger, run: Run) -> float:
    """Finished messages a second between the first and the last tenth of them."""
    finished, marks = 0, []
    for settlement in ledger.settlements_since(run.id, 0):
        finished += settlement.delivered + settlement.failed
        marks.append((settlement.settled_at, finished))
    low = next(mark for mark in marks if mark[1] >= MIDDLE[0] * run.total)
    high = next(mark for mark in marks if mark[1] >= MIDDLE[1] * run.total)
    return (high[1] - low[1]) / max(high[0] - low[0], 1e-9)


def _size(database_url: str) -> int:
    if not database_url.startswith("sqlite:///"):
        return 0
    path = Path(database_url.removeprefix("sqlite:///"))
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
