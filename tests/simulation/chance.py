"""Chance: whatever a seed decides, and a record of the faults that it chose.

Each process draws from a stream of its own, one draw for each effect. So a fault that is taken away
changes little of what the others meet, and a failing run can be shrunk.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np


class Fault(StrEnum):
    """What may happen at an effect, or to the world around."""

    # To the process that asked for it.
    DIES_BEFORE = "dies before it"
    DIES_DURING = "dies in it, not done"
    DIES_DONE = "dies in it, done"
    DIES_AFTER = "dies after it"
    LATE = "comes late"
    # To a transaction.
    FAILS = "fails"
    FAILS_MIDWAY = "fails midway"
    SAYS_FAILED = "is done, and says it failed"
    # To a publish.
    REFUSED = "refused"
    CONFIRM_LOST = "confirm lost"
    ARRIVES_LATE = "arrives late"
    # To a delivery.
    TWICE = "comes twice"
    OUT_OF_ORDER = "out of order"
    CUT = "connection cut"
    # To the world.
    WORKER_KILLED = "worker killed"
    WORKER_TERMINATED = "worker terminated"
    WORKER_JOINS = "worker joins"
    FOREIGN_WORKER = "worker of another ledger"
    PRODUCER_KILLED = "producer killed"
    BROKER_RESTARTS = "broker restarts"
    QUEUE_LOST = "queue lost"
    OLD_MESSAGE = "old message again"
    GARBAGE = "garbage"
    CLOCK_SET = "clock set"
    PAUSE = "pause"
    CONTINUE = "continue"
    CANCEL = "cancel"
    RESUME = "resume"
    TWO_RESUMES = "two resumes"


#: At every effect of a process.
DEATHS = (Fault.DIES_BEFORE, Fault.DIES_AFTER)
#: … of one that takes a while and may be interrupted.
INTERRUPTED = (Fault.DIES_DURING, Fault.DIES_DONE)
READ = (*DEATHS, Fault.LATE, Fault.FAILS)
WRITE = (*DEATHS, *INTERRUPTED, Fault.LATE, Fault.FAILS, Fault.FAILS_MIDWAY, Fault.SAYS_FAILED)
PUBLISH = (
    *DEATHS,
    *INTERRUPTED,
    Fault.LATE,
    Fault.REFUSED,
    Fault.CONFIRM_LOST,
    Fault.ARRIVES_LATE,
    Fault.TWICE,
)
PLAY = (*DEATHS, Fault.DIES_DURING, Fault.LATE)
ACKNOWLEDGE = (*DEATHS, Fault.CUT, Fault.LATE)
DELIVER = (Fault.LATE, Fault.TWICE, Fault.OUT_OF_ORDER, Fault.CUT)
#: What befalls the world: all from here on.
WORLD = tuple(Fault)[tuple(Fault).index(Fault.WORKER_KILLED) :]


class Place(NamedTuple):
    """Where a fault was chosen: the n-th effect of a process."""

    process: str
    number: int


class Fired(NamedTuple):
    """A fault, and what it struck."""

    place: Place
    effect: str
    fault: Fault


class Step(NamedTuple):
    """An effect, for the trace of a run."""

    process: str
    effect: str
    #: What it was about: a batch, a control.
    about: str
    fault: Fault | None


class Chance:
    """All that is left to chance in one run."""

    def __init__(self, seed: int, keep: Collection[Place] | None = None) -> None:
        """
        Args:
            seed: everything follows from it.
            keep: only the faults at these places happen; None: all.
        """
        self.seed = seed
        self._keep = keep
        self._streams: dict[str, random.Random] = {}
        self._numbers: Counter[str] = Counter()
        #: How likely a fault is at an effect, and which kinds there are in this run.
        self.rate = 0.0
        self.kinds: frozenset[Fault] = frozenset()
        self.healed = False
        self.fired: list[Fired] = []
        #: How often what was struck by what, or by nothing.
        self.seen: Counter[tuple[str, str]] = Counter()
        #: Told of every effect.
        self.tell: Callable[[Step], None] | None = None

    def stream(self, name: str) -> random.Random:
        """A stream that depends on the seed and the name only."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = random.Random(f"{self.seed} {name}")
        return found

    def numbers(self, name: str) -> np.random.Generator:
        """The same, for arrays."""
        return np.random.Generator(np.random.Philox(self.stream(name).getrandbits(63)))

    def fault(
        self, process: str, effect: str, among: Sequence[Fault], about: object = ""
    ) -> Fault | None:
        """What strikes the next effect of a process, if anything."""
        stream = self.stream(process)
        is_struck, which = stream.random() < self.rate, stream.random()
        return self._choose(process, effect, among if is_struck else (), which, about)

    def strike(self, process: str, effect: str, among: Sequence[Fault]) -> Fault | None:
        """A fault for certain, if any of these kinds is there in this run."""
        return self._choose(process, effect, among, self.stream(process).random(), "")

    def _choose(
        self, process: str, effect: str, among: Sequence[Fault], which: float, about: object
    ) -> Fault | None:
        number = self._numbers[process]
        self._numbers[process] += 1
        place, fault = Place(process, number), None
        if not self.healed and (self._keep is None or place in self._keep):
            possible = [one for one in among if one in self.kinds]
            fault = possible[int(which * len(possible))] if possible else None
        if fault:
            self.fired.append(Fired(place, effect, fault))
        self.seen[effect, fault.value if fault else ""] += 1
        if self.tell:
            self.tell(Step(process, effect, str(about), fault))
        return fault
