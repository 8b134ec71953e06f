"""Whatever arrives in a worker's queue, the worker stays alive and the good batches are counted."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from amqp import Channel, Message
from celery import Celery
from kombu import Connection

from sms_pipeline.broker import topology
from sms_pipeline.core.batch import TASK_NAME, Batch
from sms_pipeline.core.messages import make_columns
from sms_pipeline.core.records import BatchRow, Run
from sms_pipeline.core.simulation import parse_simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.foreign import MOST_RETURNS
from tests.functional import checker
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 20.0
EXIT_USAGE = 2
PERSISTENT = 2
QUEUE = "sms.fast"
DEAD = "sms.dead"

#: Somewhere in every bad message, and never in a log: it stands for a phone number or a text.
PRIVATE = "555-0100-private"

LONG_AGO = "2001-01-01T00:00:00+00:00"

BATCH_SIZE = 20
SIMULATION = parse_simulation(
    json.dumps(
        {
            "num_messages": 2 * BATCH_SIZE,
            "batch_size": BATCH_SIZE,
            "senders": [
                {"name": "fast", "count": 20, "mean_time": 0.01, "failure_rate": 0},
                {"name": "slow", "count": 20, "mean_time": 0.01, "failure_rate": 0},
            ],
        }
    )
)

#: The start of what Celery's own format makes of an error.
ERROR_LOG = re.compile(r"^\[[^\]]*: (?:ERROR|CRITICAL)/", re.MULTILINE)


class Bench(NamedTuple):
    """A worker with its queue and ledger."""

    rabbitmq: RabbitMQNode
    url: str
    ledger: Ledger
    database_url: str
    worker: WorkerProcess


@pytest.fixture(scope="module")
def bench(rabbitmq: RabbitMQNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One worker for all bad messages: each finds it alive, or the one before killed it."""
    folder = tmp_path_factory.mktemp("bench")
    rabbitmq.heal()
    vhost = f"bench_{uuid.uuid4().hex[:12]}"
    url = rabbitmq.new_vhost(vhost)
    database_url = f"sqlite:///{folder / 'ledger.db'}"
    with WorkerProcess("fast", folder, environment(url, database_url, folder)) as worker:
        yield Bench(rabbitmq, url, Ledger.open(database_url), database_url, worker)
    rabbitmq.delete_vhost(vhost)


def environment(url: str, database_url: str, folder: Path) -> dict[str, str]:
    """Of a worker on the simulation of this module."""
    config = folder / "simulation.yml"
    config.write_text(SIMULATION.model_dump_json())
    return {"CELERY_BROKER_URL": url, "SMS_DATABASE_URL": database_url, "SMS_CONFIG": str(config)}


def batch_of(ledger_id: str, run: int, number: int, **changes: Any) -> dict[str, Any]:
    """A good batch as it travels, but for `changes`."""
    columns = make_columns(1, number * BATCH_SIZE, BATCH_SIZE, 100, "xxx-xxx-xxxx")
    batch = Batch(
        ledger=ledger_id,
        run=run,
        number=number,
        first_index=number * BATCH_SIZE,
        size=BATCH_SIZE,
        profile="fast",
        attempt=0,
        started_at=time.time(),
        queued_at=time.time(),
        seed=1,
        retry=SIMULATION.retry,
        to=columns.to,
        text=columns.text,
    )
    return {**batch.to_wire(), **changes}


def headers(**changes: Any) -> dict[str, Any]:
    """Those of a task message, protocol 2; a change to ... takes one away."""
    task_id = str(uuid.uuid4())
    usual = {
        "lang": "py",
        "task": TASK_NAME,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "batch",
        "kwargsrepr": "",
        "origin": "test",
    }
    return {name: value for name, value in (usual | changes).items() if value is not ...}


def start_run(ledger: Ledger) -> Run:
    """A run with two recorded batches."""
    run = ledger.start_run(SIMULATION, 1)
    rows = [
        BatchRow(run.id, number, "fast", number * BATCH_SIZE, BATCH_SIZE, time.time())
        for number in range(2)
    ]
    ledger.record_batches(run.id, rows)
    return run


