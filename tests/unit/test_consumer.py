"""What the worker's consumer changes of Celery's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery.worker import state

from sms_pipeline import consumer

THREADS = 4
ROUNDS = 200
#: A retry has the id of its task, so the same ids succeed again and again.
IDS = 100


class _Request:
    def __init__(self, number: int) -> None:
        self.id = str(number)


@pytest.fixture
def _restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_restless")
def test_threads_that_end_tasks_at_once_do_not_disturb_one_another() -> None:
    # Else the acknowledgement, which comes next, would not be sent.
    assert consumer.GuardedConsumer

    def end_tasks(thread: int) -> None:
        requests = [_Request(thread * IDS + number) for number in range(IDS)]
        for _ in range(ROUNDS):
            for request in requests:
                state.task_ready(request, successful=True)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(end_tasks, range(THREADS)))
