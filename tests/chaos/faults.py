"""The faults: what strikes a run, and how it is mended. One function each."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path

import pytest
from kombu import Connection, Message, Queue
from sqlalchemy.engine import make_url

from sms_pipeline.broker.topology import EXCHANGE
from sms_pipeline.core.batch import Batch
from tests.chaos import garbage
from tests.chaos.instruments import CLOCK, FAILPOINT, HOST_CLOCK, TWICE, Point, Twice
from tests.chaos.scenario import (
    COMMAND_SECONDS,
    DEAD_LETTERS,
    PATIENCE_SECONDS,
    PROFILE,
    PROVEN,
    QUEUE,
    RUN,
    UNFINISHED,
    Scenario,
)
from tests.services.postgres import at_port
from tests.services.proxy import Link
from tests.services.waiting import wait_until

#: The broker does not answer for so long: longer than a publish waits for its confirm (10 s).
FREEZE_SECONDS = 12.0
#: Shorter and longer than a publish waits for its confirm.
ALARM_SECONDS = (8.0, 14.0)
#: Longer than an SQLite connection waits for a lock (10 s).
LOCK_SECONDS = 12.0
FULL_SECONDS = 5.0
#: RabbitMQ writes its register of queues so long after they were declared.
REGISTER_SECONDS = 0.5
OUTAGE_SECONDS = 2.0
#: Between two events of a fault that strikes several times.
PAUSE_SECONDS = 1.0
#: A run that stands must stand still for so long.
STILL_SECONDS = 3.0
#: The audit bears with clocks that differ by up to five minutes.
WRONG_SECONDS = 240.0
STEP_SECONDS = 120.0
#: So long nothing passes between the database and whoever uses it: too long for any connection.
CUT_SECONDS = (15.0, 30.0)
READ_ONLY_SECONDS = (2.0, 8.0)
LEFTOVERS = 3
CLOSINGS = 3
CHURNS = 5
STRANGERS = 2
#: RabbitMQ 4's own limit: after so many returns it dead-letters a batch.
RETURNS = 20
#: What a worker of another ledger ends with.
FOREIGN = 2
#: Messages that are kept and delivered again, late.
STALE_MESSAGES = 10
#: Room for the ledger of a usual run, and quickly filled.
LEDGER_DISK_BYTES = 32_000_000

COPIES_QUEUE = "copies"
#: Where the delay queues give back what has waited.
DELIVERY_EXCHANGE = "celery_delayed_delivery"


class Fault(StrEnum):
    """What can be tried; see the function of the same name."""

    CALM = "calm"
    WORKER_KILL = "worker-kill"
    PROFILE_KILL = "profile-kill"
    OUTAGE = "outage"
    WORKER_FREEZE = "worker-freeze"
    WORKER_TERM = "worker-term"
    WORKER_CHURN = "worker-churn"
    FOREIGN_LEDGER = "foreign-ledger"
    KILL_AFTER_PLAY = "kill-after-play"
    KILL_AFTER_COMMIT = "kill-after-commit"
    KILL_AFTER_RETRY = "kill-after-retry"
    PRODUCER_KILL_BEFORE_PUBLISH = "producer-kill-before-publish"
    PRODUCER_KILL_AFTER_PUBLISH = "producer-kill-after-publish"
    TWO_RESUMES = "two-resumes"
    MONITOR_KILL = "monitor-kill"
    BROKER_KILL = "broker-kill"
    BROKER_KILL_EARLY = "broker-kill-early"
    BROKER_FREEZE = "broker-freeze"
    RETRIES_STUCK = "retries-stuck"
    MEMORY_ALARM = "memory-alarm"
    CONNECTIONS_CLOSED = "connections-closed"
    EVERYTHING_TWICE = "everything-twice"
    SAME_BATCH_AT_ONCE = "same-batch-at-once"
    STALE_ATTEMPT = "stale-attempt"
    GARBAGE = "garbage"
    LEFTOVER_BATCH = "leftover-batch"
    DELIVERY_LIMIT = "delivery-limit"
    POSTGRES_KILL = "postgres-kill"
    DATABASE_LINK_CUT = "database-link-cut"
    READ_ONLY_DATABASE = "read-only-database"
    SQLITE_LOCK = "sqlite-lock"
    DISK_FULL = "disk-full"
    WRONG_CLOCK = "wrong-clock"
    STEPPED_CLOCK = "stepped-clock"
    PAUSE = "pause"
    CANCEL = "cancel"
    EMBEDDED_KILL = "embedded-kill"

    def strike(self, scenario: Scenario) -> None:
        """Start the scenario's run, let the fault happen, mend it."""
        _FUNCTIONS[self](scenario)

    @property
    def is_embedded(self) -> bool:
        """Whether the run has its broker inside its process."""
        return self is Fault.EMBEDDED_KILL

    @property
    def meaning(self) -> str:
        """One sentence: the docstring of the fault's function."""
        return " ".join((_FUNCTIONS[self].__doc__ or "").split())


