"""The simulated shell: drives a protocol on virtual time.

`core.steps.drive` waits for each effect. Here nobody can wait: an effect is answered whenever its
time has come, and meanwhile others go on. Whoever performs the effects decides what comes of each,
so a fault at any of them is an answer that is an error, comes late, or never comes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

Effect = TypeVar("Effect")
Result = TypeVar("Result")


class Driven(Generic[Effect, Result]):
    """One protocol on its way."""

    def __init__(
        self,
        steps: Generator[Effect, Any, Result],
        perform: Callable[[Effect, Driven[Effect, Result]], None],
        ended: Callable[[Result], None],
    ) -> None:
        """
        Args:
            steps: the protocol.
            perform: begins an effect; it, or what it sets going, calls `answer` or `fail`.
            ended: is told what the protocol returned.
        """
        self._steps = steps
        self._perform = perform
        self._ended = ended

    def begin(self) -> None:
        """Let it ask for its first effect."""
        self._go_on(lambda: next(self._steps))

    def answer(self, value: Any = None) -> None:
        """Tell it what came of its effect; it asks for the next one."""
        self._go_on(lambda: self._steps.send(value))

    def fail(self, error: BaseException) -> None:
        """Raise an error where it asked for its effect."""
        self._go_on(lambda: self._steps.throw(error))

    def _go_on(self, step: Callable[[], Effect]) -> None:
        try:
            effect = step()
        except StopIteration as end:
            self._ended(end.value)
        else:
            self._perform(effect, self)
