"""How a worker process ends: batches in hand are finished, and nothing can hold it for ever."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery.worker import state

from sms_pipeline.core.errors import EXIT_FAILURE, EXIT_OK
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker import shutdown
from sms_pipeline.worker.shutdown import DRAIN_SECONDS, HARD_STOP_SECONDS, Shutdown
from tests.unit.worker.fakes import Exited

PATIENCE_SECONDS = 30

pytestmark = pytest.mark.usefixtures("_running")


class Request:
    """A batch in hand."""

    id = "1"


class Story:
    """A consumer, a worker and a clock that note, in order, what is asked of them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.stopping = threading.Event()
        #: What happens while the shutdown sleeps.
        self.meanwhile: Callable[[], None] = lambda: None
        #: Whether the event loop still does what is given to it.
        self.loops = True
        self.task_consumer: Story | None = self
        #: What the shutdown runs in.
        self.threads: set[threading.Thread] = set()
        self.clock = Sleeper(self)
        self.shutdown = Shutdown(self, self, self.clock)  # type: ignore[arg-type]

    def cancel(self) -> None:
        self.events.append("takes no more")

    def call_soon(self, call: Callable[[], None]) -> None:
        self.threads.add(threading.current_thread())
        self.events.append(f"event loop, {self.code}")
        if self.loops:
            call()

    def abandon(self) -> None:
        self.events.append("abandons")

    @property
    def code(self) -> str:
        return "goes on" if state.should_stop is None else f"ends with {state.should_stop}"

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Deliver a signal, and let the shutdown do what it does."""
        self.shutdown._on_signal(number, None)
        join_shutdown()


def join_shutdown() -> None:
    for thread in threading.enumerate():
        if thread.name == "shutdown":
            thread.join(PATIENCE_SECONDS)


class Sleeper(ManualClock):
    """Lets the story go on while somebody sleeps."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self._story = story

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._story.meanwhile()


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    # An event loop that hangs is waited for in real time
    monkeypatch.setattr(shutdown, "_BARRIER_SECONDS", 0.01)
    return Story()


@pytest.fixture
def in_hand() -> Iterator[Request]:
    request = Request()
    state.reserved_requests.add(request)
    yield request
    state.reserved_requests.discard(request)


@pytest.fixture
def _signals_kept() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_kept")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_ends_a_worker(story: Story, number: int) -> None:
    story.shutdown.install()
    signal.raise_signal(number)
    join_shutdown()
    assert state.should_stop == EXIT_OK
    # In a thread, for a handler of signals must not wait; it cannot keep the process alive
    assert [(thread.name, thread.daemon) for thread in story.threads] == [("shutdown", True)]


def test_idle_worker_ends_at_once(story: Story) -> None:
    story.meanwhile = lambda: story.events.append("a moment")
    story.signal()
    assert story.events == [
        "event loop, goes on",
        "takes no more",
        "abandons",
        # In which those that wait for a batch give it back
        "a moment",
        # Acknowledgements that were given before this are sent now
        "event loop, goes on",
    ]
    assert state.should_stop == EXIT_OK
    assert story.stopping.is_set()
    assert sum(story.clock.slept) < 1


def test_batches_in_hand_are_finished_first(story: Story, in_hand: Request) -> None:
    # Given a batch that ends after three seconds
    def finish() -> None:
        if story.clock.monotonic() >= 3 and in_hand in state.reserved_requests:
            story.events.append("batch ends")
            state.reserved_requests.discard(in_hand)

    story.meanwhile = finish
    story.signal()
    assert story.events == [
        "event loop, goes on",
        "takes no more",
        "batch ends",
        "abandons",
        "event loop, goes on",
    ]
    assert story.stopping.is_set()
    assert state.should_stop == EXIT_OK
    assert 3 <= sum(story.clock.slept) < 4


def test_batches_that_do_not_end_go_back_to_the_broker(
    story: Story, in_hand: Request, caplog: pytest.LogCaptureFixture
) -> None:
    story.signal()
    assert DRAIN_SECONDS <= story.clock.monotonic() < DRAIN_SECONDS + 1
    assert story.events[-2:] == ["abandons", "event loop, goes on"]
    assert state.should_stop == EXIT_OK
    assert "1 batch goes back to the broker" in caplog.text


def test_batches_have_as_long_as_the_user_says(
    story: Story, in_hand: Request, caplog: pytest.LogCaptureFixture
) -> None:
    story.shutdown = Shutdown(story, story, story.clock, drain=90.0)  # type: ignore[arg-type]
    story.signal()
    assert 90 <= story.clock.monotonic() < 91
    assert "for at most 90 s" in caplog.text


def test_worker_that_has_not_begun_to_consume_ends_too(story: Story) -> None:
    story.task_consumer = None
    story.signal()
    assert "takes no more" not in story.events
    assert state.should_stop == EXIT_OK


def test_event_loop_that_hangs_holds_nothing_up(story: Story) -> None:
    story.loops = False
    story.signal()
    assert state.should_stop == EXIT_OK


def test_acknowledgements_are_sent_before_the_event_loop_ends(story: Story) -> None:
    # Given an event loop that does what it is given when it comes to it
    given: list[Callable[[], None]] = []
    story.call_soon = given.append  # type: ignore[method-assign,assignment]
    order: list[Any] = []

    class Barrier(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            order.append(("waits", state.should_stop, timeout))
            for call in given:
                call()
            return super().wait(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "Event", Barrier)
        story.shutdown._leave()
    # Then it is waited for, and ended afterwards
    assert order == [("waits", None, shutdown._BARRIER_SECONDS)]
    assert [call.__self__.is_set() for call in given] == [True]  # type: ignore[attr-defined]
    assert state.should_stop == EXIT_OK


def test_second_signal_ends_the_process_whatever_hangs(
    story: Story, in_hand: Request, exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a batch that does not end, and a second signal while it is waited for
    def again() -> None:
        story.meanwhile = lambda: None
        began = story.clock.monotonic()
        with pytest.raises(Exited):
            story.shutdown._leave_at_once()
        spans.append(story.clock.monotonic() - began)

    spans: list[float] = []
    story.meanwhile = again
    story.signal()
    # Then batches are given up at once, Celery has its time to end, and then the process ends
    assert story.events[2:4] == ["abandons", "event loop, goes on"]
    assert exits == [EXIT_FAILURE]
    assert spans == [pytest.approx(HARD_STOP_SECONDS, abs=1)]
    assert spans[0] >= HARD_STOP_SECONDS


@pytest.mark.parametrize(("signals", "leaves"), [(1, 0), (2, 1), (3, 2)])
def test_only_the_first_signal_finishes_what_is_in_hand(
    story: Story, monkeypatch: pytest.MonkeyPatch, signals: int, leaves: int
) -> None:
    done: list[str] = []
    monkeypatch.setattr(story.shutdown, "_finish", lambda: done.append("finish"))
    monkeypatch.setattr(story.shutdown, "_leave_at_once", lambda: done.append("leave"))
    for _ in range(signals):
        story.signal()
    assert done == ["finish"] + ["leave"] * leaves
