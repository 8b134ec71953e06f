"""The whole pipeline as its users start it: broker, workers, producers and monitors, all real."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.functional import checker
from tests.functional.terminal import CELERY, Result, Started, Terminal
from tests.services.processes import free_port
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

#: Only a failure waits so long.
PATIENCE_SECONDS = 60.0

#: How long an alarm lasts: longer than a publish waits for its confirm.
ALARM_SECONDS = 11.0

PHONE = re.compile(r"\d{3}-\d{3}-\d{4}")
BOTH_DATABASES = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
QUICK_RETRY = {"backoff": 1, "backoff_max": 1, "max_attempts": 3}

StartWorker = Callable[..., WorkerProcess]


class Stage:
    """A terminal, its workers and its broker: what most tests here need of all three."""

    def __init__(
        self, terminal: Terminal, rabbitmq: RabbitMQNode, start_worker: StartWorker
    ) -> None:
        """On the broker and the ledger that the terminal's environment names."""
        self.terminal = terminal
        self.rabbitmq = rabbitmq
        self._start_worker = start_worker

    @property
    def database_url(self) -> str:
        """The ledger's."""
        return self.terminal.environment["SMS_DATABASE_URL"]

    def workers(self, *profiles: str, wait: bool = True) -> list[WorkerProcess]:
        """Start a worker for each, side by side."""
        started = [
            self._start_worker(profile, self.terminal.environment, wait=False)
            for profile in profiles
        ]
        if wait:
            for worker in started:
                worker.ready()
        return started

    def worker_with(self, profile: str, *options: str) -> WorkerProcess:
        """Start one with more on its command line."""
        worker: WorkerProcess = self._start_worker(
            profile, self.terminal.environment, arguments=options
        )
        return worker

    def depths(self) -> dict[str, int]:
        """Messages in every queue that has some, waiting rooms of retries included."""
        depths = self.rabbitmq.queue_depths(self.terminal.environment["CELERY_BROKER_URL"])
        # Celery's own: remote control and events, which nobody has to read.
        foreign = ("celeryev", "celery.pidbox")
        return {
            name: depth
            for name, depth in depths.items()
            if depth and not name.startswith(foreign) and "pidbox" not in name
        }

    def finished(self, run: int = 1) -> int:
        """Messages of the run in a terminal state."""
        return checker.finished(self.database_url, run)

    def await_finished(self, messages: int, run: int = 1) -> None:
        """Wait until that many are in a terminal state."""
        wait_until(
            lambda: self.finished(run) >= messages, PATIENCE_SECONDS, f"{messages} are finished"
        )

    def await_published(self, messages: int, run: int = 1) -> None:
        """Wait until the broker has confirmed batches of that many."""

        def published() -> int:
            batches = checker.rows(self.database_url, "batches", run)
            return sum(batch["size"] for batch in batches if batch["published_at"] is not None)

        wait_until(lambda: published() >= messages, PATIENCE_SECONDS, f"{messages} are published")

    def assert_all_counted_once(self, total: int, run: int = 1) -> None:
        """The run is done, the ledger proves it, and no queue holds anything any more."""
        checker.assert_counted_once(self.database_url, run, total)
        wait_until(lambda: not self.depths(), PATIENCE_SECONDS, "all queues are empty")


@pytest.fixture
def stage(shared_terminal: Terminal, rabbitmq: RabbitMQNode, start_worker: StartWorker) -> Stage:
    """Nothing runs on it yet."""
    return Stage(shared_terminal, rabbitmq, start_worker)


def profile(
    name: str, count: int = 20, mean_time: float = 0.01, failure_rate: float = 0.0
) -> dict[str, object]:
    """An entry of `senders`."""
    return {"name": name, "count": count, "mean_time": mean_time, "failure_rate": failure_rate}


def assert_ended(*commands: Started) -> list[Result]:
    """Each ends by itself, without an error."""
    results = [command.wait() for command in commands]
    for result in results:
        assert result.code == 0, result.out + result.err
        assert "Traceback" not in result.err
    return results