def task_body(argument: object) -> bytes:
    """The body of a task message, protocol 2."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return json.dumps([[argument], {}, embed]).encode()


@contextmanager
def channel_to(url: str) -> Iterator[Channel]:
    """A bare channel: kombu would correct what must stay wrong.

    Publishes are confirmed: of 1,200 that were not, RabbitMQ 3.10 lost 2 when they were followed
    by a close.
    """
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        yield connection.default_channel


def publish(
    channel: Channel,
    body: bytes,
    application_headers: Mapping[str, Any],
    content_type: str = "application/json",
    content_encoding: str = "utf-8",
) -> None:
    """Put a message on the worker's queue."""
    message = Message(
        body,
        application_headers=dict(application_headers),
        content_type=content_type,
        content_encoding=content_encoding,
        delivery_mode=PERSISTENT,
        correlation_id=str(application_headers.get("id", "")),
    )
    channel.basic_publish(message, exchange="sms", routing_key=QUEUE)


Bad = Callable[[Channel, Bench, int], None]


def body_only(body: bytes, **options: str) -> Bad:
    """A message with the headers of our task and this body."""
    return lambda channel, _bench, _run: publish(channel, body, headers(), **options)


def batch_with(**changes: Any) -> Bad:
    """Our task with a batch of the run that is good but for these fields."""

    def put(channel: Channel, bench: Bench, run: int) -> None:
        body = batch_of(bench.ledger.id, run, 0, text=f"{PRIVATE}\n" * (BATCH_SIZE - 1) + PRIVATE)
        publish(channel, task_body({**body, **changes}), headers())

    return put


def headers_with(**changes: Any) -> Bad:
    """A good batch under headers that are not."""

    def put(channel: Channel, bench: Bench, run: int) -> None:
        body = task_body(batch_of(bench.ledger.id, run, 7, profile="slow"))
        publish(channel, body, headers(**changes))

    return put


#: What can never be played: it must reach the dead-letter queue.
BAD_MESSAGES: dict[str, Bad] = {
    "not JSON": body_only(f"{{{PRIVATE}".encode()),
    "JSON 5": body_only(b"5"),
    "JSON null": body_only(b"null"),
    "JSON [1]": body_only(b"[1]"),
    "JSON {}": body_only(b"{}"),
    "JSON string": body_only(json.dumps(PRIVATE).encode()),
    "JSON [[], {}, {}]": body_only(b"[[], {}, {}]"),
    "JSON [5, 5, 5]": body_only(b"[5, 5, 5]"),
    "deep JSON": body_only(b"[" * 100_000),
    "empty body": body_only(b""),
    "not UTF-8": body_only(b'[["\xff\xfe"], {}, {}]'),
    "1 MB of noise": body_only(os.urandom(1_000_000)),
    "pickle": body_only(
        b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00.",
        content_type="application/x-python-serialize",
    ),
    "unknown content type": body_only(task_body({"to": PRIVATE}), content_type="application/nope"),
    "unknown content encoding": body_only(task_body({"to": PRIVATE}), content_encoding="nonsense"),
    "no headers": lambda channel, _bench, _run: publish(channel, task_body({"to": PRIVATE}), {}),
    "no id": headers_with(id=...),
    "no task name": headers_with(task=...),
    "unknown task": headers_with(task=f"no_such_task_{uuid.uuid4().hex}"),
    "task name is a number": headers_with(task=5),
    "unknown compression": headers_with(compression="nope"),
    "compressed": lambda channel, bench, run: publish(
        channel,
        zlib.compress(task_body(batch_of(bench.ledger.id, run, 0))),
        headers(compression="application/x-gzip"),
    ),
    "compressed, and no task": lambda channel, _bench, _run: publish(
        channel, zlib.compress(b"{}"), {"compression": "zlib"}
    ),
    "compressed as an encoding": body_only(
        zlib.compress(task_body({"to": PRIVATE})),
        content_type="application/data",
        content_encoding="zlib",
    ),
    "broken compression": headers_with(compression="application/x-gzip"),
    "eta garbage": headers_with(eta=PRIVATE),
    "eta a number": headers_with(eta=5),
    "expires garbage": headers_with(expires=PRIVATE),
    "timelimit garbage": headers_with(timelimit=PRIVATE),
    "no fields": lambda channel, _bench, _run: publish(channel, task_body({}), headers()),
    "argument 5": lambda channel, _bench, _run: publish(channel, task_body(5), headers()),
    "argument null": lambda channel, _bench, _run: publish(channel, task_body(None), headers()),
    "unknown field": batch_with(more=PRIVATE),
    "field of a wrong type": batch_with(size=str(BATCH_SIZE)),
    "negative range": batch_with(first_index=-1),
    "negative size": batch_with(size=-BATCH_SIZE),
    "negative attempt": batch_with(attempt=-1),
    "huge run": batch_with(run=2**70),
    "huge number": batch_with(number=2**70),
    "size does not fit the columns": batch_with(size=BATCH_SIZE - 1),
    "offsets are noise": batch_with(offsets=PRIVATE),
    "offsets of another size": batch_with(offsets="/////////w=="),
    "unknown run": batch_with(run=9_999),
    "never recorded": batch_with(number=2, first_index=2 * BATCH_SIZE),
    "unknown profile": batch_with(profile="slow"),
    "profile with a dot": batch_with(profile="sms.fast"),
}


