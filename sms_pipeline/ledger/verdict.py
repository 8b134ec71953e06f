"""What an audit came to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sms_pipeline.core.counts import how_many, of_messages
from sms_pipeline.core.errors import EXIT_BROKEN, EXIT_OK, EXIT_UNFINISHED

#: Problems and batch numbers that are listed; the others are counted.
_MAX_LISTED = 20


class Verdict(StrEnum):
    """What the records show."""

    #: Every message of the run has exactly one fate, and the counters say the same.
    PROVEN = "proven"
    #: Records contradict one another.
    BROKEN = "broken"
    #: Nothing contradicts, but some messages have no fate yet.
    UNFINISHED = "not finished"
    #: No message was sent, so there is nothing to prove.
    FORECAST = "forecast"


#: What the `audit` command ends with.
EXIT_CODES = {
    Verdict.PROVEN: EXIT_OK,
    Verdict.BROKEN: EXIT_BROKEN,
    Verdict.UNFINISHED: EXIT_UNFINISHED,
    Verdict.FORECAST: EXIT_OK,
}


@dataclass
class AuditResult:
    """The outcome of an audit. Counts are messages, except where they say batches."""

    run: int
    total: int
    #: Whether the run was forecast: its records say what would be.
    forecast: bool = False
    delivered: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    #: Dispatched, and their last attempt is not settled.
    in_flight: int = 0
    #: Not dispatched yet.
    undispatched: int = 0
    #: Messages of which no record tells the fate any more …
    lost: int = 0
    #: … and those of which two records do.
    doubled: int = 0
    batches: int = 0
    settlements: int = 0
    problems: list[str] = field(default_factory=list)
    #: Numbers of the batches that are not at their end, by what they wait for.
    unsettled: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    absorbed: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Of a run that has ended: what its records come to. See `core.seal`.
    seal: str | None = None
    #: Whether the ledger holds it; a reader that may not write only works it out.
    sealed: bool = False
    #: Whether it was held against one that was noted earlier, and is the same.
    as_noted: bool = False
    #: One that was noted earlier, of a run that has none now: nothing can be said of it yet.
    noted_too_early: str | None = None
    #: Messages in the dead-letter queue, whatever run they belong to; None = not looked at.
    dead_letters: int | None = None

    @property
    def verdict(self) -> Verdict:
        """Broken when anything contradicts; else proven once nothing is left to settle."""
        if self.forecast:
            return Verdict.FORECAST
        if self.problems:
            return Verdict.BROKEN
        finished = self.delivered + self.failed + self.expired + self.cancelled
        is_finished = finished == self.total and not self.noted_too_early
        return Verdict.PROVEN if is_finished else Verdict.UNFINISHED

    def compare_seal(self, noted: str) -> None:
        """Hold the seal against one that was noted earlier, or the beginning of it."""
        if self.seal is None:
            self.noted_too_early = noted
        elif not self.seal.startswith(noted.lower()):
            self.problems.append(f"the seal {noted} was noted, but the run's is {self.seal}")
        else:
            self.as_noted = True

    def to_json(self) -> dict[str, Any]:
        """The fields of `audit --json`."""
        return {
            "run": self.run,
            "verdict": self.verdict.value,
            "total": self.total,
            "delivered": self.delivered,
            "failed": self.failed,
            "expired": self.expired,
            "cancelled": self.cancelled,
            "in_flight": self.in_flight,
            "undispatched": self.undispatched,
            "lost": self.lost,
            "doubled": self.doubled,
            "batches": self.batches,
            "settlements": self.settlements,
            "problems": self.problems,
            "unsettled": {state: numbers for state, numbers in self.unsettled.items() if numbers},
            "absorbed": {
                kind: {"batches": batches, "messages": messages}
                for kind, (batches, messages) in self.absorbed.items()
            },
            "dead_letters": self.dead_letters,
            "seal": self.seal,
        }

    def lines(self) -> Iterator[str]:
        """A short table and the verdict, for people."""
        yield f"Run {self.run}: {of_messages(self.total)}"
        if self.forecast:
            yield "Verdict: a forecast, nothing to prove"
            return
        for name in ("delivered", "failed", "expired", "cancelled", "in_flight", "undispatched"):
            count = getattr(self, name)
            if count or name in ("delivered", "failed"):
                yield f"  {name.replace('_', ' '):<14}{count:>15,}"
        batches = how_many(self.batches, "batch", "batches")
        yield f"  from {batches} and {how_many(self.settlements, 'settlement')}"
        for state, numbers in self.unsettled.items():
            if numbers:
                yield f"  batches {state}: {_listed(numbers)}"
        for kind, (number, messages) in self.absorbed.items():
            if number:
                batches = how_many(number, "batch", "batches")
                yield f"  absorbed, {kind}: {batches} of {of_messages(messages)}"
        if self.dead_letters:
            yield f"  dead-letter queue: {of_messages(self.dead_letters)}; 'resume' looks into it"
        for problem in self.problems[:_MAX_LISTED]:
            yield f"  ! {problem}"
        if len(self.problems) > _MAX_LISTED:
            yield f"  ! and {how_many(len(self.problems) - _MAX_LISTED, 'problem')} more"
        if self.noted_too_early:
            noted = self.noted_too_early
            yield f"Seal: none before the run has ended, so {noted} can't be compared"
        if self.seal:
            yield f"Seal: {self.seal}{', as noted' if self.as_noted else ''}"
        yield f"Verdict: {self.verdict.value}"


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_MAX_LISTED])
    return shown if len(numbers) <= _MAX_LISTED else f"{shown}, … ({len(numbers):,} in all)"
