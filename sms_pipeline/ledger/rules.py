"""The rules of the protocol, as far as the records of a batch show whether they were kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from sms_pipeline.core.bitmap import has_offset
from sms_pipeline.core.counts import of_attempts, of_messages
from sms_pipeline.core.failover import profile_of
from sms_pipeline.core.profiles import MAX_BATCH_SIZE
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.core.records import (
    CANCELLER,
    BatchRow,
    Control,
    Failure,
    Key,
    Run,
    Settlement,
    Steering,
    Step,
)

#: Clocks of two hosts differ by less, or nothing that needs them works; Kerberos allows as much.
CLOCKS_DIFFER_SECONDS = 300.0
#: What is lost in sums of times since the epoch, seconds for each message.
ROUNDING_SECONDS = 1e-5
#: What the user wants of a run after each step; resuming changes nothing of it.
_WANTED = {
    Steering.PAUSED: Control.PAUSED,
    Steering.CONTINUED: Control.RUNNING,
    Steering.CANCELLED: Control.CANCELLED,
}


class Standing:
    """What the records of a run's batches are held against."""

    def __init__(self, run: Run, workers: frozenset[tuple[str, str]]) -> None:
        """`workers` is (worker, profile) of all that ever joined."""
        simulation = run.simulation
        self.run = run
        self.workers = workers
        self._sizes = {one.name: simulation.batch_size_for(one) for one in simulation.senders}
        #: Profiles configured, and those that workers brought.
        self.profiles = self._sizes.keys() | {profile for _, profile in workers}

    @property
    def is_cancelled(self) -> bool:
        return self.run.control is Control.CANCELLED

    def batch_limit(self, name: str) -> int:
        """Messages that a batch of that profile may hold."""
        return self._sizes.get(name, MAX_BATCH_SIZE)


def of_run(run: Run, steps: Sequence[Step]) -> Iterator[str]:
    """What is wrong with the run itself, and with how it was steered."""
    simulation = run.simulation
    if run.total != simulation.num_messages:
        configured = f"{simulation.num_messages:,} are configured"
        yield f"the run has {of_messages(run.total)}, but {configured}"
    if simulation.seed not in (None, run.seed):
        yield f"the run has seed {run.seed}, but {simulation.seed} is configured"
    wanted = Control.RUNNING
    for step in steps:
        if step.at < run.started_at - CLOCKS_DIFFER_SECONDS:
            yield f"the run was {step.what} {_earlier(run.started_at, step.at)} it was started"
        if step.idle_seconds < 0:
            yield f"the run was {step.what} after {step.idle_seconds:g} s of rest"
        if wanted is Control.CANCELLED and step.what is not Steering.RESUMED:
            yield f"the run was {step.what} after it was cancelled"
        wanted = _WANTED.get(step.what, wanted)
    for before, after in pairwise(steps):
        if after.at < before.at - CLOCKS_DIFFER_SECONDS:
            yield f"the run was {after.what} {_earlier(before.at, after.at)} it was {before.what}"
    if wanted is not run.control:
        yield f"the run is {run.control}, but by its steps it would be {wanted}"


def of_batch(standing: Standing, batch: BatchRow, chain: Sequence[Settlement]) -> Iterator[str]:
    """Where, when and how large it may be."""
    where, run = f"batch {batch.number}", standing.run
    if batch.profile not in standing.profiles:
        yield f"{where}: nobody knows the profile {batch.profile!r}"
    limit = standing.batch_limit(batch.profile)
    if batch.size > limit and not _is_claimed(standing, chain):
        yield f"{where}: {of_messages(batch.size)}, but {limit:,} are allowed"
    if batch.queued_at < run.started_at - CLOCKS_DIFFER_SECONDS:
        yield f"{where}: queued {_earlier(run.started_at, batch.queued_at)} the run was started"
    published_at = batch.published_at
    if published_at is not None and published_at < batch.queued_at - CLOCKS_DIFFER_SECONDS:
        yield f"{where}: published {_earlier(batch.queued_at, published_at)} it was queued"