@BOTH_DATABASES
def test_two_profiles_from_producer_to_report(stage: Stage) -> None:
    # Given two workers of different profiles
    stage.terminal.configure(
        num_messages=1_200,
        report_period=0.5,
        retry={**QUICK_RETRY, "max_attempts": 2},
        senders=[profile("fast", failure_rate=0.3), profile("slow", 10, 0.02, 0.4)],
    )
    stage.workers("fast", "slow")

    # When a run is produced and watched
    produce = stage.terminal.start("produce", "--seed", "1")
    produce.says("Run 1: 1,200 messages")
    monitor = stage.terminal.start("monitor", "--json", "--every", "0.5")
    _, watched = assert_ended(produce, monitor)

    # Then the monitor ends by itself, and its last object has the totals
    last = watched.json
    assert last["done"] is True
    assert last["delivered"] + last["failed"] == last["total"] == 1_200
    assert last["failed"] > 0
    assert [part["name"] for part in last["profiles"]] == ["fast", "slow"]
    assert all(part["delivered"] > 0 and part["backlog"] == 0 for part in last["profiles"])
    finished = [report["delivered"] + report["failed"] for report in watched.objects]
    assert finished == sorted(finished)
    stage.assert_all_counted_once(1_200)

    # And the lists say the same
    senders, runs, failures, trace = assert_ended(
        *(
            stage.terminal.start(*command.split())
            for command in ("senders", "runs", "failures --csv", "trace")
        )
    )
    host = socket.gethostname()
    assert [line.split()[1:4] for line in senders.out.splitlines()[1:]] in (
        [[host, "fast", "20"], [host, "slow", "10"]],
        [[host, "slow", "10"], [host, "fast", "20"]],
    )
    (listed,) = runs.out.splitlines()[1:]
    assert f"{last['delivered']:,}" in listed
    assert "done" in listed
    rows = list(csv.DictReader(io.StringIO(failures.out)))
    stored = checker.rows(stage.database_url, "failures", 1)
    assert len(rows) == last["failed"]
    assert {int(row["message"]) for row in rows} == {row["message_index"] for row in stored}
    assert all(PHONE.fullmatch(row["to"]) and row["attempts"] == "2" for row in rows)
    batches = checker.rows(stage.database_url, "batches", 1)
    settlements = checker.rows(stage.database_url, "settlements", 1)
    assert len(re.findall(r"  dispatched  batch ", trace.out)) == len(batches)
    assert len(re.findall(r"  settled     batch ", trace.out)) == len(settlements)
    assert len(re.findall(r"  joined      ", trace.out)) == 2


def test_a_worker_that_joins_takes_work(stage: Stage) -> None:
    # Given a run in the middle with one worker, that would take that one a minute
    stage.terminal.configure(
        num_messages=12_000, senders=[profile("fast", 20, 0.1)], report_period=1
    )
    (first,) = stage.workers("fast")
    stage.terminal.start("produce")
    stage.await_finished(1)

    # When another joins, then it has its share soon, of what is still to be dispatched
    (second,) = stage.workers("fast")
    wait_until(
        lambda: len(checker.rows(stage.database_url, "counters", 1)) == 2,
        10.0,
        "the second worker settles batches of its own",
    )
    assert first.running
    assert second.running
    assert stage.finished() < 12_000


def test_a_profile_with_backlog_and_no_sender_is_named(stage: Stage) -> None:
    # Given a worker for one of two profiles
    stage.terminal.configure(
        num_messages=200, routing="static", senders=[profile("fast"), profile("lonely")]
    )
    stage.workers("fast")
    assert_ended(stage.terminal.start("produce"))
    stage.await_finished(90)

    # Then a single report names the other
    reports = assert_ended(
        stage.terminal.start("monitor", "--once", "--json"),
        stage.terminal.start("monitor", "--once"),
    )
    (warning,) = reports[0].json["warnings"]
    assert "lonely" in warning
    assert "no sender online" in warning
    assert warning in " ".join(reports[1].out.split())

    # And it is finished as soon as somebody comes
    stage.workers("lonely")
    stage.await_finished(200)
    stage.assert_all_counted_once(200)


def test_retries_end_where_the_limit_says(stage: Stage) -> None:
    # Given one worker, and three runs that differ in what they allow
    stage.terminal.configure(
        num_messages=300,
        batch_size=50,
        retry={"backoff": 0.4, "backoff_max": 0.9},  # So that some retries wait 0 s, others 1 s.
        senders=[profile("flaky", failure_rate=0.5)],
    )
    stage.workers("flaky")
    limits = ["1", "3", "unlimited"]
    assert_ended(*(stage.terminal.start("produce", "--max-attempts", limit) for limit in limits))

    # Then each comes to its end, and no message was tried more often than allowed
    for run in (1, 2, 3):
        stage.await_finished(300, run)
        stage.assert_all_counted_once(300, run)
        deepest = max(
            row["attempt"] for row in checker.rows(stage.database_url, "settlements", run)
        )
        failed = len(checker.rows(stage.database_url, "failures", run))
        (row,) = checker.rows(stage.database_url, "runs", run)
        limit = json.loads(row["simulation"])["retry"]["max_attempts"]
        if limit is None:
            assert failed == 0
            assert deepest > 2
        else:
            assert failed > 0
            assert deepest == limit - 1