@pytest.mark.parametrize("bad", list(BAD_MESSAGES.values()), ids=list(BAD_MESSAGES))
def test_a_bad_message_is_dead_lettered_and_logged_once_without_its_body(
    bench: Bench, bad: Bad
) -> None:
    # Given the worker of all tests here, alive
    assert bench.worker.running, bench.worker.logs()[-2_000:]
    log_before = len(bench.worker.logs())
    before = bench.rabbitmq.queue_depths(bench.url)

    # When a bad message arrives between two good batches
    run = start_run(bench.ledger).id
    with channel_to(bench.url) as channel:
        publish(channel, task_body(batch_of(bench.ledger.id, run, 0)), headers())
        bad(channel, bench, run)
        publish(channel, task_body(batch_of(bench.ledger.id, run, 1)), headers())

    # Then the good ones are counted, and the bad one is in the dead-letter queue
    wait_until(
        lambda: checker.finished(bench.database_url, run) == 2 * BATCH_SIZE or not_alive(bench),
        PATIENCE_SECONDS,
        "both good batches are counted",
    )
    wait_until(
        lambda: bench.rabbitmq.queue_depths(bench.url)[DEAD] == before[DEAD] + 1,
        PATIENCE_SECONDS,
        "the bad message is in the dead-letter queue",
    )
    wait_until(
        lambda: bench.rabbitmq.queue_depths(bench.url)[QUEUE] == before[QUEUE],
        PATIENCE_SECONDS,
        "all three have left the worker's queue",
    )
    assert checker.finished(bench.database_url, run) == 2 * BATCH_SIZE

    # And it is logged once, without what it carried
    assert bench.worker.running
    logged = bench.worker.logs()[log_before:]
    assert len(ERROR_LOG.findall(logged)) == 1, logged
    assert "Unrecoverable" not in logged
    assert PRIVATE not in logged
    assert len(logged) < 10_000


def not_alive(bench: Bench) -> bool:
    """So that a dead worker fails a test at once."""
    assert bench.worker.running, bench.worker.logs()[-2_000:]
    return False


@pytest.mark.parametrize("retries", ["x", -1, 2.5, None, [1]], ids=str)
def test_the_retries_header_does_not_matter(bench: Bench, retries: object) -> None:
    # The attempt is read from the batch, so whatever stands there a good batch is played or, at
    # worst, dead-lettered: it is never lost, and the worker lives.
    dead_before = bench.rabbitmq.queue_depths(bench.url)[DEAD]
    run = start_run(bench.ledger).id
    with channel_to(bench.url) as channel:
        body = task_body(batch_of(bench.ledger.id, run, 0))
        publish(channel, body, headers(retries=retries))
    wait_until(
        lambda: (
            checker.finished(bench.database_url, run) == BATCH_SIZE
            or bench.rabbitmq.queue_depths(bench.url)[DEAD] == dead_before + 1
        ),
        PATIENCE_SECONDS,
        "the batch is played or dead-lettered",
    )
    assert bench.worker.running


def test_a_batch_delivered_again_is_counted_once(bench: Bench) -> None:
    # Given a settled batch
    queued_before = bench.rabbitmq.queue_depths(bench.url)[QUEUE]
    run = start_run(bench.ledger).id
    body = task_body(batch_of(bench.ledger.id, run, 0))
    with channel_to(bench.url) as channel:
        publish(channel, body, headers())
        wait_until(
            lambda: checker.finished(bench.database_url, run) == BATCH_SIZE,
            PATIENCE_SECONDS,
            "the batch is counted",
        )

        # When the same comes five times more, side by side, and then a new one
        for _ in range(5):
            publish(channel, body, headers())
        publish(channel, task_body(batch_of(bench.ledger.id, run, 1)), headers())

    # Then nothing is counted twice
    wait_until(
        lambda: (
            checker.finished(bench.database_url, run) >= 2 * BATCH_SIZE
            and bench.rabbitmq.queue_depths(bench.url)[QUEUE] == queued_before
        ),
        PATIENCE_SECONDS,
        "the new batch is counted and all have left the queue",
    )
    assert checker.finished(bench.database_url, run) == 2 * BATCH_SIZE
    assert len(checker.rows(bench.database_url, "settlements", run)) == 2

    # And nothing was sent twice: the ledger had the answer. It is told so with the next heartbeat.
    wait_until(
        lambda: checker.rows(bench.database_url, "absorbed", run),
        PATIENCE_SECONDS,
        "the ledger shows what came again",
    )
    absorbed = checker.rows(bench.database_url, "absorbed", run)
    assert {row["kind"] for row in absorbed} == {"answered"}


