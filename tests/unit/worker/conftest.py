"""Fixtures of the worker's tests: what a worker changes of its process is put back."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from celery import Celery
from celery.worker import state

from sms_pipeline.config.settings import EMBEDDED_BROKER_URL
from sms_pipeline.core.batch import TASK_NAME
from sms_pipeline.worker import pipeline, task
from sms_pipeline.worker.startup import use_queues
from tests.unit.worker.fakes import Exited


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which the process would have ended; `Exited` is raised instead."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Exited

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return codes


@pytest.fixture
def app() -> Celery:
    """An app with our settings and our task, the queue of `fast`, and the broker inside."""
    made = Celery("test", set_as_current=False)
    made.config_from_object("sms_pipeline.celeryconfig")
    made.conf.broker_url = EMBEDDED_BROKER_URL
    use_queues(made, ["fast"], "quorum")
    assert task.send_sms.name == TASK_NAME in made.tasks
    return made


@pytest.fixture
def _no_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed yet, and what the test installs is gone afterwards."""
    monkeypatch.setattr(pipeline, "_installed", [])


@pytest.fixture
def _running(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No worker of this process was told to stop; afterwards Celery's state is as it was."""
    monkeypatch.setattr(state, "should_stop", None)
    yield
    for requests in (state.reserved_requests, state.active_requests, state.scheduled_requests):
        requests.clear()
