"""From a failing seed to a short story: as few faults as still make it fail, and their effects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from tests.simulation.chance import Fired, Place, Step
from tests.simulation.run import Outcome, play

#: Runs that shrinking may take.
_MOST_RUNS = 400
#: Steps that are shown before and after each fault.
_AROUND = 2
#: Longest story, lines.
_MOST_LINES = 80
#: Effects that tell nothing of a batch.
_DULL = {"beat", "snapshot", "stuck", "absorb"}


def fewest(fired: Sequence[Fired], fails: Callable[[list[Place]], bool]) -> list[Place]:
    """Places of faults that together make a run fail, none of which could be left out.

    Args:
        fired: those of a run that failed.
        fails: whether it still fails with the faults at these places only.
    """
    kept = [one.place for one in fired]
    size, runs = max(len(kept) // 2, 1), 0
    while runs < _MOST_RUNS:
        start = 0
        before = len(kept)
        while start < len(kept) and runs < _MOST_RUNS:
            fewer = kept[:start] + kept[start + size :]
            runs += 1
            if fails(fewer):
                kept = fewer
            else:
                start += size
        if size == 1 and len(kept) == before:
            break
        size = max(size // 2, 1)
    return kept


def story(outcome: Outcome) -> Iterator[str]:
    """Lines about a run that failed."""
    seed = outcome.seed
    kept = fewest(outcome.fired, lambda places: bool(play(seed, places).problems))
    steps: list[tuple[float, Step]] = []
    shrunk = play(seed, kept, lambda now, step: steps.append((now, step)))
    yield f"seed {seed} fails: {len(outcome.fired)} faults, of which {len(kept)} are enough:"
    for one in shrunk.fired:
        yield f"  {one.place.process}: {one.effect}: {one.fault}"
    yield "what happened around them:"
    yield from _told(steps, shrunk.problems)
    yield "what is wrong:"
    yield from (f"  {problem}" for problem in shrunk.problems)


def _told(steps: list[tuple[float, Step]], problems: Sequence[str]) -> Iterator[str]:
    named = {match for problem in problems for match in re.findall(r"batch (\d+)", problem)}
    shown = [
        place
        for place, (_, step) in enumerate(steps)
        if step.effect not in _DULL and (_is_about(step, named) or _is_near_a_fault(steps, place))
    ]
    for place in shown[:_MOST_LINES]:
        now, step = steps[place]
        fault = f"  <-- {step.fault}" if step.fault else ""
        yield f"  {now:9.3f} s  {step.process:12} {step.effect}: {step.about}{fault}".rstrip(": ")
    if len(shown) > _MOST_LINES:
        yield f"  … {len(shown) - _MOST_LINES} more"


def _is_about(step: Step, batches: set[str]) -> bool:
    return any(number in batches for number in re.findall(r"batch (\d+)", step.about))


def _is_near_a_fault(steps: list[tuple[float, Step]], place: int) -> bool:
    near = steps[max(place - _AROUND, 0) : place + _AROUND + 1]
    return any(step.fault for _, step in near)