def test_a_batch_played_by_two_workers_at_once_is_counted_once(
    rabbitmq: RabbitMQNode,
    broker_url: str,
    database_url: str,
    tmp_path: Path,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given two workers that need about a second for a batch, and fail half of it
    slow = ["--mean-time", "0.5", "--failure-rate", "0.5"]
    workers = [
        start_worker(
            "fast", environment(broker_url, database_url, tmp_path), arguments=slow, wait=False
        )
        for _ in range(2)
    ]
    for worker in workers:
        worker.ready()
    ledger = Ledger.open(database_url)
    run = start_run(ledger).id

    # When both get the same batches, as after a lost connection
    bodies = [task_body(batch_of(ledger.id, run, number)) for number in range(2)]
    with channel_to(broker_url) as channel:
        for body in [*bodies, bodies[0], *bodies]:
            publish(channel, body, headers())

    # Then both play, and all that they retry after it; and each message has one end
    wait_until(
        lambda: (
            sum(rabbitmq.queue_depths(broker_url).values()) == 0
            and checker.finished(database_url, run) >= 2 * BATCH_SIZE
        ),
        PATIENCE_SECONDS * 2,
        "all is done",
    )
    assert checker.finished(database_url, run) == 2 * BATCH_SIZE
    assert {row["kind"] for row in checker.rows(database_url, "absorbed", run)} >= {"repeated"}
    settlements = checker.rows(database_url, "settlements", run)
    assert sum(row["delivered"] + row["failed"] for row in settlements) == 2 * BATCH_SIZE
    assert len(checker.rows(database_url, "failures", run)) == sum(
        row["failed"] for row in settlements
    )


def test_messages_returned_by_someone_else_are_played(
    rabbitmq: RabbitMQNode,
    broker_url: str,
    database_url: str,
    tmp_path: Path,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given a good and a bad message that another consumer took and gave back: `redelivered`
    ledger = Ledger.open(database_url)
    run = start_run(ledger).id
    declare(broker_url)
    with channel_to(broker_url) as channel:
        publish(channel, task_body(batch_of(ledger.id, run, 0)), headers())
        publish(channel, b"5", headers())
        assert [channel.basic_get(QUEUE).body for _ in range(2)][1] in (b"5", "5")
    wait_until(
        lambda: rabbitmq.queue_depths(broker_url)[QUEUE] == 2, PATIENCE_SECONDS, "both are back"
    )

    # When a worker comes, then it treats them like any other
    worker = start_worker("fast", environment(broker_url, database_url, tmp_path))
    wait_until(
        lambda: checker.finished(database_url, run) == BATCH_SIZE, PATIENCE_SECONDS, "it is played"
    )
    wait_until(lambda: rabbitmq.queue_depths(broker_url)[DEAD] == 1, PATIENCE_SECONDS, "5 is dead")
    assert worker.running


def declare(url: str) -> None:
    """The queues, as a producer declares them."""
    with Connection(url) as connection:
        for queue in (
            topology.dead_letter_queue("quorum"),
            *topology.profile_queues(["fast"], "quorum"),
        ):
            queue(connection.default_channel).declare()


def test_a_worker_that_has_only_seen_another_ledgers_batches_ends(
    rabbitmq: RabbitMQNode,
    broker_url: str,
    database_url: str,
    tmp_path: Path,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given a queue with a batch of another ledger
    declare(broker_url)
    with channel_to(broker_url) as channel:
        publish(channel, task_body(batch_of("other", 1, 0)), headers())

    # When a worker starts, then it ends, says why once, and leaves the batch in the queue
    variables = environment(broker_url, database_url, tmp_path)
    worker = start_worker("fast", variables, wait=False)
    assert worker.wait() == EXIT_USAGE
    said = re.findall("CRITICAL.*another ledger.*SMS_DATABASE_URL", worker.logs())
    assert len(said) == 1, worker.logs()
    depths = rabbitmq.queue_depths(broker_url)
    assert (depths[QUEUE], depths[DEAD]) == (1, 0)

    # And after a few others one puts it aside, and goes on. (One that ends may get it twice.)
    for _ in range(MOST_RETURNS):
        worker = start_worker("fast", variables, wait=False)
        wait_until(
            lambda now=worker: "put aside" in now.logs() or not now.running,
            PATIENCE_SECONDS,
            "it has judged the batch",
        )
        if worker.running:
            break
    wait_until(lambda: rabbitmq.queue_depths(broker_url)[DEAD] == 1, PATIENCE_SECONDS, "aside")
    assert worker.running


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_a_leftover_batch_does_not_stop_a_worker_that_is_at_home(
    rabbitmq: RabbitMQNode,
    broker_url: str,
    database_url: str,
    tmp_path: Path,
    start_worker: Callable[..., WorkerProcess],
    queue_type: str,
) -> None:
    # Given a worker that has played a batch of its own
    variables = environment(broker_url, database_url, tmp_path) | {"SMS_QUEUE_TYPE": queue_type}
    worker = start_worker("fast", variables)
    ledger = Ledger.open(database_url)
    run = start_run(ledger).id
    with channel_to(broker_url) as channel:
        publish(channel, task_body(batch_of(ledger.id, run, 0)), headers())
        wait_until(
            lambda: checker.finished(database_url, run) == BATCH_SIZE, PATIENCE_SECONDS, "played"
        )

        # When a batch of another ledger arrives, and another one of its own
        publish(channel, task_body(batch_of("other", run, 0)), headers())
        publish(channel, task_body(batch_of(ledger.id, run, 1)), headers())

    # Then its own is played, and the other is put aside after a few returns
    wait_until(
        lambda: checker.finished(database_url, run) == 2 * BATCH_SIZE, PATIENCE_SECONDS, "played"
    )
    wait_until(lambda: rabbitmq.queue_depths(broker_url)[DEAD] == 1, PATIENCE_SECONDS, "aside")
    assert rabbitmq.queue_depths(broker_url)[QUEUE] == 0
    assert worker.running
    assert worker.logs().count("put aside") == 1


STRANDING: dict[str, dict[str, Any]] = {
    "add_consumer": {"queue": "sms.slow"},
    "autoscale": {"max": 1, "min": 1},
    "cancel_consumer": {"queue": QUEUE},
    "pool_restart": {},
    "pool_shrink": {"n": 10},
    "rate_limit": {"task_name": TASK_NAME, "rate_limit": "1/h"},
    "time_limit": {"task_name": TASK_NAME, "hard": 1, "soft": 1},
}


def test_remote_control_neither_loses_nor_strands_a_batch(
    broker_url: str,
    database_url: str,
    tmp_path: Path,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given a worker, and someone who asks it for all that would keep it from its batches
    worker = start_worker("fast", environment(broker_url, database_url, tmp_path))
    ledger = Ledger.open(database_url)
    run = start_run(ledger).id
    task_id = str(uuid.uuid4())
    with Celery(broker=broker_url, set_as_current=False) as app:
        ask = app.control.broadcast
        answers = {
            name: ask(name, arguments=arguments, reply=True, timeout=5, limit=1)
            for name, arguments in STRANDING.items()
        }
        answers["revoke"] = app.control.revoke(task_id, reply=True, timeout=5, limit=1)
        assert app.control.ping(timeout=5, limit=1)

    # When batches arrive, one of them revoked and one whose time is up
    with channel_to(broker_url) as channel:
        publish(channel, task_body(batch_of(ledger.id, run, 0)), headers(id=task_id))
        publish(channel, task_body(batch_of(ledger.id, run, 1)), headers(expires=LONG_AGO))

    # Then all was refused, and both are played
    for name, (answer,) in answers.items():
        assert "refused" in next(iter(answer.values()))["error"], name
    wait_until(
        lambda: checker.finished(database_url, run) == 2 * BATCH_SIZE, PATIENCE_SECONDS, "played"
    )
    assert worker.running


def test_a_goodbye_of_the_broker_that_celery_swallows_is_noticed(
    broker_url: str,
    database_url: str,
    tmp_path: Path,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    # Given a worker whose connection ends just when it is ready
    variables = environment(broker_url, database_url, tmp_path) | {"PYTHONPATH": str(ROOT)}
    worker = start_worker("fast", variables, app="tests.functional.cut_app")

    # When a batch arrives
    ledger = Ledger.open(database_url)
    run = start_run(ledger).id
    with channel_to(broker_url) as channel:
        publish(channel, task_body(batch_of(ledger.id, run, 0)), headers())

    # Then it has connected again, and plays it
    wait_until(
        lambda: checker.finished(database_url, run) == BATCH_SIZE, PATIENCE_SECONDS, "it is played"
    )
    assert "closed unnoticed" in worker.logs()
