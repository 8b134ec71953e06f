"""Mistakes that somebody could make who changes the pipeline: the simulation must find each.

Each is planted in the pipeline's own code for the time of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from typing import Any
from unittest import mock

import numpy as np
from celery.exceptions import Reject
from sqlalchemy.dialects.sqlite import insert

from sms_pipeline.core import batch as batches
from sms_pipeline.core import failover, settling
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.core.failover import Failover, HandOver
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.records import Control, Settled, Settlement, Unsettled
from sms_pipeline.ledger import chains, queries, schema, steering, store
from sms_pipeline.ledger import database as databases
from sms_pipeline.ledger.settling import Settling
from sms_pipeline.producer import dispatching, producer, recovery
from sms_pipeline.producer.dispatching import (
    Dispatching,
    MarkPublished,
    PublishFirst,
    RecordBatches,
)
from sms_pipeline.producer.producer import Producer
from sms_pipeline.worker import delivery, process, task
from sms_pipeline.worker.delivery import ReadStanding, Settle
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.writer import LedgerWriter
from tests.simulation import producer as simulated
from tests.simulation.database import database
from tests.simulation.hub import Future
from tests.simulation.worker import WorkerProcess

#: What is put in place of what: (where, name, what).
Change = tuple[Any, str, Any]
Plant = Callable[[], Sequence[Change]]
Steps = Generator[Any, Any, Any]

MISTAKES: dict[str, Plant] = {}


def _mistake(plant: Callable[[], Sequence[Change]]) -> Plant:
    MISTAKES[(plant.__doc__ or "").strip().removesuffix(".")] = plant
    return plant


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Inside the block the pipeline has this mistake."""
    with ExitStack() as stack:
        for where, attribute, what in MISTAKES[name]():
            stack.enter_context(mock.patch.object(where, attribute, what))
        yield


# Acknowledging


@_mistake
def acknowledges_first() -> Sequence[Change]:
    """A batch is acknowledged before it is settled."""
    run_task = WorkerProcess.run_task

    def early(self: WorkerProcess, tag: int, bound: Any, body: Any) -> None:
        self._broker.acknowledge(self.connection, tag)
        run_task(self, tag, bound, body)

    return [(WorkerProcess, "run_task", early)]


@_mistake
def publishes_without_confirm() -> Sequence[Change]:
    """A batch is acknowledged though the publish of its remainder is not confirmed."""

    def publish(bound: Any, parts: Any, effect: Any) -> None:
        try:
            parts.publisher.retry(bound, effect.batch, effect.delay)
        except Exception:
            return

    return [(task, "_publish", publish)]


@_mistake
def does_not_wait_for_the_commit() -> Sequence[Change]:
    """A settlement is answered when it is handed to the writer, not when it is committed."""

    def settle(self: LedgerWriter, settlement: Settlement) -> Settled:
        self._inbox.put((settlement, Future()))
        return Settled(settlement.remainder)

    return [(LedgerWriter, "settle", settle)]


@_mistake
def stops_with_an_acknowledgement() -> Sequence[Change]:
    """A worker that stops acknowledges what it has not done."""
    return [_rejecting(lambda rejection: rejection.requeue and "stops" in str(rejection.reason))]


@_mistake
def acknowledges_foreign_batches() -> Sequence[Change]:
    """A batch of another ledger is acknowledged."""
    return [_rejecting(lambda rejection: "another ledger" in str(rejection.reason))]


def _rejecting(is_acknowledged: Callable[[Reject], bool]) -> Change:
    run_task = WorkerProcess.run_task

    def lenient(self: WorkerProcess, tag: int, bound: Any, body: Any) -> None:
        try:
            run_task(self, tag, bound, body)
        except Reject as rejection:
            if not is_acknowledged(rejection):
                raise

    return (WorkerProcess, "run_task", lenient)


@_mistake
def takes_redelivered_for_done() -> Sequence[Change]:
    """What the broker delivers again is taken for done."""
    run_task = WorkerProcess.run_task

    def hasty(self: WorkerProcess, tag: int, bound: Any, body: Any) -> None:
        if not bound.request.delivery_info["redelivered"]:
            run_task(self, tag, bound, body)

    return [(WorkerProcess, "run_task", hasty)]


@_mistake
def gives_up_on_the_ledger() -> Sequence[Change]:
    """A batch becomes a dead letter when the ledger does not answer."""
    run_task = WorkerProcess.run_task

    def impatient(call: Callable[[], Any], *_: Any) -> Any:
        return call()

    def strict(self: WorkerProcess, tag: int, bound: Any, body: Any) -> None:
        try:
            run_task(self, tag, bound, body)
        except LedgerUnavailableError:
            raise Reject("no ledger", requeue=False) from None

    return [(process, "patiently", impatient), (WorkerProcess, "run_task", strict)]


@_mistake
def accepts_any_ledger() -> Sequence[Change]:
    """A worker judges batches of another ledger."""

    def accept(_worker: Worker, body: object) -> Batch:
        return Batch.from_wire(body)

    return [(Worker, "accept", accept)]


