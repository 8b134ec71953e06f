"""What came of a run, in one line: the audit, the thresholds, and who was not reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import Counts, how_many
from sms_pipeline.core.errors import DamagedLedgerError, LedgerUnavailableError
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.run_list import RunTotals
from sms_pipeline.core.run_state import OVER, RunState
from sms_pipeline.core.thresholds import State
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.sealing import record_seal
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from sms_pipeline.views.format import count
from sms_pipeline.views.reader import Reader

#: A run with more settlements is audited only where that is asked for: it takes too long.
MAX_SETTLEMENTS = 200_000
#: So many of the latest runs are audited in a list.
AUDITED_RUNS = 20
#: What separates the parts of the line.
_DOT = " · "


class Tone(StrEnum):
    """Whether it is good news."""

    GOOD = "good"
    BAD = "bad"
    #: That is not known, or not yet.
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run, as far as that is known."""

    state: RunState
    counts: Counts
    #: None: not audited.
    audit: Verdict | None = None
    #: None: it has not ended, or cannot be sealed yet.
    seal: str | None = None
    #: Thresholds that were judged, and of these so many passed …
    thresholds: int = 0
    passed: int = 0
    #: … and so many were missed.
    missed: int = 0
    #: Messages without a fate yet.
    left: int = 0

    @property
    def line(self) -> str:
        """For the top of every view: Proven · 2 of 3 thresholds passed · 9 not reached."""
        return _DOT.join(self._parts())

    @property
    def word(self) -> str:
        """For a list: proven, or what is wrong."""
        if self.missed:
            return f"{self._audit}, {count(self.missed)} missed"
        return self._audit

    @property
    def tone(self) -> Tone:
        """Bad as soon as a threshold is missed or the audit found something."""
        if self.missed or self.audit is Verdict.BROKEN:
            return Tone.BAD
        return Tone.GOOD if self.audit is Verdict.PROVEN else Tone.OPEN

    def _parts(self) -> Iterator[str]:
        yield self._audit.capitalize()
        if self.left and self.state not in OVER:
            yield f"{count(self.left)} open"
        thresholds = how_many(self.thresholds, "threshold")
        if self.thresholds and self.state in OVER:
            yield f"{count(self.passed)} of {thresholds} passed"
        elif self.missed:
            yield f"{count(self.missed)} of {thresholds} missed"
        yield f"{count(self.counts.failed + self.counts.expired)} not reached"
        if self.counts.cancelled:
            yield f"{count(self.counts.cancelled)} cancelled"

    @property
    def _audit(self) -> str:
        if self.state is RunState.FORECAST:
            return Verdict.FORECAST
        if self.state is not RunState.DONE:
            return Verdict.UNFINISHED
        return self.audit or "not audited"


def outcome_of(
    progress: Progress, audit: Verdict | None = None, seal: str | None = None
) -> Outcome:
    """What came of a run, with what its audit came to if there was one."""
    return Outcome(
        state=progress.state,
        counts=progress.counts,
        audit=audit,
        seal=seal,
        thresholds=len(progress.thresholds),
        passed=sum(one.state is State.PASSED for one in progress.thresholds),
        missed=len(progress.missed),
        left=progress.total - progress.counts.finished,
    )


class _Audited(NamedTuple):
    verdict: Verdict | None = None
    seal: str | None = None


class Outcomes:
    """What came of the runs of a ledger. Each run that is done is audited once."""

    def __init__(self, ledger: Ledger, clock: Clock = MACHINE_CLOCK) -> None:
        self._ledger = ledger
        self._clock = clock
        self._audits: dict[int, _Audited] = {}
        self._listed: dict[int, Outcome] = {}

    def of(self, progress: Progress) -> Outcome:
        """What came of a run.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        audited = self._audit(progress.run) if progress.done else _Audited()
        return outcome_of(progress, *audited)

    def listed(self, totals: RunTotals, state: RunState, audited: bool) -> Outcome:
        """The same, of a run in a list.

        Args:
            totals: the run.
            state: how it stands.
            audited: whether it may be audited now.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        if not totals.done:
            left = totals.run.total - totals.counts.finished
            return Outcome(state, totals.counts, left=left)
        known = self._listed.get(totals.run.id)
        if known is None and audited and totals.settlements <= MAX_SETTLEMENTS:
            try:
                known = self.of(Reader(self._ledger, totals.run, clock=self._clock).read().progress)
            except DamagedLedgerError:
                known = Outcome(state, totals.counts, Verdict.BROKEN)
            self._listed[totals.run.id] = known
        return known or Outcome(state, totals.counts)

    def _audit(self, run_id: int) -> _Audited:
        if run_id not in self._audits:
            self._audits[run_id] = self._audited(run_id)
        return self._audits[run_id]

    def _audited(self, run_id: int) -> _Audited:
        """A run with too many settlements is only sealed: that reads no settlements.

        One whose records can't be read is broken.
        """
        try:
            found = self._ledger.totals(1, run_id + 1)
            if not found:
                return _Audited(Verdict.BROKEN)
            if found[0].settlements > MAX_SETTLEMENTS:
                return _Audited(None, record_seal(self._ledger, run_id, self._clock))
            result = audit_ledger(self._ledger, found[0].run)
        except DamagedLedgerError:
            return _Audited(Verdict.BROKEN)
        return _Audited(result.verdict, result.seal)


def final_outcome(ledger: Ledger, progress: Progress | None) -> Outcome | None:
    """For a summary: not audited if the ledger can't be reached; None if nothing was ever read."""
    if progress is None:
        return None
    try:
        return Outcomes(ledger).of(progress)
    except LedgerUnavailableError:
        return outcome_of(progress)
