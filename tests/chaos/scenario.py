"""A run under faults: producer, workers and ledger, real processes all, and how it must end."""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.chaos import instruments
from tests.chaos.checker import Findings, check
from tests.chaos.evidence import Counts, Evidence, read_journals
from tests.services.nursery import Nursery
from tests.services.postgres import PostgresNode
from tests.services.processes import GuardedProcess, free_port
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
#: The profiles of a run, in this order: the second one is slower, and fails more often.
PROFILES = ("chaos", "tough")
PROFILE = PROFILES[0]
QUEUE = f"sms.{PROFILE}"
TOUGHNESS = 1.5
#: How the first profile steps in for the second one.
FAILOVER = {"attempts": 2, "to": PROFILES[0], "unattended": 1.0}
#: What befalls the second profile, and how long a message of it waits then, seconds.
OUTAGE = {"at": 2, "for": 6, "profile": PROFILES[1], "outage": True}
VALIDITY = 1.0
RUN = 1

#: Only a run that has come to a stand waits this long: any progress starts the time again.
PATIENCE_SECONDS = 120.0
#: So soon after the end of the fault something must be settled again.
RECOVERY_SECONDS = 20.0
#: Least time between two looks at a queue or at the ledger while a run goes on.
POLL_SECONDS = 0.05
#: A command that waits for quiet queues needs tens of seconds.
COMMAND_SECONDS = 180.0

#: Exit codes of `sms-pipeline audit`.
PROVEN, UNFINISHED = 0, 5

#: The settings of whoever runs the tests must not reach a process under test.
FOREIGN_VARIABLES = ("CELERY_", "SMS_", "CHAOS_", "FLOWER_")
#: Queues that must be empty at the end: batches, waiting retries, dead letters.
WATCHED_QUEUES = ("sms.", "celery_delayed_")
DEAD_LETTERS = "sms.dead"


class Load(NamedTuple):
    """What is sent. The usual one takes about seven seconds without a fault."""

    messages: int = 6_000
    batch_size: int = 20
    #: Of all workers together.
    senders: int = 60
    mean_time: float = 0.06
    failure_rate: float = 0.2
    max_attempts: int = 4
    #: Seconds after dispatch until which a message may be sent.
    deadline: float | None = None


USUAL_LOAD = Load()


@dataclass(frozen=True)
class Setting:
    """Under which circumstances a fault is tried."""

    #: Of each profile.
    workers: int = 1
    profiles: int = 1
    queue_type: str = "quorum"
    database: str = "sqlite"
    #: Task events of the workers.
    events: bool = True
    #: Whether Flower is attached.
    flower: bool = False
    #: Whether the first profile steps in for the second one.
    failover: bool = False
    #: Whether the senders of the second profile stop for a while.
    outage: bool = False
    load: Load = USUAL_LOAD

    def describe(self) -> str:
        """For the report: `quorum, sqlite, 1 worker`."""
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        workers += f" of each of {self.profiles} profiles" * (self.profiles > 1)
        extras = ["no events"] * (not self.events) + ["Flower"] * self.flower
        extras += ["failover"] * self.failover
        return ", ".join([self.queue_type, self.database, workers, *extras])


@dataclass
class Result:
    """How one scenario ended."""

    total: int
    findings: Findings
    problems: list[str]
    #: From the end of the fault to the next settlement; None where a fault has no end.
    recovery_seconds: float | None = None
    #: What the whole scenario took.
    seconds: float = 0.0


