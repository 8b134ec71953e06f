"""What the worker's consumer changes of Celery's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from celery.worker import state

from sms_pipeline.worker import consumer

THREADS = 4
ROUNDS = 200
#: A retry has the id of its task, so the same ids succeed again and again.
IDS = 100


class _Request:
    name = "send_sms"

    def __init__(self, number: int) -> None:
        self.id = str(number)


def _closing() -> consumer.GuardedConsumer:
    """A consumer with nothing but what it looks at when its connection closes."""
    closing = consumer.GuardedConsumer.__new__(consumer.GuardedConsumer)
    closing.controller = closing.pool = SimpleNamespace(semaphore=None, flush=None)
    closing.task_buckets = {}
    closing.timer = None
    return closing


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


@pytest.mark.usefixtures("_restless")
def test_a_connection_can_close_while_threads_take_and_end_tasks() -> None:
    # Else the error ends the worker.
    closing = _closing()
    stopping = threading.Event()

    def work(thread: int) -> None:
        while not stopping.is_set():
            requests = [_Request(thread * IDS + number) for number in range(IDS)]
            for request in requests:
                state.task_reserved(request)
                state.task_accepted(request)
            for request in requests:
                state.task_ready(request)

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            working = [pool.submit(work, thread) for thread in range(THREADS)]
            for _ in range(ROUNDS):
                closing.on_close()
        finally:
            stopping.set()
    assert [thread.exception() for thread in working] == [None] * THREADS


@pytest.mark.parametrize("name", ["reserved_requests", "active_requests", "scheduled_requests"])
def test_a_shared_set_holds_what_lives_and_nothing_else(name: str) -> None:
    shared = getattr(state, name)
    kept, gone = _Request(1), _Request(2)
    shared.add(kept)
    shared.add(gone)
    del gone
    assert list(shared) == [kept]
    shared.discard(kept)
    assert not list(shared)


@pytest.mark.parametrize("name", ["reserved_requests", "active_requests", "scheduled_requests"])
def test_a_shared_set_can_be_read_while_it_changes(name: str) -> None:
    shared = getattr(state, name)
    requests = [_Request(number) for number in range(IDS)]
    shared.update(requests)
    read = []
    for request in shared:
        read.append(request)
        shared.discard(request)
    assert len(read) == IDS