_FUNCTIONS: dict[Fault, Callable[[Scenario], None]] = {}


def _of(fault: Fault) -> Callable[[Callable[[Scenario], None]], Callable[[Scenario], None]]:
    def register(function: Callable[[Scenario], None]) -> Callable[[Scenario], None]:
        _FUNCTIONS[fault] = function
        return function

    return register


@_of(Fault.CALM)
def _calm(scenario: Scenario) -> None:
    """No fault: what the others are compared with."""
    scenario.may_send_twice = False
    scenario.start()


# Workers


@_of(Fault.WORKER_KILL)
def _worker_kill(scenario: Scenario) -> None:
    """SIGKILL of a worker (of each profile) in the middle of its batches; others start."""
    scenario.start()
    scenario.await_some_share()
    killed = scenario.first_workers
    for worker in killed:
        scenario.kill_worker(worker)
    for worker in [scenario.add_worker(profile=worker.profile, wait=False) for worker in killed]:
        worker.ready()
    scenario.expect_absorbed.add("redelivered")
    scenario.mended()


@_of(Fault.PROFILE_KILL)
def _profile_kill(scenario: Scenario) -> None:
    """SIGKILL of all workers of a profile, and nobody starts others: another profile takes over."""
    scenario.start()
    scenario.await_some_share()
    for worker in [one for one in scenario.workers if one.profile != PROFILE]:
        scenario.kill_worker(worker)
    scenario.expect_logged.add("they are taken over")
    scenario.mended()


@_of(Fault.OUTAGE)
def _outage(scenario: Scenario) -> None:
    """The senders of a profile stop for six seconds: what waited too long twice goes to another."""
    scenario.may_send_twice = False
    scenario.start()


