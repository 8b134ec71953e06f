"""Runs a protocol: a generator that asks for effects and is told what came of each.

What producer and worker do next is written as such generators, without a thread, a clock or a
connection in them. Whoever drives one decides what its effects are: real ones, or simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

Effect = TypeVar("Effect")
Result = TypeVar("Result")


def drive(steps: Generator[Effect, Any, Result], perform: Callable[[Effect], Any]) -> Result:
    """Perform each effect that `steps` asks for; return what it returns.

    What `perform` raises is raised inside the protocol, where it asked for the effect.
    """
    try:
        effect = next(steps)
        while True:
            try:
                answer = perform(effect)
            except BaseException as error:
                effect = steps.throw(error)
            else:
                effect = steps.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result