def _is_claimed(standing: Standing, chain: Sequence[Settlement]) -> bool:
    """Whether it is the rest of a cancelled run, which is claimed as one batch."""
    return standing.is_cancelled and all(one.worker == CANCELLER for one in chain)


def of_chain(standing: Standing, batch: BatchRow, chain: Sequence[Settlement]) -> Iterator[str]:
    """What each attempt may come to, who may make it, and when."""
    before, what = batch.queued_at, "its batch was queued"
    for settlement in chain:
        where = f"batch {batch.number}, attempt {settlement.key[2] + 1}"
        for problem in _of_attempt(standing, batch, settlement):
            yield f"{where}: {problem}"
        if settlement.settled_at < before - CLOCKS_DIFFER_SECONDS:
            yield f"{where}: settled {_earlier(before, settlement.settled_at)} {what}"
        before, what = settlement.settled_at, "the attempt before it"


def _earlier(moment: float, at: float) -> str:
    return f"{moment - at:,.0f} s before"


def _of_attempt(standing: Standing, batch: BatchRow, settled: Settlement) -> Iterator[str]:
    yield from _counts(settled)
    yield from _fates(standing, settled)
    yield from _settler(standing, batch, settled)
    yield from _times(standing.run, batch, settled)
    yield from _on_phone(settled)


_COUNTED = ("messages", "delivered", "failed", "expired", "cancelled", "retried")


def _counts(settled: Settlement) -> Iterator[str]:
    for name in _COUNTED:
        if getattr(settled, name) < 0:
            yield f"{name} is {getattr(settled, name)}"


def _fates(standing: Standing, settled: Settlement) -> Iterator[str]:
    """Who may fail, expire, be cancelled and be tried again."""
    run = standing.run
    if not run.simulation.window:
        # Attempts that a run's hours cut short do not count, and nothing recorded says which.
        yield from _attempts_allowed(run, settled)
    deadline = run.simulation.deadline
    if settled.expired and deadline is None:
        yield f"{of_messages(settled.expired)} expired, but the run has no deadline"
    elif settled.expired and settled.settled_at < (
        run.started_at + (deadline or 0.0) - CLOCKS_DIFFER_SECONDS
    ):
        yield f"{of_messages(settled.expired)} expired before the deadline"
    if settled.cancelled and not standing.is_cancelled:
        yield f"{of_messages(settled.cancelled)} cancelled, but the run never was"
    if settled.cancelled and settled.cancelled != settled.messages:
        yield f"{of_messages(settled.cancelled)} cancelled, but not all {settled.messages:,}"


def _attempts_allowed(run: Run, settled: Settlement) -> Iterator[str]:
    attempt, policy = settled.key[2], run.simulation.retry
    limit = policy.max_attempts
    if limit is not None and attempt >= limit:
        yield f"only {of_attempts(limit)} {'is' if limit == 1 else 'are'} allowed"
    elif policy.allows_after(attempt) and settled.failed:
        yield f"{of_messages(settled.failed)} failed, but another attempt was allowed"
    elif not policy.allows_after(attempt) and settled.retried:
        yield f"{of_messages(settled.retried)} left, but no other attempt is allowed"


def _settler(standing: Standing, batch: BatchRow, settled: Settlement) -> Iterator[str]:
    failover = standing.run.simulation.failover
    meant_for = profile_of(batch.profile, settled.key[2], failover)
    if settled.profile != meant_for and (failover is None or failover.unattended is None):
        yield f"made by {settled.profile!r}, but meant for {meant_for!r}, and nobody may take over"
    if settled.worker == CANCELLER:
        if settled.cancelled != settled.messages or settled.key[2]:
            yield f"{CANCELLER!r} settles only what no worker ever saw"
    elif (settled.worker, settled.profile) not in standing.workers:
        yield f"settled by {settled.worker!r}, which never joined for {settled.profile!r}"