@_of(Fault.WORKER_FREEZE)
def _worker_freeze(scenario: Scenario) -> None:
    """SIGSTOP of a worker; the broker gives its batches to others, then it continues with them."""
    scenario.start()
    scenario.await_some_share()
    frozen = scenario.workers[0]
    with _no_transaction(scenario):
        frozen.pause()
    scenario.broker.close_all_connections(scenario.broker_url)
    counts = scenario.counts()
    assert counts is not None
    # Redelivered batches first, so that some of the frozen worker's are settled by others.
    enough = min(counts.attempts + scenario.total // 3, scenario.total)
    scenario.await_counts(lambda now: now.attempts >= enough, "the others go on")
    frozen.resume()
    scenario.expect_absorbed.add("redelivered")
    scenario.mended()


def _no_transaction(scenario: Scenario) -> AbstractContextManager[None]:
    """Nobody commits meanwhile: whoever is frozen with SQLite's lock in hand stops all others."""
    return _locked(scenario) if scenario.setting.database == "sqlite" else nullcontext()


@contextmanager
def _locked(scenario: Scenario) -> Iterator[None]:
    """Hold SQLite's write lock."""
    file = make_url(scenario.database_url).database
    assert file is not None
    with closing(
        sqlite3.connect(file, isolation_level=None, timeout=PATIENCE_SECONDS)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@_of(Fault.WORKER_TERM)
def _worker_term(scenario: Scenario) -> None:
    """SIGTERM of one worker under load; the others continue, and nothing is sent twice."""
    scenario.may_send_twice = False
    scenario.start()
    scenario.await_some_share()
    leaving = scenario.workers.pop(0)
    leaving.term()
    assert leaving.wait(PATIENCE_SECONDS) == 0, f"{leaving.name} ended with {leaving.exit_code}"
    scenario.mended()


@_of(Fault.WORKER_CHURN)
def _worker_churn(scenario: Scenario) -> None:
    """A worker joins and leaves a second later, by SIGTERM or SIGKILL; several times."""
    scenario.start()
    for _ in range(CHURNS):
        guest = scenario.add_worker()
        time.sleep(PAUSE_SECONDS)
        if scenario.rng.random() < 0.5:
            scenario.kill_worker(guest)
        else:
            guest.term()
            assert guest.wait(PATIENCE_SECONDS) == 0, f"{guest.name}: {guest.exit_code}"
            scenario.workers.remove(guest)


@_of(Fault.FOREIGN_LEDGER)
def _foreign_ledger(scenario: Scenario) -> None:
    """Workers of another ledger join; each puts back what it receives, and ends with 2."""
    scenario.may_send_twice = False
    scenario.expect_absorbed.add("redelivered")
    scenario.start()
    scenario.await_share(scenario.rng.uniform(0, 0.2))
    foreign = {"SMS_DATABASE_URL": f"sqlite:///{scenario.folder / 'foreign.db'}"}
    strangers = [scenario.add_worker(foreign, wait=False) for _ in range(STRANGERS)]
    for stranger in strangers:
        code = stranger.wait(PATIENCE_SECONDS)
        assert code == FOREIGN and "another ledger" in stranger.logs(), f"ended with {code}"
        scenario.workers.remove(stranger)
    scenario.mended()


def _kill_at(scenario: Scenario, point: Point) -> None:
    number = scenario.rng.randint(1, 20)
    scenario.start(worker={FAILPOINT: f"{point}:{number}"})
    scenario.await_suicide(scenario.workers[0])
    scenario.add_worker()
    scenario.expect_absorbed.add("redelivered")
    scenario.mended()


@_of(Fault.KILL_AFTER_PLAY)
def _kill_after_play(scenario: Scenario) -> None:
    """SIGKILL of a worker that has sent a batch and not committed its settlement."""
    _kill_at(scenario, Point.AFTER_PLAY)


@_of(Fault.KILL_AFTER_COMMIT)
def _kill_after_commit(scenario: Scenario) -> None:
    """SIGKILL of a worker between the commit of a settlement and the publish of its retry."""
    scenario.expect_absorbed.add("answered")
    _kill_at(scenario, Point.AFTER_COMMIT)


@_of(Fault.KILL_AFTER_RETRY)
def _kill_after_retry(scenario: Scenario) -> None:
    """SIGKILL of a worker between the publish of a retry and the acknowledgement."""
    scenario.expect_absorbed.add("answered")
    _kill_at(scenario, Point.AFTER_RETRY)


# Producer and monitor


def _kill_producer(scenario: Scenario, point: Point) -> None:
    number = scenario.rng.randint(5, 150)
    scenario.start(producer={FAILPOINT: f"{point}:{number}"})
    assert scenario.producer is not None
    scenario.await_suicide(scenario.producer)
    scenario.produced()
    code, report = scenario.audit()
    assert code == UNFINISHED, f"audit after the producer's death: {code}, {report}"


@_of(Fault.PRODUCER_KILL_BEFORE_PUBLISH)
def _producer_kill_before_publish(scenario: Scenario) -> None:
    """SIGKILL of the producer between recording batches and publishing them; then `resume`."""
    scenario.may_send_twice = False
    _kill_producer(scenario, Point.BEFORE_PUBLISH)
    # It waits for quiet queues first, which is no part of the recovery.
    scenario.resume()
    scenario.mended()


@_of(Fault.PRODUCER_KILL_AFTER_PUBLISH)
def _producer_kill_after_publish(scenario: Scenario) -> None:
    """SIGKILL of the producer when the broker has batches that are not marked as published."""
    _kill_producer(scenario, Point.AFTER_PUBLISH)
    scenario.resume("--force")
    scenario.mended()


@_of(Fault.TWO_RESUMES)
def _two_resumes(scenario: Scenario) -> None:
    """Two `resume --force` at once, on a run whose workers are busy and whose producer is dead."""
    _kill_producer(scenario, Point.BEFORE_PUBLISH)
    both = [scenario.spawn("resume", str(RUN), "--force") for _ in range(2)]
    for process in both:
        assert process.wait(COMMAND_SECONDS) == 0, f"resume: {process.log_tail()}"
    scenario.mended()


@_of(Fault.MONITOR_KILL)
def _monitor_kill(scenario: Scenario) -> None:
    """SIGKILL of the monitor; a new one shows the same run, and nothing else notices."""
    scenario.may_send_twice = False
    scenario.start()
    scenario.await_share(0.1)
    monitor = scenario.spawn("monitor", str(RUN), "--json", "--every", "0.2")
    wait_until(lambda: '"delivered"' in monitor.log_tail(), PATIENCE_SECONDS, "the monitor reports")
    monitor.kill()
    again = scenario.spawn("monitor", str(RUN), "--json", "--every", "0.2")
    scenario.mended()
    assert again.wait(COMMAND_SECONDS) == 0, f"monitor: {again.log_tail()}"
    assert '"done": true' in again.log_tail(), f"monitor: {again.log_tail()}"


# Broker


@_of(Fault.BROKER_KILL)
def _broker_kill(scenario: Scenario) -> None:
    """SIGKILL of the broker, nothing flushed; it starts again on the same files."""
    scenario.expect_logged.add("Connection to broker lost")
    scenario.start()
    scenario.await_some_share()
    scenario.broker.kill(settle=False)
    time.sleep(scenario.rng.uniform(0, OUTAGE_SECONDS))
    scenario.broker.restart()
    scenario.mended()


@_of(Fault.BROKER_KILL_EARLY)
def _broker_kill_early(scenario: Scenario) -> None:
    """SIGKILL of the broker just after its queues were made, nothing flushed; then `resume`."""
    # The producer makes the queue; workers come when it may exist in name only.
    scenario.produce()
    wait_until(scenario.counts, PATIENCE_SECONDS, "the run is there")
    time.sleep(scenario.rng.uniform(0, REGISTER_SECONDS))
    scenario.broker.kill(settle=False)
    scenario.broker.restart()
    for _ in range(scenario.setting.workers):
        scenario.add_worker(wait=False)
    # Batches that were confirmed are lost with the queue, and only the ledger knows of them.
    scenario.kill_producer()
    resuming = scenario.spawn("resume", str(RUN), "--force")
    scenario.mended()
    assert resuming.wait(COMMAND_SECONDS) == 0, f"resume: {resuming.log_tail()}"


@_of(Fault.BROKER_FREEZE)
def _broker_freeze(scenario: Scenario) -> None:
    """SIGSTOP of the broker for 12 s: connections stay open, nothing answers."""
    scenario.start()
    scenario.await_some_share()
    scenario.broker.pause()
    time.sleep(FREEZE_SECONDS)
    scenario.broker.resume()
    scenario.mended()


@_of(Fault.RETRIES_STUCK)
def _retries_stuck(scenario: Scenario) -> None:
    """Waiting retries find no route back to their queue, as can happen while the broker starts."""
    scenario.start()
    scenario.await_some_share()
    with Connection(scenario.broker_url) as connection:
        way_back = EXCHANGE.bind(connection.default_channel)
        key = f"#.{QUEUE}"
        way_back.unbind_from(DELIVERY_EXCHANGE, key)
        _await_standstill(scenario)
        code, report = scenario.audit()
        assert code == UNFINISHED and report["in_flight"], f"audit: {code}, {report}"
        way_back.bind_to(DELIVERY_EXCHANGE, key)
    scenario.mended()


@_of(Fault.MEMORY_ALARM)
def _memory_alarm(scenario: Scenario) -> None:
    """The broker's memory alarm blocks every publish for 8 to 14 s; half of all attempts fail."""
    scenario.start()
    scenario.await_some_share()
    scenario.broker.set_memory_alarm()
    time.sleep(scenario.rng.uniform(*ALARM_SECONDS))
    scenario.broker.clear_memory_alarm()
    scenario.mended()


@_of(Fault.CONNECTIONS_CLOSED)
def _connections_closed(scenario: Scenario) -> None:
    """The broker closes all connections, three times."""
    scenario.expect_logged.add("Connection to broker lost")
    scenario.start()
    for number in range(CLOSINGS):
        scenario.await_share(0.2 + 0.2 * number + scenario.rng.uniform(0, 0.1))
        scenario.broker.close_all_connections(scenario.broker_url)
    scenario.mended()


# Messages


@_of(Fault.EVERYTHING_TWICE)
def _everything_twice(scenario: Scenario) -> None:
    """Every task, first attempts and retries, is published twice."""
    habits = {TWICE: Twice.EVERYTHING}
    scenario.start(worker=habits, others=habits, producer=habits)


@_of(Fault.SAME_BATCH_AT_ONCE)
def _same_batch_at_once(scenario: Scenario) -> None:
    """Every batch is published twice, and two workers play it at the same time."""
    scenario.expect_absorbed.add("repeated")
    scenario.start(producer={TWICE: Twice.FIRST_ATTEMPTS})


@_of(Fault.STALE_ATTEMPT)
def _stale_attempt(scenario: Scenario) -> None:
    """First attempts arrive again after a later attempt of their batch is settled."""
    scenario.may_send_twice = False
    scenario.expect_absorbed.add("answered")
    with Connection(scenario.broker_url) as connection:
        channel = connection.default_channel
        channel.exchange_declare("sms", "topic", durable=True, auto_delete=False)
        channel.queue_declare(COPIES_QUEUE, durable=True, auto_delete=False)
        # Retries that waited at the broker have another routing key, first attempts this one.
        channel.queue_bind(COPIES_QUEUE, "sms", QUEUE)
        scenario.start()
        for _ in range(STALE_MESSAGES):
            _deliver_late(scenario, connection)
        channel.queue_delete(COPIES_QUEUE)


def _deliver_late(scenario: Scenario, connection: Connection) -> None:
    while True:
        copy = wait_until(
            lambda: connection.default_channel.basic_get(COPIES_QUEUE, no_ack=True),
            PATIENCE_SECONDS,
            "a copy of a message is there",
        )
        batch = json.loads(copy.body)[0][0]
        _await_attempts(scenario, batch["number"], 1)
        if batch["attempt"] == 0 and scenario.evidence.left_over(batch["number"]):
            break
    _await_attempts(scenario, batch["number"], 2)
    _publish_copy(connection, copy)


def _await_attempts(scenario: Scenario, batch: int, count: int) -> None:
    wait_until(
        lambda: scenario.evidence.settled_attempts(batch) >= count,
        PATIENCE_SECONDS,
        f"{count} attempts of batch {batch} are settled",
    )


def _publish_copy(connection: Connection, copy: Message) -> None:
    connection.Producer().publish(
        copy.body,
        routing_key=QUEUE,
        content_type=copy.content_type,
        content_encoding=copy.content_encoding,
        headers=copy.headers,
        correlation_id=copy.properties.get("correlation_id"),
        delivery_mode=2,
    )


@_of(Fault.GARBAGE)
def _garbage(scenario: Scenario) -> None:
    """Garbage and poison among the good tasks; all of it ends in the dead-letter queue."""
    scenario.may_send_twice = False
    scenario.start()
    scenario.await_share(0.05)
    with Connection(scenario.broker_url) as connection:
        producer = connection.Producer()
        for letter in garbage.letters(scenario.evidence.ledger_id(), scenario.rng):
            producer.publish(routing_key=QUEUE, delivery_mode=2, **letter)
            scenario.dead_letters += 1
            time.sleep(scenario.rng.uniform(0, 0.1))
    scenario.mended()


@_of(Fault.LEFTOVER_BATCH)
def _leftover_batch(scenario: Scenario) -> None:
    """Batches of another ledger come to busy workers, who put them aside and go on."""
    scenario.may_send_twice = False
    scenario.expect_logged.add("put aside")
    scenario.start()
    scenario.await_some_share()
    with Connection(scenario.broker_url) as connection:
        for _ in range(LEFTOVERS):
            connection.Producer().publish(routing_key=QUEUE, delivery_mode=2, **garbage.leftover())
            scenario.dead_letters += 1
    scenario.mended()


@_of(Fault.DELIVERY_LIMIT)
def _delivery_limit(scenario: Scenario) -> None:
    """A batch is returned too often and dead-lettered; the audit says so, `resume` sends it."""
    scenario.may_send_twice = False
    scenario.delivery_limit = RETURNS
    scenario.start()
    scenario.await_some_share()
    leaving = scenario.workers.pop()
    leaving.term()
    assert leaving.wait(PATIENCE_SECONDS) == 0, f"{leaving.name} ended with {leaving.exit_code}"
    missing = _return_until_dead_lettered(scenario)
    scenario.add_worker()
    others = scenario.total - missing
    scenario.await_counts(lambda counts: counts.finished >= others, "all others have a fate")
    code, report = scenario.audit()
    shown = code, report["in_flight"], report["dead_letters"]
    assert shown == (UNFINISHED, missing, 1), f"audit before resume: {code}, {report}"
    scenario.resume()
    scenario.mended()


def _return_until_dead_lettered(scenario: Scenario) -> int:
    """Return the first batch of the queue until it is gone; return how many messages it has."""
    with Connection(scenario.broker_url) as connection:
        queue = Queue(QUEUE).bind(connection.default_channel)
        first = wait_until(queue.get, PATIENCE_SECONDS, "a batch waits")
        first.reject(requeue=True)

        def is_dead_lettered() -> bool:
            # A busy broker may hand out the next batch first; it is returned with the connection.
            again = queue.get()
            if again is not None and again.body == first.body:
                again.reject(requeue=True)
            return scenario.broker.queue_depths(scenario.broker_url)[DEAD_LETTERS] == 1

        wait_until(is_dead_lettered, PATIENCE_SECONDS, "the batch is dead-lettered")
    return Batch.from_wire(json.loads(first.body)[0][0]).count


# Ledger


@_of(Fault.POSTGRES_KILL)
def _postgres_kill(scenario: Scenario) -> None:
    """SIGKILL of PostgreSQL with all its backends; it starts again."""
    assert scenario.postgres is not None
    scenario.expect_logged.add("can't be reached")
    scenario.start()
    scenario.await_some_share()
    scenario.postgres.kill()
    time.sleep(scenario.rng.uniform(0, OUTAGE_SECONDS))
    scenario.postgres.start()
    scenario.mended()


@_of(Fault.DATABASE_LINK_CUT)
def _database_link_cut(scenario: Scenario) -> None:
    """Nothing passes between the database and all others for 15 to 30 s; nobody is told."""
    assert scenario.postgres is not None
    scenario.expect_logged.add("no more batches are taken")
    link = scenario.cleanup.enter_context(Link(scenario.postgres.port))
    by_link = {"SMS_DATABASE_URL": at_port(scenario.database_url, link.port)}
    scenario.start(worker=by_link, others=by_link, producer=by_link)
    scenario.await_some_share()
    link.cut()
    time.sleep(scenario.rng.uniform(*CUT_SECONDS))
    link.heal()
    scenario.mended()


@_of(Fault.READ_ONLY_DATABASE)
def _read_only_database(scenario: Scenario) -> None:
    """The database disconnects everybody and only allows reading for some seconds."""
    assert scenario.postgres is not None
    scenario.expect_logged.add("only allows reading")
    name = str(make_url(scenario.database_url).database)
    scenario.start()
    scenario.await_some_share()
    scenario.postgres.set_read_only(name, True)
    time.sleep(scenario.rng.uniform(*READ_ONLY_SECONDS))
    scenario.postgres.set_read_only(name, False)
    scenario.mended()


@_of(Fault.SQLITE_LOCK)
def _sqlite_lock(scenario: Scenario) -> None:
    """Another process holds SQLite's write lock for 12 s."""
    scenario.expect_logged.add("database is locked")
    scenario.start()
    scenario.await_some_share()
    with _locked(scenario):
        time.sleep(LOCK_SECONDS)
    scenario.mended()


@_of(Fault.DISK_FULL)
def _disk_full(scenario: Scenario) -> None:
    """The ledger's disk is full for 5 s."""
    disk = _small_disk(scenario)
    scenario.database_url = f"sqlite:///{disk / 'ledger.db'}"
    scenario.expect_logged.add("disk is full")
    scenario.start()
    scenario.await_some_share()
    ballast = disk / "ballast"
    _fill(ballast)
    filled_until = time.monotonic() + FULL_SECONDS
    while time.monotonic() < filled_until:
        _fill(ballast)  # SQLite gives space back when it starts its log anew.
        time.sleep(0.1)
    ballast.unlink()
    scenario.mended()


def _small_disk(scenario: Scenario) -> Path:
    disk = scenario.folder / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={LEDGER_DISK_BYTES}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], check=False).returncode != 0:
        pytest.skip("a small disk for the ledger can be mounted by root only")
    scenario.cleanup.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=False)
    return disk


