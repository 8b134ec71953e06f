"""A worker of which a vital part hangs ends and says which; one that waits for others does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sms_pipeline.core.errors import EXIT_FAILURE
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.signs import Part
from tests.functional import checker
from tests.functional.test_bad_messages import (
    BATCH_SIZE,
    batch_of,
    channel_to,
    environment,
    headers,
    publish,
    start_run,
    task_body,
)
from tests.services.postgres import PostgresNode
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
#: Far longer than the parts of these workers may be silent.
OUTAGE_SECONDS = 8.0

StartWorker = Callable[..., WorkerProcess]


def worker_with(start_worker: StartWorker, *where: object, deaf: str = "") -> WorkerProcess:
    broker_url, database_url, folder = where
    variables = environment(str(broker_url), str(database_url), Path(str(folder)))
    variables |= {"PYTHONPATH": str(ROOT), "DEAF": deaf}
    return start_worker("fast", variables, app="tests.functional.deaf_app")


@contextmanager
def what_it_said(worker: WorkerProcess) -> Iterator[None]:
    """A failure is told with what a worker said: nothing else shows what it was doing."""
    try:
        yield
    except AssertionError as error:
        error.add_note(worker.logs())
        raise


@pytest.mark.parametrize("part", list(Part))
def test_a_worker_with_a_part_that_hangs_ends_and_its_batch_is_played_by_another(
    broker_url: str, database_url: str, tmp_path: Path, start_worker: StartWorker, part: Part
) -> None:
    # Given a worker with a batch, when one of its parts hangs
    worker = worker_with(start_worker, broker_url, database_url, tmp_path, deaf=part)
    (tmp_path / "stop").touch()
    ledger = Ledger.open(database_url)
    run = start_run(ledger).id
    with channel_to(broker_url) as channel:
        publish(channel, task_body(batch_of(ledger.id, run, 0)), headers())

    # Then it ends, and says which and where
    assert worker.wait(PATIENCE_SECONDS) == EXIT_FAILURE
    said = f"the {part} has not come round for 3 s (in sleep_for_ever, deaf_app.py:"
    assert worker.logs().count(said) == 1, worker.logs()

    # And another one plays the batch
    worker_with(start_worker, broker_url, database_url, tmp_path)
    wait_until(
        lambda: checker.finished(database_url, run) == BATCH_SIZE, PATIENCE_SECONDS, "it is played"
    )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_worker_that_was_stopped_or_waits_for_others_goes_on(
    rabbitmq: RabbitMQNode,
    broker_url: str,
    postgres: PostgresNode,
    database_url: str,
    tmp_path: Path,
    start_worker: StartWorker,
) -> None:
    # Given a worker that ends when a part of it hangs for 3 s
    worker = worker_with(start_worker, broker_url, database_url, tmp_path)
    ledger = Ledger.open(database_url)
    run = start_run(ledger).id

    # When it is stopped for longer, and then the broker, and then the database
    for pause, resume in (
        (worker.pause, worker.resume),
        (rabbitmq.pause, rabbitmq.resume),
        (postgres.pause, postgres.resume),
    ):
        pause()
        time.sleep(OUTAGE_SECONDS)
        resume()

    # Then it is still there, and plays what comes
    with channel_to(broker_url) as channel:
        publish(channel, task_body(batch_of(ledger.id, run, 0)), headers())
    with what_it_said(worker):
        wait_until(
            lambda: not worker.running or checker.finished(database_url, run) == BATCH_SIZE,
            PATIENCE_SECONDS,
            "it is played",
        )
        assert worker.running
        assert "has not come round" not in worker.logs()