@_mistake
def trusts_the_batch() -> Sequence[Change]:
    """A worker plays what no producer has recorded."""

    def standing(self: Worker, batch: Batch) -> Any:
        return process.patiently(
            lambda: self.ledger.standing(batch.key),
            LedgerUnavailableError,
            process.LEDGER_PAUSES,
            self.stopping,
            lambda *_: None,
        )

    return [(Worker, "_standing", standing)]


# The protocol of a delivery


@_mistake
def publishes_its_own_remainder() -> Sequence[Change]:
    """The remainder that is handed on is the worker's own, not the stored one."""
    attempt = delivery._attempt

    @wraps(attempt)
    def own(*arguments: Any) -> Steps:
        mine: list[Settlement] = []

        def see(effect: Any) -> None:
            if isinstance(effect, Settle):
                mine.append(effect.settlement)

        yield from _seen(attempt(*arguments), see)
        return Settled(mine[0].remainder)

    return [(delivery, "_attempt", own)]


def _seen(steps: Steps, see: Callable[[Any], None]) -> Steps:
    """The same steps; `see` is told each effect."""
    answer: Any = None
    while True:
        try:
            effect = steps.send(answer)
        except StopIteration as end:
            return end.value
        see(effect)
        answer = yield effect


def _ends_when(does: Callable[[Batch, Any], bool]) -> Change:
    """A delivery that ends without doing anything, by what it reads of the batch's standing."""
    deliver = process.deliver

    @wraps(deliver)
    def ended(batch: Batch, *arguments: Any, **options: Any) -> Steps:
        steps = deliver(batch, *arguments, **options)
        effect = next(steps)
        assert isinstance(effect, ReadStanding)
        standing = yield effect
        if does(batch, standing):
            return None
        answer: Any = standing
        while True:
            try:
                effect = steps.send(answer)
            except StopIteration as end:
                return end.value
            answer = yield effect

    return (process, "deliver", ended)


@_mistake
def forgets_the_remainder_when_redelivered() -> Sequence[Change]:
    """A batch that is settled already is acknowledged without publishing its remainder again."""
    return [_ends_when(lambda _batch, standing: standing.settled is not None)]


@_mistake
def drops_what_is_paused() -> Sequence[Change]:
    """A batch of a paused run is not put back."""
    return [_ends_when(lambda _batch, standing: standing.control is Control.PAUSED)]


@_mistake
def drops_retries_of_a_cancelled_run() -> Sequence[Change]:
    """A retry of a cancelled run is dropped, not settled."""
    return [
        _ends_when(
            lambda batch, standing: standing.control is Control.CANCELLED and batch.attempt > 0
        )
    ]


@_mistake
def lets_late_messages_pass() -> Sequence[Change]:
    """A message that was sent after its deadline counts as delivered."""

    def expire(outcomes: Outcomes, ended_at: Any, _due: float) -> Outcomes:
        given_up = np.isnan(ended_at)
        if not given_up.any():
            return outcomes
        return Outcomes(outcomes.durations, outcomes.delivered & ~given_up, given_up)

    return [(delivery, "expire", expire)]


@_mistake
def judges_deadlines_by_its_own_clock() -> Sequence[Change]:
    """A worker whose clock was set meanwhile judges deadlines by it."""
    return [(process, "lead_of", lambda _batch, _clock: 0.0)]


@_mistake
def retries_the_same_attempt() -> Sequence[Change]:
    """A remainder is published under the number of the attempt that left it."""
    remainder = Batch.remainder

    def same(self: Batch, left: Any) -> Batch:
        return remainder(self, left).model_copy(update={"attempt": self.attempt})

    return [(batches.Batch, "remainder", same)]


@_mistake
def settles_for_whom_it_was_meant() -> Sequence[Change]:
    """An attempt that was taken over is settled as if its own profile had made it."""
    settlement_of = delivery.settlement_of

    def own(*arguments: Any) -> Settlement:
        *others, _profile = arguments
        return settlement_of(*others)

    return [(delivery, "settlement_of", own)]


@_mistake
def hands_over_too_late() -> Sequence[Change]:
    """A remainder goes to another profile by the attempt that failed, not by the next one."""

    def late(home: str, attempt: int, rule: Failover | None) -> str:
        return failover.profile_of(home, attempt - 1, rule)

    return [(batches, "profile_of", late)]


@_mistake
def sends_back_to_the_taker() -> Sequence[Change]:
    """What is left of an attempt that was taken over is counted with those who took it."""
    hand_overs = settling.hand_overs

    def one_way(*arguments: Any) -> list[HandOver]:
        return [*hand_overs(*arguments)][:1]

    return [(settling, "hand_overs", one_way)]


# The ledger


@_mistake
def counts_apart() -> Sequence[Change]:
    """Settlements and counters are written in two transactions."""
    settle, count = Settling.settle, Settling._count

    def apart(self: Settling, group: Sequence[Settlement]) -> list[Settled]:
        counted: list[Settlement] = []
        with mock.patch.object(self, "_count", lambda _, new: counted.extend(new)):
            answers = settle(self, group)
        with self._database.writing() as connection:
            count(self, connection, counted)
        return answers

    return [(Settling, "settle", apart)]


