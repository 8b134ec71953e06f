"""A Celery worker in a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery.worker import state

from sms_pipeline.worker.background import STOP_SECONDS, Consumption
from tests.services.waiting import wait_until

PATIENCE_SECONDS = 30

pytestmark = pytest.mark.usefixtures("_running")


class Controller:
    """Celery's worker: consumes until it is told to stop, or ends by itself."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.ends_by_itself = threading.Event()
        self.ended_with: object = None

    def start(self) -> None:
        wait_until(
            lambda: state.should_stop is not None or self.ends_by_itself.is_set(),
            PATIENCE_SECONDS,
            "it is told to stop",
        )
        self.ended_with = state.should_stop


class App:
    """As much of Celery's app as a worker needs."""

    def __init__(self) -> None:
        self.is_default = False
        self.controllers: list[Controller] = []

    def set_default(self) -> None:
        self.is_default = True

    def WorkController(self, **options: Any) -> Controller:  # noqa: N802 - Celery's name
        self.controllers.append(Controller(**options))
        return self.controllers[-1]


@pytest.fixture
def app() -> Iterator[App]:
    made = App()
    yield made
    for controller in made.controllers:
        controller.ends_by_itself.set()


def consumption(app: App, ended: threading.Event | None = None) -> Consumption:
    return Consumption(app, 51, "run@here", ended or threading.Event())


def test_worker_is_made_for_one_process_and_its_threads(app: App) -> None:
    thread = consumption(app)
    (controller,) = app.controllers
    # It has nobody to talk to, and Flower knows it by its name.
    assert controller.options == {
        "hostname": "run@here",
        "pool_cls": "threads",
        "concurrency": 51,
        "without_mingle": True,
        "without_gossip": True,
    }
    assert app.is_default
    assert (thread.name, thread.daemon) == ("consumer", True)


def test_worker_consumes_until_it_is_stopped(app: App) -> None:
    ended = threading.Event()
    thread = consumption(app, ended)
    thread.start()
    assert not ended.is_set()
    thread.stop()
    assert not thread.is_alive()
    # Celery takes 0 for a stop, and None and False for none.
    assert app.controllers[0].ended_with == 0
    assert app.controllers[0].ended_with is not False
    assert ended.is_set()


def test_worker_that_ends_by_itself_is_noticed(app: App) -> None:
    ended = threading.Event()
    thread = consumption(app, ended)
    thread.start()
    app.controllers[0].ends_by_itself.set()
    assert ended.wait(PATIENCE_SECONDS)
    thread.join(PATIENCE_SECONDS)


def test_worker_that_falls_over_is_noticed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(_: Controller) -> None:
        raise RuntimeError("over")

    monkeypatch.setattr(Controller, "start", fall)
    ended = threading.Event()
    with pytest.raises(RuntimeError, match="over"):
        consumption(app, ended).run()
    assert ended.is_set()


def test_second_worker_of_a_process_is_not_stopped_by_what_stopped_the_first(app: App) -> None:
    first = consumption(app)
    first.start()
    first.stop()
    second = consumption(app)
    assert state.should_stop is None
    second.start()
    assert second.is_alive()
    second.stop()


def test_stop_does_not_wait_for_ever_for_a_worker_that_hangs(app: App) -> None:
    waited: list[float | None] = []

    class Hanging(Consumption):
        def join(self, timeout: float | None = None) -> None:
            waited.append(timeout)

    Hanging(app, 1, "run@here", threading.Event()).stop()
    assert waited == [STOP_SECONDS]
