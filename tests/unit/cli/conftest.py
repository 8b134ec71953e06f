"""Fixtures of the tests of commands."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from sms_pipeline.celery import app
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import pipeline
from tests.unit import make


@pytest.fixture(autouse=True)
def alone(clean: Path) -> None:
    """Commands find no variable of ours, and nothing in the current folder."""


@pytest.fixture
def ledger(clean: Path) -> Ledger:
    """The ledger that commands find by default."""
    return Ledger.open("sqlite:///sms_pipeline.db")


@pytest.fixture
def ended(ledger: Ledger) -> None:
    """Two runs that are done."""
    for _ in range(2):
        run = ledger.start_run(make.simulation(num_messages=10), seed=1)
        ledger.record_batches(run.id, [make.row(run.id)])
        ledger.settle([make.settlement(run.id, delivery_times={80: 10})])


@pytest.fixture
def process_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a rehearsal changes of its process is put back."""
    monkeypatch.setattr(pipeline, "_installed", [])
    queues = app.conf.task_queues
    celery = logging.getLogger("celery")
    level = celery.level
    yield
    celery.setLevel(level)
    app.conf.task_queues = queues
    if queues is not None:
        app.amqp.queues = queues
