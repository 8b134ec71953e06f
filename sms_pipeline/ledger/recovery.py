"""Looking after a run from any terminal: audit, pause, continue, cancel, resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.simulation import Settings, Simulation
from sms_pipeline.core.progress import Liveness, Progress
from sms_pipeline.core.records import Control, Run, Settlement, Snapshot, WorkerRow
from sms_pipeline.errors import BrokerUnavailableError, PipelineError
from sms_pipeline.ledger.audit import Report, audit_ledger
from sms_pipeline.ledger.store import Ledger

log = logging.getLogger(__name__)

#: Without a settlement for so long, and with empty queues, what is not settled is lost. Longer
#: where a batch of the run takes longer.
QUIET_SECONDS = 10.0
#: The slowest message of a batch may take this many mean times.
_SLOWEST_MEANS = 4
_POLL_SECONDS = 0.25
#: Who settles what was cancelled before any worker saw it.
CANCELLER = "cancel"
#: Batches cancelled in one transaction.
CANCEL_GROUP = 1_000


def audit_run(settings: Settings, ledger: Ledger, run: Run) -> Report:
    """Audit the run, and look at what the ledger can't know: who is online, dead letters."""
    report = audit_ledger(ledger, run)
    if report.in_flight and run.embedded and not online_workers(ledger):
        report = audit_ledger(ledger, run, lost=True)
    if not settings.embedded:
        report.dead_letters = _dead_letters(settings)
    return report


def _dead_letters(settings: Settings) -> int | None:
    """The audit is of the ledger; that it can't look into the broker does not spoil it."""
    publisher = Publisher(settings.broker_url)
    try:
        publisher.reach()
        return publisher.dead_letters()
    except BrokerUnavailableError as error:
        log.warning("dead letters not counted: %s", error)
        return None


class OnlineWorker(NamedTuple):
    """A worker whose heartbeat was seen to change."""

    row: WorkerRow
    seen_seconds_ago: float


def online_workers(ledger: Ledger) -> list[OnlineWorker]:
    """Who is online; watches the heartbeats for as long as that takes, at most 2.5 s."""
    liveness = Liveness()
    while True:
        now = time.monotonic()
        workers = ledger.workers()
        online = liveness.observe(now, workers)
        if liveness.is_decided(now, workers):
            return [OnlineWorker(row, liveness.last_seen(row.id, now) or 0.0) for row in online]
        time.sleep(_POLL_SECONDS)


def steer(ledger: Ledger, run: Run, wanted: Control) -> str:
    """Ask for `wanted`; return a sentence or two that say what that means.

    Raises:
        PipelineError: the run was cancelled before, which is final.
    """
    snapshot = ledger.snapshot(run)
    was_cancelled = snapshot.control is Control.CANCELLED and wanted is not snapshot.control
    has_ended = snapshot.finished >= run.total
    if has_ended and not was_cancelled:
        raise PipelineError(f"run {run.id} has ended; there is nothing to steer")
    held = ledger.control(run.id, wanted)
    if held is not wanted:
        raise PipelineError(f"run {run.id} was cancelled; that is final")
    if wanted is Control.CANCELLED:
        return _cancelled(run, cancel_unpublished(ledger, run))
    if wanted is Control.PAUSED:
        return f"Run {run.id} is paused: batches in hand are finished, the others wait."
    return f"Run {run.id} goes on."


def _cancelled(run: Run, unpublished: int) -> str:
    return (
        f"Run {run.id} is cancelled: {unpublished:,} messages were never published; what waits in "
        "queues is cancelled as workers receive it, what is being sent is finished."
    )


class Abort:
    """Cancels a run that misses a threshold with `abort: true`; once."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        self._ledger = ledger
        self._run = run
        self._done = False

    def __call__(self, progress: Progress) -> str | None:
        """What was done, if anything was.

        Raises:
            LedgerUnavailableError: the ledger can't be reached; the next call tries again.
        """
        missed = [one for one in progress.missed if one.abort]
        if self._done or progress.done or not missed:
            return None
        if progress.control is not Control.CANCELLED:
            self._ledger.control(self._run.id, Control.CANCELLED)
        count = cancel_unpublished(self._ledger, self._run)
        self._done = True
        return (
            f"threshold missed: {missed[0].check.text} ({missed[0].seen_text}). "
            f"{_cancelled(self._run, count)}"
        )


def cancel_unpublished(ledger: Ledger, run: Run) -> int:
    """Settle as cancelled what no queue ever had; return how many messages that were.

    Should a batch have been published after all, the ledger answers for it.
    """
    ledger.claim_rest(run, run.simulation.senders[0].name)
    never = ledger.unpublished(run.id)
    for start in range(0, len(never), CANCEL_GROUP):
        group = [
            Settlement.cancellation((row.run, row.number, 0), row.profile, CANCELLER, row.size)
            for row in never[start : start + CANCEL_GROUP]
        ]
        ledger.settle(group)
    return sum(row.size for row in never)


def await_quiet(ledger: Ledger, publisher: Publisher, run: Run, say: Callable[[str], None]) -> None:
    """Wait until what is not settled is lost rather than waiting.

    That is so when no queue of the run's profiles holds anything and either no worker is online
    or nothing was settled for a while.
    """
    liveness = Liveness()
    settlements, changed_at, told = -1, time.monotonic(), ""
    while True:
        now = time.monotonic()
        snapshot = ledger.snapshot(run)
        online = liveness.observe(now, snapshot.workers)
        count = sum(profile.attempts for profile in snapshot.profiles)
        if count != settlements:
            settlements, changed_at = count, now
        depth = publisher.depth([profile.name for profile in run.simulation.senders])
        if not depth and liveness.is_decided(now, snapshot.workers):
            quiet = now - changed_at
            if not online or quiet >= quiet_seconds(run.simulation):
                return
        reason = _why_wait(snapshot, depth, bool(online))
        if reason != told:
            told = reason
            say(reason)
        time.sleep(_POLL_SECONDS)


def quiet_seconds(simulation: Simulation) -> float:
    """How long nothing may be settled while a batch of the run is in play."""
    longest = max(
        simulation.batch_size_for(profile) / profile.capacity + _SLOWEST_MEANS * profile.mean_time
        for profile in simulation.senders
    )
    return max(QUIET_SECONDS, 2 * longest)


def _why_wait(snapshot: Snapshot, depth: int, anyone_online: bool) -> str:
    if depth and not anyone_online:
        return f"waiting: the queues hold {depth:,} batches, and no worker is online (--force?)"
    if depth:
        return "waiting: the queues still hold batches, which workers will take"
    return "waiting: workers are online and may be playing what is not settled"
