"""What the tasks of a process work with: installed by a worker, or made at first use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.settings import EMBEDDED_BROKER_URL
from sms_pipeline.core.batch import TASK_NAME
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import pipeline
from sms_pipeline.worker.pipeline import Pipeline
from sms_pipeline.worker.process import Worker
from tests.unit import make

pytestmark = pytest.mark.usefixtures("_no_pipeline")


@pytest.fixture
def configured(clean: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Variables that name a ledger, a broker and a file with two profiles."""
    file = clean / "small.yaml"
    file.write_text(
        "senders:\n"
        "  - {name: fast, count: 3, mean_time: 0, failure_rate: 0}\n"
        "  - {name: other, mean_time: 0, failure_rate: 0}\n"
    )
    monkeypatch.setenv("SMS_DATABASE_URL", ledger_url)
    monkeypatch.setenv("SMS_CONFIG", str(file))
    monkeypatch.setenv("SMS_QUEUE_TYPE", "classic")
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://user:secret@host:1//")
    yield file
    pipeline.stop()


def test_what_is_installed_is_used_and_the_last_counts(ledger: Ledger) -> None:
    publisher = Publisher(EMBEDDED_BROKER_URL, "quorum")
    parts = [Pipeline(Worker(ledger, []), publisher) for _ in range(2)]
    for one in parts:
        pipeline.install(one)
    assert pipeline.pipeline() is parts[1]
    assert pipeline.pipeline() is parts[1]


def test_what_was_installed_before_can_be_put_back(ledger: Ledger) -> None:
    assert pipeline.installed() is None
    publisher = Publisher(EMBEDDED_BROKER_URL, "quorum")
    first, second = (Pipeline(Worker(ledger, []), publisher) for _ in range(2))
    pipeline.install(first)
    before = pipeline.installed()
    pipeline.install(second)
    assert pipeline.installed() is second
    pipeline.restore(before)
    assert pipeline.installed() is pipeline.pipeline() is first
    pipeline.restore(None)
    assert pipeline.installed() is None
    # There is nothing to stop
    pipeline.stop()


def test_without_a_worker_it_is_made_once_with_every_profile(
    configured: Path, ledger: Ledger
) -> None:
    parts = pipeline.pipeline()
    assert pipeline.pipeline() is parts
    assert [(row.id, row.profile, row.senders) for row in ledger.workers()] == [
        (parts.worker.id, "fast", 3),
        (parts.worker.id, "other", 1),
    ]
    assert parts.publisher._queue_type == "classic"
    assert (
        parts.publisher._connection.as_uri(include_password=True) == "amqp://user:secret@host:1//"
    )


def test_eager_task_needs_no_worker(configured: Path, ledger: Ledger, app: Celery) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    batch = make.batch(10, ledger=ledger.id, run=run.id, queued_at=time.time())
    app.tasks[TASK_NAME].apply(args=(batch.to_wire(),))
    assert ledger.snapshot(run).counts.delivered == 10


def test_settings_that_are_wrong_are_told(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMS_CONFIG", str(configured.with_name("none.yaml")))
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        pipeline.pipeline()


def test_stop_signs_the_worker_off_if_there_is_one(configured: Path, ledger: Ledger) -> None:
    pipeline.stop()
    pipeline.pipeline()
    assert ledger.workers()
    pipeline.stop()
    assert ledger.workers() == ()
