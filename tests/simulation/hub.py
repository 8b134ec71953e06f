"""Processes and their threads on virtual time.

What runs is the pipeline's own code, written for threads that wait. Here a thread is a greenlet:
when it would wait, others go on, and the clock jumps. One runs at a time, in an order that follows
from the seed alone.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from typing import Any

import greenlet

from sms_pipeline.core.clock import Timeline
from sms_pipeline.forecast.agenda import Agenda


class Died(BaseException):
    """This thread's process is gone: nothing of it happens any more."""


class Hub:
    """The agenda, and who waits on it."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.greenlet = greenlet.getcurrent()
        #: What no thread should end with: (process, error).
        self.crashes: list[tuple[str, BaseException]] = []
        self.strands: set[Strand] = set()

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.agenda.monotonic()

    def close(self) -> None:
        """End what still waits, so that nothing of a run outlives it."""
        for strand in sorted(self.strands, key=lambda one: one.name):
            strand.process.alive = False
            strand.reap()


class Process:
    """Something that can be killed as a whole; its clock was read when it started."""

    def __init__(self, hub: Hub, name: str, host: str = "", wall_offset: float = 0.0) -> None:
        """
        Args:
            hub: the time.
            name: tells it from others.
            host: whose steady clock it has.
            wall_offset: by how much that host's wall clock was off when it started, seconds.
        """
        self.hub = hub
        self.name = name
        self.alive = True
        self.clock = ProcessClock(hub, host, wall_offset)
        self._strands: list[Strand] = []

    def start(self, work: Callable[[], object]) -> Strand:
        """Begin a thread."""
        strand = Strand(self, work, f"{self.name}/{len(self._strands)}")
        self._strands.append(strand)
        self.hub.strands.add(strand)
        self.hub.agenda.after(0.0, strand.wake_first)
        return strand

    @property
    def busy(self) -> bool:
        """Whether a thread of it has not ended."""
        return self.alive and any(not strand.dead for strand in self._strands)

    def kill(self) -> None:
        """SIGKILL, from outside."""
        self.alive = False
        for strand in self._strands:
            self.hub.agenda.after(0.0, strand.reap)

    def die(self) -> None:
        """The same, from one of its own threads."""
        self.kill()
        raise Died


class Strand(greenlet.greenlet):
    """A thread of a process."""

    def __init__(self, process: Process, work: Callable[[], object], name: str) -> None:
        super().__init__(self._guarded, process.hub.greenlet)
        self.process = process
        self.name = name
        self._work = work
        self._waits = 0
        #: What its task may want to know of the message in hand.
        self.request: Any = None

    def _guarded(self, *_: object) -> None:
        try:
            self._work()
        except Died:
            pass
        except Exception as error:
            self.process.hub.crashes.append((self.process.name, error))
        finally:
            self.process.hub.strands.discard(self)

    def wake_first(self) -> None:
        if self.process.alive:
            self.switch()

    def reap(self) -> None:
        # One that has not begun has nothing to end.
        if self:
            self.throw(Died())

    def waiting(self) -> Callable[[], None]:
        """What wakes it from its next pause, and from no other."""
        self._waits += 1
        number = self._waits

        def wake() -> None:
            if self._waits == number and not self.dead and self.process.alive:
                self.switch()

        return wake

    def pause(self) -> None:
        """Let others go on until it is woken."""
        self.process.hub.greenlet.switch()
        self._waits += 1
        if not self.process.alive:
            raise Died


def current() -> Strand:
    """The thread that runs."""
    strand = greenlet.getcurrent()
    assert isinstance(strand, Strand)
    return strand


def sleep(seconds: float) -> None:
    """Let others go on for so long."""
    strand = current()
    strand.process.hub.agenda.after(seconds, strand.waiting())
    strand.pause()


class Future:
    """As `concurrent.futures.Future`, for these threads."""

    def __init__(self) -> None:
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._wakes: list[tuple[Hub, Callable[[], None]]] = []

    def set_result(self, value: Any) -> None:
        self._value = value
        self._finish()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._finish()

    def result(self) -> Any:
        if not self._done:
            strand = current()
            self._wakes.append((strand.process.hub, strand.waiting()))
            strand.pause()
        if self._error is not None:
            raise self._error
        return self._value

    def _finish(self) -> None:
        self._done = True
        for hub, wake in self._wakes:
            hub.agenda.after(0.0, wake)


class Flag:
    """As `threading.Event`. A wait may take longer than asked for: the machine is busy."""

    def __init__(self, stretch: Callable[[float], float] = lambda seconds: seconds) -> None:
        self._set = False
        self._stretch = stretch
        self._wakes: list[tuple[Hub, Callable[[], None]]] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for hub, wake in self._wakes:
            hub.agenda.after(0.0, wake)
        self._wakes.clear()

    def wait(self, timeout: float | None = None) -> bool:
        if self._set:
            return True
        strand = current()
        wake = strand.waiting()
        if timeout is not None:
            strand.process.hub.agenda.after(self._stretch(timeout), wake)
        self._wakes.append((strand.process.hub, wake))
        strand.pause()
        return self._set


class Inbox:
    """As `queue.SimpleQueue`, for one reader."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._wakes: list[tuple[Hub, Callable[[], None]]] = []

    def put(self, item: Any) -> None:
        self._items.append(item)
        for hub, wake in self._wakes:
            hub.agenda.after(0.0, wake)
        self._wakes.clear()

    def get_nowait(self) -> Any:
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    def get(self, timeout: float) -> Any:
        if not self._items:
            strand = current()
            wake = strand.waiting()
            strand.process.hub.agenda.after(timeout, wake)
            self._wakes.append((strand.process.hub, wake))
            strand.pause()
        return self.get_nowait()


class ProcessClock:
    """What one process takes for the time; see `config.clock.MachineClock`."""

    def __init__(self, hub: Hub, host: str, offset: float) -> None:
        self._hub = hub
        self.host = host
        #: By how much its wall clock is ahead of the true time, seconds.
        self.offset = offset

    @property
    def timeline(self) -> Timeline:
        """See `Clock.timeline`."""
        return Timeline(self.host, self.offset)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._hub.now

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self._hub.agenda.wall() + self.offset

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        sleep(seconds)