@_mistake
def takes_every_settlement_for_new() -> Sequence[Change]:
    """A settlement that is there already is counted once more."""
    insert_new = databases.Database.insert_new

    def all_new(self: Any, connection: Any, table: Any, rows: Any) -> list[Any]:
        insert_new(self, connection, table, rows)
        return [tuple(row[column.name] for column in table.primary_key) for row in rows]

    return [(databases.Database, "insert_new", all_new)]


@_mistake
def answers_with_what_was_asked() -> Sequence[Change]:
    """The ledger answers a repeated settlement with the new remainder, not with the stored one."""
    return [(Settling, "_answer", lambda _self, _connection, one, _new: Settled(one.remainder))]


@_mistake
def keeps_its_link() -> Sequence[Change]:
    """After a transaction of unknown outcome a writer does not read where its chain ends."""
    return [(chains.Writer, "forget", lambda _writer: None)]


@_mistake
def overwrites_counters() -> Sequence[Change]:
    """Counters are overwritten instead of added to."""
    with mock.patch.object(databases, "_added", lambda _column, new: new):
        overwriting = databases._addition(insert(schema.counters))
    parts = database()._ledger._database
    return [(parts, "_additions", parts._additions | {"counters": overwriting})]


@_mistake
def does_not_find_its_own_rows() -> Sequence[Change]:
    """A producer takes batches that it recorded in an unknown transaction for another's."""
    return [(queries, "read_batch", lambda _connection, _row: None)]


@_mistake
def writes_to_a_sealed_run() -> Sequence[Change]:
    """A run that was sealed is written to."""
    return [(queries, "is_sealed", lambda _connection, _run: False)]


# The producer, `resume` and `cancel`


@_mistake
def publishes_before_it_records() -> Sequence[Change]:
    """Batches are published before they are recorded."""

    def send(self: Dispatching, rows: Any) -> Steps:
        published = yield PublishFirst(rows)
        if (yield RecordBatches(rows)):
            yield MarkPublished(published)
        run = yield dispatching.ReadRun()
        self.next_index, self.next_batch = run.next_index, run.next_batch

    return [(Dispatching, "_send", send)]


@_mistake
def ignores_the_other_producer() -> Sequence[Change]:
    """A producer publishes its batches though another one was faster."""

    def send(self: Dispatching, rows: Any) -> Steps:
        yield RecordBatches(rows)
        self.next_index = rows[-1].first_index + rows[-1].size
        self.next_batch = rows[-1].number + 1
        published = yield PublishFirst(rows)
        yield MarkPublished(published)

    return [(Dispatching, "_send", send)]


@_mistake
def publishes_once() -> Sequence[Change]:
    """A producer goes on though a publish was not confirmed."""

    def published(self: Producer, batch: Batch) -> float:
        with suppress(Exception):
            self._publish(batch)
        return self._clock.wall()

    return [(producer.Producer, "_published", published)]


@_mistake
def resumes_as_a_new_attempt() -> Sequence[Change]:
    """`resume` counts what it sends again as a new attempt."""
    next_attempt = producer.next_attempt

    def newer(first: Batch, entry: Unsettled) -> Batch:
        batch = next_attempt(first, entry)
        return batch.at_attempt(batch.attempt + 1, batch.positions())

    return [(producer, "next_attempt", newer)]


@_mistake
def resumes_the_whole_batch() -> Sequence[Change]:
    """`resume` sends whole batches again, not what is left of them."""

    def whole(first: Batch, entry: Unsettled) -> Batch:
        return first.at_attempt(entry.attempt, first.positions()) if entry.attempt else first

    return [(producer, "next_attempt", whole)]


@_mistake
def resume_forgets_retries() -> Sequence[Change]:
    """`resume` sends only what was never settled at all."""
    unsettled = store.Ledger.unsettled

    def first_only(self: store.Ledger, run_id: int) -> list[Unsettled]:
        return [entry for entry in unsettled(self, run_id) if not entry.attempt]

    return [(store.Ledger, "unsettled", first_only)]


@_mistake
def resume_leaves_the_rest() -> Sequence[Change]:
    """`resume` does not dispatch what was never dispatched."""
    again = recovery.dispatch_again

    def work(*arguments: Any) -> Callable[[Producer], None]:
        whole = again(*arguments)

        def part(one: Producer) -> None:
            with mock.patch.object(one, "dispatch", lambda: None):
                whole(one)

        return part

    return [(simulated, "dispatch_again", work)]


@_mistake
def resume_does_not_finish_a_cancel() -> Sequence[Change]:
    """`resume` does not finish a `cancel` that was killed."""
    return [(recovery, "cancel_unpublished", lambda *_: 0)]


@_mistake
def cancel_forgets_the_rest() -> Sequence[Change]:
    """`cancel` does not settle what was never dispatched."""
    return [(steering, "claim_rest", lambda *_: None)]
