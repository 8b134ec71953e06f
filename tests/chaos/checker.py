"""The comparison: what the ledger says of each message against what the workers noted. Pure.

Everything is a set of message indexes. Totals are never compared: one message lost and another
counted twice leave every total as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

#: Message indexes that a problem spells out; the others are counted.
MAX_LISTED = 10

Indexes = frozenset[int]


class Played(NamedTuple):
    """A line of a worker's journal: one attempt that it has sent."""

    worker: str
    batch: int
    attempt: int
    taken: Indexes
    delivered: Indexes


class Recorded(NamedTuple):
    """A settlement as the ledger has it, and who it lists as not reached by this attempt."""

    worker: str
    batch: int
    attempt: int
    taken: Indexes
    #: Left for the next attempt.
    remainder: Indexes
    unreached: Indexes
    #: Whether the attempt was not made at all.
    cancelled: bool

    @property
    def ended(self) -> Indexes:
        """Messages that reached a terminal state with this attempt."""
        return self.taken - self.remainder

    @property
    def delivered(self) -> Indexes:
        """Messages that the ledger counts as sent with this attempt."""
        return frozenset() if self.cancelled else self.ended - self.unreached


@dataclass
class Findings:
    """What the comparison came to; sets of message indexes."""

    #: Without a fate.
    lost: set[int] = field(default_factory=set)
    #: With more than one fate, or none of the run's.
    doubled: set[int] = field(default_factory=set)
    #: Counted as sent, and no worker has sent them.
    invented: set[int] = field(default_factory=set)
    #: Delivered by more than one attempt, over all journals.
    sent_twice: set[int] = field(default_factory=set)
    #: Deliveries beyond the first of each message.
    extra_sends: int = 0
    #: (batch, attempt) whose settlement is not what its own worker noted.
    disputed: set[tuple[int, int]] = field(default_factory=set)

    def problems(self) -> list[str]:
        """What must not be; empty when all is well. Sent twice is allowed, and reported."""
        found = [
            _problem("messages lost: they have no fate", self.lost),
            _problem("messages counted twice, or not of this run", self.doubled),
            _problem("messages counted as sent that no worker has sent", self.invented),
            _problem("(batch, attempt) settled otherwise than its worker noted", self.disputed),
        ]
        return [problem for problem in found if problem]


def check(total: int, recorded: Iterable[Recorded], journals: Iterable[Played]) -> Findings:
    """Compare the settlements of a run of `total` messages with the journals of its workers."""
    findings = Findings()
    fates: Counter[int] = Counter()
    sends: Counter[int] = Counter()
    noted: dict[tuple[str, int, int], list[Played]] = {}
    for played in journals:
        sends.update(played.delivered)
        noted.setdefault((played.worker, played.batch, played.attempt), []).append(played)
    sent = set(sends)
    for settlement in recorded:
        fates.update(settlement.ended)
        findings.invented |= settlement.delivered - sent
        if not _is_as_noted(settlement, noted):
            findings.disputed.add((settlement.batch, settlement.attempt))
    everyone = set(range(total))
    findings.lost = everyone - fates.keys()
    findings.doubled = {index for index, count in fates.items() if count > 1}
    findings.doubled |= fates.keys() - everyone
    findings.sent_twice = {index for index, count in sends.items() if count > 1}
    findings.extra_sends = sum(count - 1 for count in sends.values())
    return findings


def _is_as_noted(settlement: Recorded, noted: dict[tuple[str, int, int], list[Played]]) -> bool:
    if not settlement.unreached <= settlement.ended:
        return False
    if settlement.cancelled:
        return True
    entries = noted.get((settlement.worker, settlement.batch, settlement.attempt), [])
    return any(
        entry.taken == settlement.taken and entry.delivered == settlement.delivered
        for entry in entries
    )


def _problem(what: str, items: Iterable[object]) -> str | None:
    ordered = sorted(items)  # type: ignore[type-var]
    if not ordered:
        return None
    shown = ", ".join(map(str, ordered[:MAX_LISTED]))
    more = ", …" if len(ordered) > MAX_LISTED else ""
    return f"{len(ordered)} {what}: {shown}{more}"
