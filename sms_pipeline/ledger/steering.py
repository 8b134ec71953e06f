"""Steering a run from any terminal: pause, continue, cancel."""

from __future__ import annotations

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock, clock_of
from sms_pipeline.core.counts import of_messages
from sms_pipeline.core.errors import EndedRunError
from sms_pipeline.core.liveness import ONLINE_SECONDS, present_workers
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import (
    CANCELLER,
    BatchRow,
    Control,
    Run,
    Settlement,
    Snapshot,
)
from sms_pipeline.core.routing import batches_in_hand
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger

#: Batches cancelled in one transaction.
CANCEL_GROUP = 1_000


def steer(ledger: Ledger, run: Run, wanted: Control, clock: Clock = MACHINE_CLOCK) -> str:
    """Ask for `wanted`; return a sentence or two on what happens now.

    Raises:
        EndedRunError: the run has ended, or was cancelled before, which is final.
    """
    snapshot = ledger.snapshot(run)
    was_cancelled = snapshot.control is Control.CANCELLED and wanted is not snapshot.control
    has_ended = snapshot.done
    if has_ended and not was_cancelled:
        raise EndedRunError(f"run {run.id} has ended; there is nothing to steer")
    held = ledger.control(run.id, wanted)
    if held is not wanted:
        raise EndedRunError(f"run {run.id} was cancelled; that is final")
    if wanted is Control.CANCELLED:
        unpublished = cancel_unpublished(ledger, run, clock)
        if _is_interrupted(snapshot, clock):
            return _cancelled_later(ledger.snapshot(run))
        return _cancelled(run, unpublished)
    if _is_interrupted(snapshot, clock):
        return _steered_later(run, wanted)
    if wanted is Control.PAUSED:
        hand = in_hand(snapshot)
        if hand:
            return (
                f"Run {run.id} is stopping: about {of_messages(hand)} in hand are finished first, "
                "the others wait."
            )
        return f"Run {run.id} is paused: batches in hand are finished, the others wait."
    return f"Run {run.id} goes on."


def in_hand(snapshot: Snapshot) -> int:
    """About how many messages workers have taken, or take before they see that they should not."""
    messages = 0
    for counts in snapshot.profiles:
        batch = _batch_size(snapshot.simulation, counts.profile)
        taken = sum(
            batch * batches_in_hand(worker.senders, worker.capacity, batch)
            for worker in present_workers(snapshot.workers)
            if worker.profile == counts.profile
        )
        messages += min(counts.backlog, taken)
    return messages


def _is_interrupted(snapshot: Snapshot, clock: Clock) -> bool:
    """Whether the process that the run's broker lived in seems to be gone."""
    silent_before = clock.wall() - ONLINE_SECONDS
    present = present_workers(snapshot.workers)
    return snapshot.embedded and all(worker.seen_at < silent_before for worker in present)


def _batch_size(simulation: Simulation, name: str) -> int:
    """Of a profile that only its workers know, what the largest one has."""
    sizes = {one.name: simulation.batch_size_for(one) for one in simulation.senders}
    return sizes.get(name, max(sizes.values()))


def _cancelled(run: Run, unpublished: int) -> str:
    return (
        f"Run {run.id} is cancelled: {of_messages(unpublished)} never published; what waits in "
        "queues is cancelled as workers receive it, what is being sent is finished."
    )


def _steered_later(run: Run, wanted: Control) -> str:
    resume = f"sms-pipeline resume {run.id}"
    if wanted is Control.PAUSED:
        return f"Run {run.id} is paused. Its process is gone, so it will need {resume}, too."
    return f"Run {run.id} is not paused. Its process is gone: go on with {resume}"


def _cancelled_later(snapshot: Snapshot) -> str:
    run, still_open = snapshot.run, snapshot.total - snapshot.counts.finished
    if not still_open:
        return f"Run {run} is cancelled, and all its messages are settled."
    return (
        f"Run {run} is cancelled: its process is gone; {of_messages(still_open)} still open, to be "
        f"settled as cancelled by sms-pipeline resume {run}."
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


def cancel_unpublished(ledger: Ledger, run: Run, clock: Clock = MACHINE_CLOCK) -> int:
    """Settle as cancelled what no queue ever had; return how many messages that were.

    If a batch was published after all, the worker that receives it is answered from the ledger.
    """
    clock = clock_of(run, clock)
    claim_rest(ledger, run, clock)
    never = unpublished(ledger, run.id)
    for start in range(0, len(never), CANCEL_GROUP):
        group = [
            Settlement.cancellation(
                (row.run, row.number, 0), row.profile, CANCELLER, row.size, clock.wall()
            )
            for row in never[start : start + CANCEL_GROUP]
        ]
        ledger.settle(group)
    return sum(row.size for row in never)


def claim_rest(ledger: Ledger, run: Run, clock: Clock = MACHINE_CLOCK) -> None:
    """Record all that was never dispatched as one batch, so that nobody dispatches it.

    For `cancel`, which settles that batch at once.
    """
    while (now := ledger.run(run.id)).next_index < now.total:
        rest = BatchRow(
            run=run.id,
            number=now.next_batch,
            profile=run.simulation.senders[0].name,
            first_index=now.next_index,
            size=now.total - now.next_index,
            queued_at=clock.wall(),
        )
        ledger.record_batches(run.id, [rest])


def unpublished(ledger: Ledger, run_id: int) -> list[BatchRow]:
    """Recorded batches without a settlement that the broker has not confirmed."""
    return [
        entry.row
        for entry in ledger.unsettled(run_id)
        if entry.attempt == 0 and entry.row.published_at is None
    ]
