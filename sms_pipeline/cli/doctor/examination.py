"""Makes checks, one after the other or side by side, and never waits for ever."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sms_pipeline.cli.doctor.check import Check, State, fault

#: How long a step may take unless it says otherwise.
STEP_SECONDS = 8.0


class NothingMoreError(Exception):
    """Raised by a step after which there is nothing to look at; what is wrong is told elsewhere."""


@dataclass(frozen=True, slots=True)
class Step:
    """One look at something."""

    name: str
    run: Callable[[], Iterable[Check]]
    #: After so long it counts as a fault; asked for when the steps before it are done.
    seconds: float | Callable[[], float] = STEP_SECONDS
    #: Whether a fault here makes the steps after it senseless.
    vital: bool = False

    def patience(self) -> float:
        """How long it may take."""
        return self.seconds() if callable(self.seconds) else self.seconds


def examine(subjects: Iterable[Sequence[Step]]) -> Iterator[Check]:
    """Go through the steps of each subject in order, all subjects at the same time.

    The checks come in the order of the subjects.
    """
    started = [_Examination(steps) for steps in subjects]
    for one in started:
        one.start()
    for one in started:
        yield from one.results()


class _Examination(threading.Thread):
    """Of one subject. A thread that hangs is left behind: it ends with the process."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__(daemon=True)
        self._steps = steps
        #: The checks of each step; None when there are no more.
        self._done: queue.SimpleQueue[list[Check] | None] = queue.SimpleQueue()

    def run(self) -> None:
        for step in self._steps:
            try:
                checks = _take(step)
            except NothingMoreError:
                break
            self._done.put(checks)
            if step.vital and any(check.state is State.FAULT for check in checks):
                break
        self._done.put(None)

    def results(self) -> Iterator[Check]:
        for step in self._steps:
            try:
                checks = self._done.get(timeout=step.patience())
            except queue.Empty:
                yield _hung(step)
                return
            if checks is None:
                return
            yield from checks


def _take(step: Step) -> list[Check]:
    try:
        return list(step.run())
    except NothingMoreError:
        raise
    except Exception as error:
        return [_failed(step, error)]


def _failed(step: Step, error: Exception) -> Check:
    words = " ".join(str(error).split()) or type(error).__name__
    return fault(
        step.name,
        f"the check failed: {words}",
        "look into the logs of what it asked, and try again",
    )


def _hung(step: Step) -> Check:
    return fault(
        step.name,
        f"no answer within {step.patience():.3g} s",
        "look whether it is overloaded or frozen, and restart it if it is",
    )