def _fill(file: Path) -> None:
    """Append until there is no room for a byte more."""
    size = 65_536
    with file.open("ab", buffering=0) as ballast:
        while size:
            try:
                if ballast.write(bytes(size)) < size:
                    size //= 2
            except OSError:
                size //= 2


@_of(Fault.WRONG_CLOCK)
def _wrong_clock(scenario: Scenario) -> None:
    """The clock of one worker, as if on a host of its own, is four minutes off."""
    scenario.may_send_twice = False
    offset = scenario.rng.choice([-1, 1]) * WRONG_SECONDS
    scenario.start(worker={HOST_CLOCK: str(offset)})


@_of(Fault.STEPPED_CLOCK)
def _stepped_clock(scenario: Scenario) -> None:
    """The clock that all share is set by two minutes, with a deadline of one; nothing expires."""
    scenario.may_send_twice = False
    scenario.may_expire = False
    scenario.expect_logged.add("the clock of this machine was set")
    off = scenario.folder / "clock"
    _set_clock(off, 0)
    machine = {CLOCK: str(off)}
    scenario.start(worker=machine, others=machine, producer=machine)
    scenario.await_some_share()
    _set_clock(off, scenario.rng.choice([-1, 1]) * STEP_SECONDS)
    scenario.mended()
    # Who comes now has never seen the old time.
    scenario.add_worker(machine)