def test_classic_queues(stage: Stage) -> None:
    stage.terminal.environment["SMS_QUEUE_TYPE"] = "classic"
    stage.terminal.configure(
        num_messages=1_000, retry=QUICK_RETRY, senders=[profile("fast", failure_rate=0.3)]
    )
    stage.workers("fast")
    assert_ended(stage.terminal.start("produce"))
    stage.await_finished(1_000)
    stage.assert_all_counted_once(1_000)


def test_one_message_per_task_and_two_producers_at_once(stage: Stage) -> None:
    stage.terminal.configure(
        num_messages=300, batch_size=1, retry=QUICK_RETRY, senders=[profile("fast", 50, 0.01, 0.1)]
    )
    stage.workers("fast")
    assert_ended(stage.terminal.start("produce"), stage.terminal.start("produce"))
    for run in (1, 2):
        stage.await_finished(300, run)
        assert len(checker.rows(stage.database_url, "batches", run)) == 300
        stage.assert_all_counted_once(300, run)


@BOTH_DATABASES
def test_a_killed_worker_loses_and_doubles_nothing(stage: Stage) -> None:
    # Given 20,000 messages in play
    total = 20_000
    stage.terminal.configure(
        num_messages=total,
        batch_size=100,
        retry=QUICK_RETRY,
        senders=[profile("good", 90, 0.05, 0.1), profile("bad", 90, 0.05, 0.3)],
    )
    good, bad = stage.workers("good", "bad")
    produce = stage.terminal.start("produce")
    stage.await_finished(total // 20)

    # When both workers are killed, one after the other, and come again
    for worker in (good, bad):
        before = stage.finished()
        worker.kill()
        worker.restart()
        stage.await_finished(before + 1_000)

    # Then everything is counted, and only once
    assert_ended(produce)
    stage.await_finished(total)
    stage.assert_all_counted_once(total)


def test_a_worker_that_is_asked_to_stop_loses_and_doubles_nothing(stage: Stage) -> None:
    # Given a run in the middle
    total = 4_000
    stage.terminal.configure(
        num_messages=total,
        batch_size=20,
        retry=QUICK_RETRY,
        senders=[profile("fast", 40, 0.05, 0.3)],
    )
    (worker,) = stage.workers("fast")
    produce = stage.terminal.start("produce")
    stage.await_finished(500)

    # When the worker is asked to stop, then it does, and nothing is thrown away
    worker.term()
    assert worker.wait() == 0
    assert "sms.dead" not in stage.depths()
    assert stage.finished() < total

    # And another one finishes the run
    worker.restart()
    assert_ended(produce)
    stage.await_finished(total)
    stage.assert_all_counted_once(total)


def test_ctrl_c_on_run_with_a_broker_throws_nothing_away(stage: Stage) -> None:
    # Given everything in one process, on RabbitMQ
    total = 3_000
    stage.terminal.configure(
        num_messages=total,
        batch_size=20,
        report_period=0.2,
        retry=QUICK_RETRY,
        senders=[profile("fast", 40, 0.1, 0.2)],
        routing="static",
    )
    run = stage.terminal.start("run")
    run.says("delivered 0")
    stage.await_published(total)

    # When it is interrupted in the middle
    run.interrupt()
    result = run.wait()
    assert result.code == 130

    # Then nothing is dead, and a worker can finish what was dispatched
    assert "sms.dead" not in stage.depths()
    assert stage.finished() < total
    stage.workers("fast")
    stage.await_finished(total)
    stage.assert_all_counted_once(total)

    # And the user saw a summary, not how the machinery stops
    assert "Traceback" not in result.err
    assert result.err == ""


def test_a_memory_alarm_delays_and_loses_nothing(stage: Stage) -> None:
    # Given a run of which half must be retried, over and over
    total = 4_000
    stage.terminal.configure(
        num_messages=total,
        batch_size=100,
        retry={"backoff": 1, "backoff_max": 1, "max_attempts": None},
        senders=[profile("flaky", 40, 0.02, 0.5)],
    )
    (worker,) = stage.workers("flaky")
    produce = stage.terminal.start("produce")
    stage.await_finished(500)

    # When the broker takes no messages for longer than a publish waits
    stage.rabbitmq.set_memory_alarm()
    time.sleep(ALARM_SECONDS)
    stage.rabbitmq.clear_memory_alarm()
    assert "is not confirmed" in worker.logs()

    # Then the same worker and the same producer go on, and finish
    assert_ended(produce)
    stage.await_finished(total)
    assert worker.running
    stage.assert_all_counted_once(total)


def test_flower_shows_batches_and_no_recipients(stage: Stage) -> None:
    # Given a worker and Flower, with a password and on this machine only
    stage.terminal.configure(
        num_messages=200, batch_size=20, retry=QUICK_RETRY, senders=[profile("fast", 20, 0.01, 0.5)]
    )
    stage.workers("fast")
    port = free_port()
    flower = stage.terminal.start(
        "flower",
        "--address=127.0.0.1",
        f"--port={port}",
        "--basic-auth=user:password",
        program=CELERY,
    )
    url = f"http://127.0.0.1:{port}"
    wait_until(
        lambda: flower.process.poll() is not None or len(read(f"{url}/api/workers?refresh=1")) > 2,
        PATIENCE_SECONDS,
        "Flower lists the worker",
    )
    assert flower.process.poll() is None, flower.err
    (worker,) = json.loads(read(f"{url}/api/workers"))
    assert worker.startswith("fast-")

    # When a run is done
    assert_ended(stage.terminal.start("produce"))
    stage.await_finished(200)
    wait_until(
        lambda: ", attempt " in read(f"{url}/api/tasks"), PATIENCE_SECONDS, "Flower shows retries"
    )

    # Then what Flower knows of tasks is short, and has neither numbers nor texts
    tasks = json.loads(read(f"{url}/api/tasks"))
    assert len(tasks) >= 10
    for task in tasks.values():
        if task["name"]:
            said = r"run \d+, batch \d+: \d+ SMS(, attempt \d)?"
            assert re.fullmatch(said, task["args"]), task["args"]
    for page in ("/api/tasks", "/tasks", f"/task/{next(iter(tasks))}"):
        assert not PHONE.search(read(url + page))

    # And nobody gets in without the password
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/api/workers", timeout=5)  # noqa: S310 - our own URL


def read(url: str) -> str:
    """A page of Flower's, with the password; nothing while it does not listen yet."""
    password = base64.b64encode(b"user:password").decode()
    request = urllib.request.Request(  # noqa: S310 - our own URL
        url, headers={"Authorization": f"Basic {password}"}
    )
    with (
        suppress(urllib.error.URLError, ConnectionError),
        urllib.request.urlopen(request, timeout=10) as answer,  # noqa: S310 - our own URL
    ):
        return str(answer.read().decode())
    return ""


def test_a_worker_with_a_profile_of_its_own_joins_a_run(stage: Stage) -> None:
    # Given a run in the middle, whose configuration has one profile
    total = 4_000
    stage.terminal.configure(
        num_messages=total, retry=QUICK_RETRY, senders=[profile("fast", 10, 0.1)]
    )
    stage.workers("fast")
    produce = stage.terminal.start("produce")
    stage.await_finished(1)

    # When a worker joins with a profile that no file knows
    options = ("--senders", "50", "--mean-time", "0.01", "--failure-rate", "0")
    stage.worker_with("brandnew", *options)
    assert_ended(produce)
    stage.await_finished(total)

    # Then it has had its part of the run, and all is proven
    settled = {row["profile"] for row in checker.rows(stage.database_url, "settlements", 1)}
    assert settled == {"fast", "brandnew"}
    stage.assert_all_counted_once(total)
    audit, monitor = assert_ended(
        stage.terminal.start("audit", "1"), stage.terminal.start("monitor", "1", "--json")
    )
    assert "proven" in audit.out.lower()
    fast, brandnew = monitor.json["profiles"]
    assert (fast["name"], fast["senders"]) == ("fast", 10)
    assert (brandnew["name"], brandnew["senders"]) == ("brandnew", 50)
    assert brandnew["failure_rate"] == 0
    # 5,000 messages a second against 100
    assert brandnew["delivered"] > fast["delivered"]
