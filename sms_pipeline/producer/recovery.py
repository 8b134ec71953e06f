"""Resuming a run: when unsettled batches count as lost, and what `resume` does then."""

from __future__ import annotations

from collections.abc import Callable

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.batch import is_batch_of
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import how_many
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.events import longest_outage, worst_slowdown
from sms_pipeline.core.liveness import Liveness, present_workers
from sms_pipeline.core.profiles import SLOWEST_MEANS
from sms_pipeline.core.records import Control, Run, Snapshot
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.following import readings
from sms_pipeline.ledger.forecasts import require_sent
from sms_pipeline.ledger.steering import cancel_unpublished
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.producer import Producer

#: Without a settlement for so long, and with empty queues, what is not settled is lost. Longer
#: where a batch of the run takes longer.
QUIET_SECONDS = 10.0
_POLL_SECONDS = 0.25


def dispatch_again(
    ledger: Ledger, run: Run, say: Callable[[str], None], clock: Clock = MACHINE_CLOCK
) -> Callable[[Producer], None]:
    """The work of a producer that resumes `run`: what is not settled, then what is left."""

    def work(producer: Producer) -> None:
        if run.control is Control.CANCELLED:
            # If `cancel` was interrupted, what it claimed is settled first.
            cancel_unpublished(ledger, run, clock)
        ledger.note_resume(run.id)
        batches = producer.dispatch_again(ledger.unsettled(run.id))
        say(f"run {run.id}: {how_many(batches, 'batch', 'batches')} dispatched again")
        producer.dispatch()

    return work


def require_messages(run: Run) -> None:
    """Refuse a run whose messages only the caller knew who gave them, and one that was forecast.

    Raises:
        ConfigError: it is such a run.
    """
    require_sent(run)
    if run.simulation.messages_from == "caller":
        raise ConfigError(
            f"run {run.id} was sent by send_sms.delay, and its number and text are not kept; "
            f"send it again from there, and end this one with: sms-pipeline cancel {run.id}"
        )


def take_dead_letters(ledger: Ledger, publisher: Publisher, run: Run) -> int:
    """Remove this run's batches from the dead-letter queue; return how many those were.

    They are dispatched again from the ledger, or are settled by now.

    Raises:
        BrokerUnavailableError: the broker can't be reached.
    """
    return publisher.remove_dead_letters(lambda body: is_batch_of(body, ledger.id, run.id))


def await_quiet(
    ledger: Ledger,
    publisher: Publisher,
    run: Run,
    say: Callable[[str], None],
    clock: Clock = MACHINE_CLOCK,
) -> None:
    """Wait until whatever is unsettled must be lost, and is not just waiting.

    That is so when no queue of the run's profiles holds anything and either no worker is online
    or nothing was settled for a while.

    Raises:
        PipelineError: broker or database can't be reached.
    """
    liveness = Liveness()
    attempts, changed_at, told = -1, clock.monotonic(), ""
    for snapshot in readings(lambda: ledger.snapshot(run), _POLL_SECONDS, clock.sleep):
        now = clock.monotonic()
        present = present_workers(snapshot.workers)
        online = liveness.observe(now, present)
        if snapshot.counts.attempts != attempts:
            attempts, changed_at = snapshot.counts.attempts, now
        # What is left in another queue is settled: nothing of its profile is in flight.
        waiting = [counts.profile for counts in snapshot.profiles if counts.in_flight]
        depth = publisher.depth(waiting)
        decided = liveness.is_decided(now, present)
        if not depth and decided:
            quiet = now - changed_at
            if not online or quiet >= quiet_seconds(run.simulation):
                return
        reason = _why_wait(snapshot, depth, bool(online) or not decided)
        if reason != told:
            told = reason
            say(reason)


def quiet_seconds(simulation: Simulation) -> float:
    """How long nothing may be settled while a batch of the run is in play."""
    events = simulation.events
    longest = max(
        (simulation.batch_size_for(profile) / profile.capacity + SLOWEST_MEANS * profile.mean_time)
        * worst_slowdown(events, profile.name)
        for profile in simulation.senders
    )
    return max(QUIET_SECONDS, 2 * longest) + longest_outage(events)


def _why_wait(snapshot: Snapshot, depth: int, maybe_online: bool) -> str:
    if depth and snapshot.control is Control.PAUSED:
        return (
            f"waiting: run {snapshot.run} is paused, so its batches stay in the queues; continue "
            f"it with: sms-pipeline continue {snapshot.run}"
        )
    if depth and not maybe_online:
        held = how_many(depth, "batch", "batches")
        return f"waiting: the queues hold {held}, and no worker is online; --force does not wait"
    if depth:
        return "waiting: the queues still hold batches, which workers will take"
    return "waiting: workers are online and may be playing what is not settled"
