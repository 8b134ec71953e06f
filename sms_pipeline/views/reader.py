"""Reads one run again and again, for every view."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.ahead import reckoned_after
from sms_pipeline.core.checks import parse
from sms_pipeline.core.clock import Clock, clock_of
from sms_pipeline.core.liveness import ONLINE_SECONDS
from sms_pipeline.core.progress import Findings, Progress, Tracker
from sms_pipeline.core.records import Retrying, Run, Snapshot, WorkerRow
from sms_pipeline.core.run_state import STALLED_SECONDS, patience, stuck_before
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.following import readings
from sms_pipeline.ledger.store import Ledger

#: How often a run is read to notice its end, or who is online.
POLL_SECONDS = 0.1
#: No more of the time than this is spent on looking for retries.
LOOKING_SHARE = 0.05
#: How often to look for stuck batches: that query reads rows, not counters.
STUCK_PERIOD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A run at one moment, as its reader saw it."""

    snapshot: Snapshot
    progress: Progress
    #: Workers whose heartbeat was seen to change.
    online: tuple[WorkerRow, ...]
    #: Seconds since the reader saw a batch dispatched or settled.
    idle_seconds: float
    #: Whether it can tell by now who is online.
    decided: bool
    #: When that was, seconds since the epoch, on the run's timeline.
    wall: float


class Reader:
    """Reads one run, and remembers earlier readings to tell how fast it goes."""

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        trusted: tuple[str, ...] = (),
        clock: Clock = MACHINE_CLOCK,
        counters_only: bool = False,
    ) -> None:
        """Prepare to read; nothing is read yet.

        Args:
            ledger: the ledger that holds the run.
            run: the run to read.
            trusted: ids of workers that are known to be online.
            clock: the clock to use.
            counters_only: read counters only. Leave out what costs more: stuck batches, the moment
                at which a share was reached, and the audit that a threshold may need.
        """
        self.run = run
        self._ledger = ledger
        self._clock = clock = clock_of(run, clock)
        self._tracker = Tracker(trusted)
        self._inquiry = None if counters_only else Inquiry(ledger, run, clock)
        self._retries = Retries(ledger, run, clock)
        self._origin: float | None = None
        self._left: float | None = None
        self._position: tuple[int, int] | None = None
        self._moved_at = 0.0

    def read(self) -> Reading:
        """Read the run now.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        now = self._clock.monotonic()
        snapshot = self._ledger.snapshot(self.run)
        findings = self._inquiry.look(snapshot) if self._inquiry else Findings()
        findings = dataclasses.replace(
            findings, retrying=self._retries.look(snapshot, self._left), origin=self._find_origin()
        )
        wall = self._clock.wall()
        progress = self._tracker.update(snapshot, now, wall, findings)
        self._left = progress.eta_seconds
        return Reading(
            snapshot=snapshot,
            progress=progress,
            online=self._tracker.online,
            idle_seconds=self._idle_seconds(now, progress),
            decided=self._tracker.decided,
            wall=wall,
        )

    def read_decided(self) -> Reading:
        """Read the run until it is known which workers are online; that takes up to 2.5 s.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        for reading in readings(self.read, POLL_SECONDS, self._clock.sleep):
            if reading.progress.done or reading.decided:
                return reading
        raise AssertionError("readings of a clock never end")

    def _find_origin(self) -> float | None:
        """When the first batch was dispatched, where events count from it."""
        if self._origin is None and self.run.simulation.events:
            self._origin = self._ledger.origin(self.run.id)
        return self._origin

    def _idle_seconds(self, now: float, progress: Progress) -> float:
        position = (progress.counts.dispatched, progress.counts.attempts)
        if position != self._position:
            self._position, self._moved_at = position, now
        return now - self._moved_at


class Retries:
    """Looks up which batches are retried, for the time that is left."""

    def __init__(self, ledger: Ledger, run: Run, clock: Clock = MACHINE_CLOCK) -> None:
        self._ledger = ledger
        self._run = run
        self._clock = clock
        self._found: list[Retrying] = []
        self._due_at = clock.monotonic()
        # Who was not tried again since then waits for no pause any more.
        self._back = patience(run.simulation) - STALLED_SECONDS + ONLINE_SECONDS

    def look(self, snapshot: Snapshot, left: float | None = None) -> list[Retrying]:
        """Look them up if that is due; return what is known.

        `left` is the time left that was told last.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        if not snapshot.counts.retrying or snapshot.settled_at is None:
            return []
        now = self._clock.monotonic()
        if now >= self._due_at:
            self._found = self._ledger.retrying(self._run.id, snapshot.settled_at - self._back)
            took = self._clock.monotonic() - now
            self._due_at = now + max(reckoned_after(left), took / LOOKING_SHARE)
        return self._found


class Inquiry:
    """Looks up what the counters do not tell, and each thing as rarely as possible."""

    def __init__(self, ledger: Ledger, run: Run, clock: Clock = MACHINE_CLOCK) -> None:
        self._ledger = ledger
        self._run = run
        self._clock = clock
        self._checks = [parse(threshold.check) for threshold in run.simulation.thresholds]
        self._findings = Findings()
        self._stuck_due_at = clock.monotonic()
        self._audited = False

    def look(self, snapshot: Snapshot) -> Findings:
        """Look up what is due, and return all that is known.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        self._look_for_stuck()
        self._look_for_reached(snapshot)
        if snapshot.done and not self._audited:
            self._audit()
            self._audited = True
        return self._findings

    def _look_for_stuck(self) -> None:
        now = self._clock.monotonic()
        if now < self._stuck_due_at:
            return
        before = stuck_before(self._run.simulation, self._clock.wall())
        stuck = self._ledger.stuck(self._run.id, before)
        self._findings = dataclasses.replace(self._findings, stuck=stuck)
        self._stuck_due_at = now + STUCK_PERIOD_SECONDS

    def _look_for_reached(self, snapshot: Snapshot) -> None:
        """Look up each share once: the query reads rows, not counters."""
        delivered = snapshot.counts.delivered
        found = dict(self._findings.reached_at)
        due = {check.messages(snapshot.total) for check in self._checks if check.share}
        for messages in due - found.keys():
            if delivered < messages:
                continue
            at = self._ledger.delivered_at(self._run.id, messages)
            if at is not None:
                found[messages] = at
        self._findings = dataclasses.replace(self._findings, reached_at=found)

    def _audit(self) -> None:
        """The audit reads every record, so it runs once, and only if a threshold needs it."""
        if not any(check.audited for check in self._checks):
            return
        result = audit_ledger(self._ledger, self._run)
        if result.lost or result.doubled or not result.problems:
            self._findings = dataclasses.replace(
                self._findings, lost=result.lost, doubled=result.doubled
            )
