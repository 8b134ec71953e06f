"""One measured rehearsal: real worker and producer processes over a real broker, then its audit.

A fleet (workers, a virtual host, a ledger) can be kept for several rehearsals in a row.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from sms_pipeline.core.records import Run, Snapshot
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.services.postgres import PostgresNode
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import FOREIGN_VARIABLES, WorkerProcess

BIN = Path(sys.executable).parent
PROFILE = "bench"
_SAMPLE_SECONDS = 0.1
#: How often the ledger is asked whether a run is done: rarely, for it costs what it measures.
_POLL_SECONDS = 0.25
TIMEOUT_SECONDS = 900.0
MEGABYTE = 2**20
MILLION = 1e6


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
    routing: str = "adaptive"
    urgent: bool = False

    @property
    def capacity(self) -> float:
        """Messages a second that all senders could end at most; infinite without a mean time."""
        if not self.mean_time:
            return math.inf
        return self.workers * self.senders / self.mean_time * (1 - self.failure_rate)


@dataclass
class Usage:
    """What one process used: CPU seconds and peak resident memory."""

    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


@dataclass
class Result:
    """What a rehearsal came to, from the start of the run to its last settlement."""

    setting: Setting
    seconds: float
    #: Messages a second over the whole run.
    rate: float
    #: Seconds that senders spent on attempts, per second that they were there: 0 to 1.
    efficiency: float
    delivered: int
    failed: int
    retried: int
    verdict: str
    ledger_bytes: int
    usage: dict[str, Usage] = field(default_factory=dict)

    @property
    def cpu_per_million(self) -> dict[str, float]:
        """CPU seconds for a million messages, by role."""
        messages = self.setting.messages / MILLION
        return {role: used.cpu_seconds / messages for role, used in self.usage.items()}

    def to_json(self) -> dict[str, Any]:
        """All of it, and what follows from it."""
        return {**asdict(self), "cpu_seconds_per_million": self.cpu_per_million}


class Services:
    """A broker and a database of their own, for as many rehearsals as wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._count = 0
        self._folders = 0
        self.broker = RabbitMQNode(folder / "rabbitmq")
        self._postgres: PostgresNode | None = None

    def __enter__(self) -> Services:
        (self._folder / "rabbitmq").mkdir(parents=True, exist_ok=True)
        self.broker.start()
        self._stack.callback(self.broker.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def folder(self) -> Path:
        """For whatever belongs to these services."""
        return self._folder

    def new_folder(self) -> Path:
        """A fresh one, for logs and files of one rehearsal."""
        self._folders += 1
        folder = self._folder / f"rehearsal-{self._folders}"
        folder.mkdir()
        return folder

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

    def __init__(self, processes: Mapping[str, Sequence[int]]) -> None:
        super().__init__(daemon=True)
        self._processes = {
            role: [psutil.Process(pid) for pid in pids] for role, pids in processes.items()
        }
        self._before = {role: cpu_seconds(found) for role, found in self._processes.items()}
        self._latest = dict(self._before)
        self._ended = threading.Event()
        self._peaks = dict.fromkeys(processes, 0.0)
        #: Resident memory in MB by role, when it was last seen.
        self.resident = dict(self._peaks)

    def run(self) -> None:
        """Thread body."""
        self._sample()
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._sample()

    def usage(self) -> dict[str, Usage]:
        """What has been used since the start."""
        return {
            role: Usage(self._latest[role] - self._before[role], self._peaks[role])
            for role in self._processes
        }

    def stop(self) -> dict[str, Usage]:
        """What was used from start to now."""
        self._ended.set()
        self.join()
        self._sample()
        return self.usage()

    def _sample(self) -> None:
        for role, processes in self._processes.items():
            # A process that has ended keeps what it had used when it was last seen.
            with suppress(psutil.Error):
                self._latest[role] = cpu_seconds(processes)
                self.resident[role] = resident_mb(processes)
                self._peaks[role] = max(self._peaks[role], self.resident[role])


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """What they have used since they were started."""
    times = [process.cpu_times() for process in processes]
    return sum(used.user + used.system for used in times)


def resident_mb(processes: Iterable[psutil.Process]) -> float:
    """Their resident memory, shared pages counted in each."""
    return sum(process.memory_info().rss for process in processes) / MEGABYTE


class Fleet:
    """Workers that are online, with their broker and ledger, for rehearsals one after another."""

    def __init__(
        self,
        services: Services,
        folder: Path,
        environment: dict[str, str],
        workers: Sequence[WorkerProcess],
        ledger: Ledger,
    ) -> None:
        self.environment = environment
        self.folder = folder
        self.ledger = ledger
        self._services = services
        self._workers = workers

    @property
    def workers(self) -> list[int]:
        """Their process ids."""
        return [worker.pid for worker in self._workers]

    def rehearse(self, setting: Setting, timeout: float = TIMEOUT_SECONDS) -> Result:
        """Run `setting` and measure it from the ledger, from when the run is registered."""
        write_config(setting, self.folder)
        latest = self.ledger.latest_run_id()
        with command(self.folder, self.environment, "produce") as producer:
            run = await_run(self.ledger, latest, timeout)
            meter = Meter(self._roles(setting, producer.pid))
            meter.start()
            await_done(self.ledger, run, timeout)
            usage = meter.stop()
        return replace(_read(self.ledger, run, setting, self._database_url), usage=usage)

    @contextmanager
    def producing(self, setting: Setting) -> Iterator[psutil.Process]:
        """A producer at work on `setting`; it is ended with the block."""
        write_config(setting, self.folder)
        with command(self.folder, self.environment, "produce") as producer:
            yield psutil.Process(producer.pid)

    @property
    def _database_url(self) -> str:
        return self.environment["SMS_DATABASE_URL"]

    def _roles(self, setting: Setting, producer: int) -> dict[str, list[int]]:
        roles = {
            "producer": [producer],
            "worker": self.workers,
            "broker": [self._services.broker.pid],
        }
        if setting.database == "postgresql":
            roles["database"] = [
                process.pid
                for process in psutil.process_iter(["name"])
                if process.info["name"] == "postgres"
            ]
        return roles


@contextmanager
def fleet(services: Services, setting: Setting) -> Iterator[Fleet]:
    """The workers that `setting` asks for, on a virtual host and a ledger of their own."""
    folder = services.new_folder()
    config = write_config(setting, folder)
    database_url = services.database_url(setting.database)
    with services.vhost() as broker_url, ExitStack() as stack:
        environment = environment_for(broker_url, database_url, config, setting)
        workers = start_workers([PROFILE] * setting.workers, folder, environment, stack)
        ledger = Ledger.open(database_url)
        stack.callback(ledger.close)
        yield Fleet(services, folder, environment, workers, ledger)


def rehearse(services: Services, setting: Setting, timeout: float = TIMEOUT_SECONDS) -> Result:
    """Run `setting` on a fleet of its own; the audit's verdict is part of the result."""
    with fleet(services, setting) as workers:
        return workers.rehearse(setting, timeout)


def environment_for(
    broker_url: str, database_url: str, config: Path, setting: Setting
) -> dict[str, str]:
    """What makes a process part of the pipeline."""
    return {
        "CELERY_BROKER_URL": broker_url,
        "SMS_DATABASE_URL": database_url,
        "SMS_CONFIG": str(config),
        "SMS_QUEUE_TYPE": setting.queue_type,
    }


def write_config(setting: Setting, folder: Path) -> Path:
    """The simulation's file."""
    path = folder / "simulation.yml"
    profile = {
        "name": PROFILE,
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
        "routing": setting.routing,
        "urgent": setting.urgent,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def start_workers(
    profiles: Iterable[str], folder: Path, environment: dict[str, str], stack: ExitStack
) -> list[WorkerProcess]:
    """A worker for each of the profiles, all ready; they end with the stack."""
    workers = [WorkerProcess(profile, folder, environment) for profile in profiles]
    for worker in workers:
        stack.callback(worker.kill)
        worker.start()
    for worker in workers:
        worker.ready()
    return workers


def own_environment() -> dict[str, str]:
    """Ours, without the settings of whoever runs the benchmark."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)
    }


@contextmanager
def command(
    folder: Path, environment: dict[str, str], *arguments: object
) -> Iterator[subprocess.Popen[bytes]]:
    """`sms-pipeline` with these arguments, ended with the block; its output is in a file."""
    with (folder / f"{arguments[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            [BIN / "sms-pipeline", *map(str, arguments)],
            cwd=folder,
            env=own_environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()


def await_run(ledger: Ledger, before: int | None = None, timeout: float = TIMEOUT_SECONDS) -> Run:
    """Wait for a run that is not `before`, and return it."""
    wait_until(lambda: ledger.latest_run_id() != before, timeout, "the run is registered")
    return ledger.run()


def await_done(
    ledger: Ledger,
    run: Run,
    timeout: float = TIMEOUT_SECONDS,
    look: Callable[[], object] | None = None,
) -> None:
    """Wait until a run is done; meanwhile, `look` again and again."""
    deadline = time.monotonic() + timeout
    while ledger.snapshot(run).counts.finished < run.total:
        assert time.monotonic() < deadline, f"run {run.id} is not done after {timeout:g} s"
        if look:
            look()
        time.sleep(_POLL_SECONDS)


def _read(ledger: Ledger, run: Run, setting: Setting, database_url: str) -> Result:
    report = audit_ledger(ledger, run)
    if report.verdict is not Verdict.PROVEN:
        raise AssertionError("\n".join(report.lines()))
    snapshot = ledger.snapshot(run)
    assert snapshot.settled_at is not None
    seconds = snapshot.settled_at - snapshot.started_at
    rate = setting.messages / seconds
    assert rate <= setting.capacity, f"{rate:,.0f}/s is more than all senders can do"
    return Result(
        setting=setting,
        seconds=seconds,
        rate=rate,
        efficiency=efficiency(snapshot, snapshot.settled_at),
        delivered=report.delivered,
        failed=report.failed,
        retried=sum(profile.retried for profile in snapshot.profiles),
        verdict=report.verdict.value,
        ledger_bytes=size_of(database_url),
    )


def efficiency(snapshot: Snapshot, ended_at: float) -> float:
    """How busy senders were until then; more than 1 would be an error of the records."""
    spent = sum(profile.send_seconds for profile in snapshot.profiles)
    there = sum(worker.sender_seconds(snapshot.started_at, ended_at) for worker in snapshot.workers)
    assert spent <= there, f"senders spent {spent:,.0f} s, and were there for {there:,.0f} s"
    return spent / there


def size_of(database_url: str) -> int:
    """Bytes on disk of a SQLite ledger; 0 for others."""
    if not database_url.startswith("sqlite:///"):
        return 0
    path = Path(database_url.removeprefix("sqlite:///"))
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