def _times(run: Run, batch: BatchRow, settled: Settlement) -> Iterator[str]:
    """What can be said of sums of times without those of each message."""
    timed = settled.delivered + settled.failed
    slack = ROUNDING_SECONDS * max(timed, 1)
    for name in ("send_seconds", "delivery_seconds", "transit_seconds"):
        if getattr(settled, name) < 0:
            yield f"{name} is {getattr(settled, name):g}"
    if settled.cancelled and settled.send_seconds:
        yield f"cancelled, but {settled.send_seconds:g} s were spent on it"
    # Both end at the same moments; the one begins at the start, the other at dispatch.
    apart = abs(settled.delivery_seconds - settled.transit_seconds)
    most = timed * abs(batch.queued_at - run.started_at)
    if apart > most + slack:
        yield (
            f"delivery took {settled.delivery_seconds:g} s and transit {settled.transit_seconds:g} "
            f"s, but {of_messages(timed)} can't make them differ by more than {most:g} s"
        )
    deadline = run.simulation.deadline
    if deadline is not None and settled.delivery_seconds > timed * deadline + slack:
        yield f"{of_messages(timed)} took {settled.delivery_seconds:g} s, past the deadline"


def _on_phone(settled: Settlement) -> Iterator[str]:
    """A delivered message has a receipt or none, and is on the phone no sooner than that."""
    known = settled.on_phone
    if known is None:
        return
    if known.delivered != settled.delivered or min(known.receipts, known.missing) < 0:
        yield (
            f"{of_messages(settled.delivered)} delivered, but {known.receipts} with a receipt and "
            f"{known.missing} without"
        )
    if known.seconds < 0:
        yield f"seconds until on the phone is {known.seconds:g}"
    all_known = not known.missing and not settled.failed
    if all_known and known.seconds < settled.delivery_seconds - ROUNDING_SECONDS * known.receipts:
        yield (
            f"on the phone after {known.seconds:g} s, but delivered after "
            f"{settled.delivery_seconds:g} s"
        )


def of_receipts(
    batch: BatchRow, chain: Sequence[Settlement], noted: Iterable[tuple[Key, OnPhone]]
) -> Iterator[str]:
    """Receipts are of an attempt that is settled."""
    settled = {settlement.key for settlement in chain}
    for key, _ in noted:
        if key not in settled:
            yield f"batch {batch.number}: receipts of attempt {key[2] + 1}, which is not settled"


def of_failures(
    batch: BatchRow, chain: Sequence[Settlement], failures: Iterable[Failure]
) -> Iterator[str]:
    """Each message listed as not reached was taken by the attempt that it is said to end with."""
    attempts = {settlement.key[2]: settlement for settlement in chain}
    for failure in failures:
        settled = attempts.get(failure.attempts - 1)
        said = f"batch {batch.number}: message {failure.message_index} listed as {failure.reason}"
        after = f"after {of_attempts(failure.attempts)}, the last of which"
        if settled is None:
            yield f"{said} {after} is not settled"
            continue
        if failure.profile != settled.profile:
            yield f"{said} by {failure.profile!r}, but {settled.profile!r} made its last attempt"
        if failure.failed_at != settled.settled_at:
            yield f"{said} at another time than attempt {failure.attempts} was settled"
        if not _ended(batch, settled, failure.message_index):
            yield f"{said} {after} did not end it"


def _ended(batch: BatchRow, settled: Settlement, index: int) -> bool:
    """Whether the attempt took a message and did not leave it to the next one."""
    offset = index - batch.first_index
    if not 0 <= offset < batch.size:
        # That it is of another batch is named elsewhere.
        return True
    taken, left = settled.taken, settled.remainder
    return (taken is None or has_offset(taken, offset)) and not (
        left is not None and has_offset(left, offset)
    )