@dataclass
class Scenario:
    """One run of one case. A context manager: whatever it started is gone afterwards."""

    setting: Setting
    seed: int
    folder: Path
    database_url: str
    nursery: Nursery
    #: None: the run has its broker inside its process.
    node: RabbitMQNode | None = None
    broker_url: str | None = None
    postgres: PostgresNode | None = None
    workers: list[WorkerProcess] = field(default_factory=list)
    #: Messages that the case puts into the dead-letter queue.
    dead_letters: int = 0
    #: What the audit must have absorbed, else the fault did not happen: `repeated`, …
    expect_absorbed: set[str] = field(default_factory=set)
    #: What a worker must have logged, else the fault did not happen.
    expect_logged: set[str] = field(default_factory=set)
    may_send_twice: bool = True
    #: Under a deadline; without one nothing expires.
    may_expire: bool = True
    #: Returns to its queue before a batch is dead-lettered; None: the package's own limit.
    delivery_limit: int | None = None
    recovery_seconds: float | None = None

    def __post_init__(self) -> None:
        """Write the simulation; nothing is started."""
        #: Decides when faults strike.
        self.rng = random.Random(self.seed)
        self._started_at = time.monotonic()
        self.cleanup = ExitStack()
        self.journals = self.folder / "journals"
        self.journals.mkdir()
        self.producer: GuardedProcess | None = None
        self._flower: tuple[GuardedProcess, int] | None = None
        self._expected_dead: set[WorkerProcess] = set()
        self._logs = itertools.count(1)
        self._evidence: Evidence | None = None
        self.simulation = self.folder / "simulation.yml"
        self.simulation.write_text(json.dumps(self._simulation()))

    def __enter__(self) -> Self:
        """Nothing to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what still runs."""
        for worker in self.workers:
            worker.kill()
        self.cleanup.close()

    @property
    def total(self) -> int:
        """Messages of the run."""
        return self.setting.load.messages

    @property
    def first_workers(self) -> list[WorkerProcess]:
        """One worker of each profile, as long as nobody has joined or left."""
        return self.workers[:: self.setting.workers]

    @property
    def evidence(self) -> Evidence:
        """The ledger's rows."""
        if self._evidence is None:
            self._evidence = Evidence(self.database_url, RUN)
            self.cleanup.callback(self._evidence.close)
        return self._evidence

    @property
    def broker(self) -> RabbitMQNode:
        """The broker of a run that has one."""
        assert self.node is not None
        return self.node

    # -- starting

    def start(
        self,
        *,
        worker: Mapping[str, str] | None = None,
        others: Mapping[str, str] | None = None,
        producer: Mapping[str, str] | None = None,
    ) -> None:
        """Start workers and Flower, wait until they are ready, then start the producer.

        Args:
            worker: environment of the first worker of each profile.
            others: environment of the other workers.
            producer: environment of the producer.
        """
        for profile in PROFILES[: self.setting.profiles]:
            for number in range(self.setting.workers):
                self.add_worker(others if number else worker, profile=profile, wait=False)
        if self.setting.flower:
            self._start_flower()
        for process in self.workers:
            process.ready()
        self.produce(producer)

    def produce(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the producer."""
        self.producer = self.spawn("produce", "--config", self.simulation, environment=environment)

    def kill_producer(self) -> None:
        """SIGKILL the producer; nobody expects more of it."""
        assert self.producer is not None
        self.producer.kill()
        self.produced()

    def add_worker(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        profile: str = PROFILE,
        wait: bool = True,
    ) -> WorkerProcess:
        """Start one more worker."""
        worker = WorkerProcess(
            profile,
            self.folder,
            {**self._environment(), **(environment or {})},
            arguments=["--config", str(self.simulation)],
            app="tests.chaos.chaos_app",
            nursery=self.nursery,
        )
        self.workers.append(worker)
        worker.start()
        if wait:
            worker.ready()
        return worker

    def spawn(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> GuardedProcess:
        """Start an `sms-pipeline` command; its output goes to a log of its own."""
        process = GuardedProcess(
            [sys.executable, "-m", "tests.chaos.chaos_cli", "--log-level", "INFO", *arguments],
            cwd=self.folder,
            environment={**_clean_environment(), **self._environment(), **(environment or {})},
            log=self._log(str(arguments[0])),
            nursery=self.nursery,
        )
        self.cleanup.callback(process.kill)
        return process

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run an `sms-pipeline` command to its end; return its exit code and what it printed."""
        process = self.spawn(*arguments)
        return process.wait(COMMAND_SECONDS), process.log.read_text()

    # -- watching

    def counts(self) -> Counts | None:
        """What the ledger counts now; None while it is away."""
        return self.evidence.counts()

    def await_share(self, share: float) -> None:
        """Wait until attempts at this share of the messages are settled."""
        wanted = round(share * self.total)
        self.await_counts(lambda counts: counts.attempts >= wanted, f"{wanted} attempts settled")

    def await_some_share(self) -> None:
        """Wait until the run is well under way; how far, the seed decides."""
        self.await_share(self.rng.uniform(0.15, 0.5))

    def await_counts(self, reached: Callable[[Counts], bool], description: str) -> None:
        """Wait for as long as the ledger's counts move.

        Raises:
            AssertionError: They have not moved for `PATIENCE_SECONDS`.
        """
        last, moved_at = None, time.monotonic()
        while True:
            counts = self.counts()
            if counts is not None and reached(counts):
                return
            if counts is not None and counts != last:
                last, moved_at = counts, time.monotonic()
            if time.monotonic() - moved_at > PATIENCE_SECONDS:
                raise AssertionError(
                    f"{description}: not so, and nothing was settled for {PATIENCE_SECONDS:g} s; "
                    f"{last} of {self.total}"
                )
            time.sleep(POLL_SECONDS)

    def mended(self) -> None:
        """The fault is over: measure how long it takes until something is settled again."""
        since = time.monotonic()
        before = self._known_counts()
        self.await_counts(
            lambda counts: counts.attempts > before.attempts or counts.finished >= self.total,
            "something is settled after the fault",
        )
        self.recovery_seconds = time.monotonic() - since

    def _known_counts(self) -> Counts:
        counts = wait_until(self.counts, PATIENCE_SECONDS, "the ledger answers")
        assert counts is not None
        return counts

    # -- faults that several cases share

    def kill_worker(self, worker: WorkerProcess) -> None:
        """SIGKILL it; from now on it may be dead."""
        self._expected_dead.add(worker)
        worker.kill()

    def await_suicide(self, process: WorkerProcess | GuardedProcess) -> None:
        """Wait until a process has killed itself at its failpoint."""
        if isinstance(process, WorkerProcess):
            self._expected_dead.add(process)
        wait_until(lambda: not process.running, PATIENCE_SECONDS, "the failpoint is reached")
        assert process.exit_code == -9, f"ended with {process.exit_code}, not at its failpoint"

    def produced(self) -> None:
        """The producer has ended or been killed, and nobody expects more of it."""
        self.producer = None

    def resume(self, *options: str) -> None:
        """`sms-pipeline resume`, which must succeed."""
        code, output = self.command("resume", str(RUN), *options)
        assert code == 0, f"resume ended with {code}: {output}"

    def audit(self) -> tuple[int, dict[str, Any]]:
        """Exit code and report of `sms-pipeline audit`."""
        code, output = self.command("audit", str(RUN), "--json")
        try:
            return code, json.JSONDecoder().raw_decode(output, output.index("{"))[0]
        except ValueError:
            return code, {"verdict": f"no report: {output!r}"}

    # -- the end

    def finish(self) -> Result:
        """Let the run come to its end, end everything in good order, and hold it all together."""
        problems: list[str] = []
        self._attempt(problems, self._await_end)
        if self.node is not None and not problems:
            self._attempt(problems, self._await_empty_queues)
        if self._flower is not None:
            self._attempt(problems, self._check_flower)
        self._attempt(problems, self._end_workers)
        problems += self._audit_problems()
        logs = "".join(worker.logs() for worker in self.workers)
        problems += [
            f"the fault did not happen: no worker logged {text!r}"
            for text in self.expect_logged
            if text not in logs
        ]
        if (self.recovery_seconds or 0.0) > RECOVERY_SECONDS:
            problems.append(f"it went on only {self.recovery_seconds:.1f} s after the fault's end")
        if self.setting.failover and not self.evidence.handed_over():
            problems.append("the fault did not happen: nothing was handed over")
        findings = check(self.total, self.evidence.recorded(), read_journals(self.journals, RUN))
        problems += findings.problems()
        if findings.sent_twice and not self.may_send_twice:
            problems.append(f"{len(findings.sent_twice)} messages sent twice, here none need be")
        seconds = time.monotonic() - self._started_at
        return Result(self.total, findings, problems, self.recovery_seconds, seconds)

    @staticmethod
    def _attempt(problems: list[str], step: Callable[[], None]) -> None:
        try:
            step()
        except AssertionError as error:
            problems.append(str(error))

    def _await_end(self) -> None:
        self.await_counts(lambda counts: counts.finished >= self.total, "all messages have a fate")
        if self.producer is not None:
            code = self.producer.wait(PATIENCE_SECONDS)
            assert code == 0, f"the producer ended with {code}: {self.producer.log_tail()}"

    def _await_empty_queues(self) -> None:
        wanted = {DEAD_LETTERS: self.dead_letters} if self.dead_letters else {}
        try:
            wait_until(lambda: self._depths() == wanted, PATIENCE_SECONDS, "the queues are empty")
        except AssertionError as error:
            depths = f"queues at the end: {self._depths()}, not {wanted}"
            raise AssertionError(f"{depths}: {error}") from None

    def _depths(self) -> dict[str, int]:
        depths = self.broker.queue_depths(self.broker_url)
        return {
            name: depth
            for name, depth in depths.items()
            if depth and name.startswith(WATCHED_QUEUES)
        }

    def _end_workers(self) -> None:
        dead = [w for w in self.workers if not w.running and w not in self._expected_dead]
        assert not dead, f"ended by themselves: {[(w.name, w.exit_code) for w in dead]}"
        living = [worker for worker in self.workers if worker.running]
        for worker in living:
            worker.term()
        codes = {worker.name: worker.wait(PATIENCE_SECONDS) for worker in living}
        assert not any(codes.values()), f"workers did not end in good order: {codes}"

    def _audit_problems(self) -> list[str]:
        code, report = self.audit()
        problems = list(report.get("problems", ()))
        if (code, report["verdict"]) != (PROVEN, "proven"):
            report["unsettled"] = {k: len(v) for k, v in report.get("unsettled", {}).items()}
            problems.append(f"audit: {report['verdict']}, exit code {code}: {report}")
        if report.get("dead_letters") not in (None, self.dead_letters):
            problems.append(f"audit: {report['dead_letters']} dead letters")
        problems += self._expiry_problems(report)
        for kind in self.expect_absorbed:
            if not report.get("absorbed", {}).get(kind, {}).get("batches"):
                problems.append(f"the fault did not happen: no batch was {kind}")
        return problems

    def _expiry_problems(self, report: dict[str, Any]) -> list[str]:
        expired = report.get("expired")
        if not self.may_expire:
            return [f"{expired} messages expired, here none may"] if expired else []
        if self.setting.load.deadline and not (expired and report.get("delivered")):
            return ["the fault did not happen: all messages expired, or none did"]
        return []

    # -- Flower

    def _start_flower(self) -> None:
        port = free_port()
        arguments = ["--address=127.0.0.1", f"--port={port}", "--max-tasks=10000"]
        process = GuardedProcess(
            [sys.executable, "-m", "celery", "-A", "sms_pipeline", "flower", *arguments],
            cwd=self.folder,
            environment={**_clean_environment(), **self._environment()},
            log=self._log("flower"),
        )
        self.cleanup.callback(process.kill)
        self._flower = process, port
        wait_until(lambda: _get(port, "healthcheck"), PATIENCE_SECONDS, "Flower answers")

    def _check_flower(self) -> None:
        assert self._flower is not None
        process, port = self._flower
        assert process.running, "Flower ended by itself"
        assert "flower_events_total{" in _get(port, "metrics"), "Flower has seen no event"

    # -- environment

    def _simulation(self) -> dict[str, Any]:
        load = self.setting.load
        return {
            "num_messages": load.messages,
            "batch_size": load.batch_size,
            "report_period": 0.5,
            "seed": self.seed,
            "deadline": load.deadline,
            "senders": [
                {
                    "name": profile,
                    "mean_time": load.mean_time * factor,
                    "failure_rate": load.failure_rate * factor,
                    "count": load.senders // self.setting.workers // self.setting.profiles,
                    "validity": VALIDITY if self.setting.outage else None,
                }
                for profile, factor in self._profiles()
            ],
            # With full jitter the pause is 0 or 1 s: half of the retries wait at the broker.
            "retry": {
                "max_attempts": load.max_attempts,
                "backoff": 1.0,
                "backoff_max": 1.0,
                "jitter": 1.0,
            },
            "failover": FAILOVER if self.setting.failover else False,
            "events": [OUTAGE] if self.setting.outage else [],
        }

    def _profiles(self) -> list[tuple[str, float]]:
        return [
            (profile, TOUGHNESS**number)
            for number, profile in enumerate(PROFILES[: self.setting.profiles])
        ]

    def _environment(self) -> dict[str, str]:
        variables = {
            "PYTHONPATH": str(ROOT),
            "SMS_DATABASE_URL": self.database_url,
            "SMS_QUEUE_TYPE": self.setting.queue_type,
            instruments.JOURNAL: str(self.journals),
            instruments.EVENTS: "on" if self.setting.events else "off",
        }
        if self.delivery_limit is not None:
            variables[instruments.DELIVERY_LIMIT] = str(self.delivery_limit)
        if self.broker_url is not None:
            variables["CELERY_BROKER_URL"] = self.broker_url
        return variables

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}-{next(self._logs)}.log"


def _clean_environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)
    }


def _get(port: int, page: str) -> str:
    """A page of a local server; nothing while it does not answer."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as response:
            return str(response.read().decode())
    except (URLError, OSError):
        return ""