def _set_clock(off: Path, seconds: float) -> None:
    """At once: a process may read it at the same moment."""
    new = off.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(off)


# The user


@_of(Fault.PAUSE)
def _pause(scenario: Scenario) -> None:
    """`pause` under load, until nothing moves any more; then `continue`."""
    scenario.may_send_twice = False
    scenario.start()
    scenario.await_some_share()
    assert scenario.command("pause", str(RUN))[0] == 0
    counts = _await_standstill(scenario)
    assert counts < scenario.total, "the run was over before it was paused"
    assert scenario.command("continue", str(RUN))[0] == 0
    scenario.mended()


def _await_standstill(scenario: Scenario) -> int:
    """Wait until no attempt was settled for a while; return how many messages are finished."""
    last, since = scenario.counts(), time.monotonic()

    def stands() -> bool:
        nonlocal last, since
        counts = scenario.counts()
        if counts != last:
            last, since = counts, time.monotonic()
        return time.monotonic() - since >= STILL_SECONDS

    wait_until(stands, PATIENCE_SECONDS, "the run stands still")
    assert last is not None
    return last.finished


@_of(Fault.CANCEL)
def _cancel(scenario: Scenario) -> None:
    """`cancel` under load; what has not ended by then counts as cancelled."""
    scenario.may_send_twice = False
    scenario.start()
    scenario.await_some_share()
    assert scenario.command("cancel", str(RUN))[0] == 0
    scenario.mended()
    scenario.await_counts(lambda counts: counts.finished >= scenario.total, "all is cancelled")
    code, report = scenario.audit()
    assert code == PROVEN and report["cancelled"] > 0, f"audit after cancel: {code}, {report}"


@_of(Fault.EMBEDDED_KILL)
def _embedded_kill(scenario: Scenario) -> None:
    """SIGKILL of `sms-pipeline run`, whose broker dies with it; then `resume`."""
    process = scenario.spawn("run", "--config", scenario.simulation)
    scenario.await_some_share()
    process.kill()
    code, report = scenario.audit()
    lost = any("lost with their broker" in state for state in report["unsettled"])
    assert code == UNFINISHED and lost, f"audit after the kill: {code}, {report}"
    scenario.resume()
    scenario.mended()
