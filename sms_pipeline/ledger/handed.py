"""What went from profile to profile, read and laid over the counts of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection, func, select

from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.failover import HandOver
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.mapping import known


class Moved:
    """Sums of hand-overs by profile."""

    def __init__(self, hand_overs: Iterable[HandOver]) -> None:
        self._away, self._in = Counter[str](), Counter[str]()
        #: First attempts that others made for it, less those that it made for others.
        self._untried = Counter[str]()
        for one in hand_overs:
            self._away[one.source] += one.messages
            self._in[one.target] += one.messages
            self._untried[one.source] += one.untried
            self._untried[one.target] -= one.untried

    def added_to(self, own: Iterable[ProfileCounts]) -> tuple[ProfileCounts, ...]:
        """The counts of profiles, whose `first_attempts` are those that their senders made."""
        parts = {counts.profile: counts for counts in own}
        for name in (*self._away, *self._in):
            parts.setdefault(name, ProfileCounts(profile=name))
        return tuple(map(self._added, parts.values()))

    def _added(self, counts: ProfileCounts) -> ProfileCounts:
        name = counts.profile
        return replace(
            counts,
            handed_away=self._away[name],
            handed_in=self._in[name],
            first_attempts=counts.first_attempts + self._untried[name],
        )


def read_moved(connection: Connection, run_id: int) -> Moved:
    """The hand-overs of a run."""
    moved = schema.handed_over.c
    sums = func.sum(moved.messages), func.sum(moved.untried)
    query = (
        select(moved.source, moved.target, *sums)
        .where(moved.run == run_id)
        .group_by(moved.source, moved.target)
    )
    return Moved(
        HandOver(
            known(source, "source"),
            known(target, "target"),
            int(known(messages, "messages")),
            int(known(untried, "untried")),
        )
        for source, target, messages, untried in connection.execute(query)
    )
