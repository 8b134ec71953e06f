"""What a worker process is made of, without Celery: turns, the writer, the play of a batch."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from sms_pipeline.config.simulation import RetryPolicy
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.messages import Batch
from sms_pipeline.core.records import Control, Run, Settled, Settlement
from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.errors import (
    BadBatchError,
    ForeignLedgerError,
    LedgerUnavailableError,
    StoppingError,
)
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker import process as worker_module
from sms_pipeline.worker.process import (
    InFlight,
    LedgerWriter,
    SenderDriver,
    Worker,
    expire,
    settlement_of,
    until_reached,
)
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.make import NOON, bitmap

PATIENCE_SECONDS = 30
KEY = (1, 0, 0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


# Turns


class Watched(InFlight):
    """Counts who has asked for a turn, so that a test knows when a thread waits for it."""

    claims = 0

    def _claim(self, key: tuple[int, int, int], mine: Future[bool]) -> Future[bool]:
        claimed = super()._claim(key, mine)
        self.claims += 1
        return claimed


def hold(in_flight: InFlight, fails: bool = False) -> threading.Event:
    """A thread that takes the turn at KEY and keeps it until the event returned is set."""
    has_it, let_go = threading.Event(), threading.Event()

    def work() -> None:
        with suppress(ZeroDivisionError), in_flight.turn(KEY) as mine:
            assert mine
            has_it.set()
            let_go.wait(PATIENCE_SECONDS)
            if fails:
                raise ZeroDivisionError

    threading.Thread(target=work, daemon=True).start()
    assert has_it.wait(PATIENCE_SECONDS)
    return let_go


def take(in_flight: InFlight, key: tuple[int, int, int] = KEY) -> bool:
    with in_flight.turn(key) as mine:
        return mine


def test_turns_follow_one_another() -> None:
    in_flight = InFlight()
    assert [take(in_flight), take(in_flight)] == [True, True]


def test_second_waits_for_the_first_and_learns_that_it_is_done(pool: ThreadPoolExecutor) -> None:
    in_flight = Watched()
    let_go = hold(in_flight)
    others = [pool.submit(take, in_flight) for _ in range(3)]
    wait_until(lambda: in_flight.claims == 4, PATIENCE_SECONDS, "three threads wait")
    let_go.set()
    assert [other.result(PATIENCE_SECONDS) for other in others] == [False] * 3


def test_after_an_error_one_of_those_that_wait_gets_the_turn(pool: ThreadPoolExecutor) -> None:
    in_flight = Watched()
    let_go = hold(in_flight, fails=True)
    other = pool.submit(take, in_flight)
    wait_until(lambda: in_flight.claims == 2, PATIENCE_SECONDS, "another thread waits")
    let_go.set()
    assert other.result(PATIENCE_SECONDS)


def test_attempts_do_not_wait_for_one_another(pool: ThreadPoolExecutor) -> None:
    in_flight = InFlight()
    let_go = hold(in_flight)
    assert pool.submit(take, in_flight, (1, 0, 1)).result(PATIENCE_SECONDS)
    let_go.set()


def test_error_of_the_work_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError), InFlight().turn(KEY):
        raise ZeroDivisionError


# Patience with the ledger


class Pauses(threading.Event):
    """A `stopping` that notes how long it was waited for, and never lets anyone wait."""

    def __init__(self, set_after: int | None = None) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._set_after = set_after

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0)
        return len(self.seconds) == self._set_after


def unreachable(times: int) -> Callable[[], str]:
    """A call that fails so many times, then succeeds."""
    left = [times]

    def call() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise LedgerUnavailableError("away")
        return "here"

    return call


def test_call_is_repeated_until_the_ledger_is_reached() -> None:
    pauses = Pauses()
    assert until_reached(unreachable(8), pauses) == "here"
    assert pauses.seconds == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_patience_ends_when_the_worker_stops() -> None:
    with pytest.raises(StoppingError):
        until_reached(unreachable(8), Pauses(set_after=3))


def test_other_errors_are_not_repeated() -> None:
    def call() -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        until_reached(call, Pauses())


# The ledger writer


class FakeLedger:
    """Takes settlements, except those it refuses; notes what came together."""

    def __init__(self, refused: Sequence[int] = (), away: int = 0) -> None:
        self.groups: list[list[int]] = []
        self._refused = refused
        self._away = away

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        numbers = [one.key[1] for one in group]
        self.groups.append(numbers)
        if self._away:
            self._away -= 1
            raise LedgerUnavailableError("away")
        if set(numbers) & set(self._refused):
            raise ValueError("refused")
        return [Settled(bitmap(number)) for number in numbers]

    def beat(self, worker: str, heartbeat: int) -> None:
        raise LedgerUnavailableError("a heartbeat may be lost")


@pytest.fixture
def settle_all(pool: ThreadPoolExecutor) -> Callable[..., list[Future[Settled]]]:
    """Settle batches 0 … count - 1 as one group with a writer on `ledger`."""

    def run(ledger: FakeLedger, count: int) -> list[Future[Settled]]:
        writer = LedgerWriter(ledger, "w1", lambda: 1, Pauses())  # type: ignore[arg-type]
        futures = []
        for number in range(count):
            futures.append(pool.submit(writer.settle, make.settlement(1, number)))
            wait_until(lambda n=number: writer._inbox.qsize() == n + 1, PATIENCE_SECONDS, "queued")
        writer.start()
        for future in futures:
            future.exception(PATIENCE_SECONDS)
        writer.stop()
        writer.join(PATIENCE_SECONDS)
        assert not writer.is_alive()
        return futures

    return run


def test_what_waits_together_is_committed_together(
    settle_all: Callable[..., list[Future[Settled]]],
) -> None:
    ledger = FakeLedger()
    futures = settle_all(ledger, 5)
    assert ledger.groups == [[0, 1, 2, 3, 4]]
    assert [future.result().remainder for future in futures] == [bitmap(n) for n in range(5)]


def test_settlement_that_the_database_refuses_does_not_take_its_neighbours_along(
    settle_all: Callable[..., list[Future[Settled]]],
) -> None:
    ledger = FakeLedger(refused=[1])
    refused = [type(future.exception()) for future in settle_all(ledger, 3)]
    assert refused == [type(None), ValueError, type(None)]
    assert ledger.groups == [[0, 1, 2], [0], [1], [2]]


def test_group_is_committed_again_while_the_ledger_is_away(
    settle_all: Callable[..., list[Future[Settled]]],
) -> None:
    ledger = FakeLedger(away=3)
    futures = settle_all(ledger, 2)
    assert ledger.groups == [[0, 1]] * 4
    assert [future.result().remainder for future in futures] == [bitmap(0), bitmap(1)]


def test_groups_are_bounded(
    settle_all: Callable[..., list[Future[Settled]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MAX_GROUP", 2)
    ledger = FakeLedger()
    settle_all(ledger, 5)
    assert ledger.groups == [[0, 1], [2, 3], [4]]


def test_stopped_writer_takes_no_more() -> None:
    writer = LedgerWriter(FakeLedger(), "w1", lambda: 1, Pauses())  # type: ignore[arg-type]
    writer.start()
    writer.stop()
    writer.join(PATIENCE_SECONDS)
    with pytest.raises(StoppingError):
        writer.settle(make.settlement(1))


# What an attempt came to


def outcomes(delivered: Sequence[bool], seconds: float = 0.5) -> Outcomes:
    return Outcomes(np.full(len(delivered), seconds), np.array(delivered))


def ended(batch: Batch, *seconds: float) -> np.ndarray:
    return batch.queued_at + np.array(seconds)


def test_settlement_of_a_first_attempt() -> None:
    batch = make.batch(4, first_index=100)
    found = settlement_of(
        batch, outcomes([True, False, True, False]), ended(batch, 1, 2, 3, 4), "w1"
    )
    assert (found.key, found.profile, found.worker) == ((1, 0, 0), "fast", "w1")
    assert (found.messages, found.delivered, found.failed, found.retried) == (4, 2, 0, 2)
    assert (found.remainder, found.taken) == (bitmap(1, 3, size=4), None)
    assert found.send_seconds == 2.0
    # Only what came to its end: the first and the third, after 1 and 3 seconds
    assert found.delivery_seconds == pytest.approx(4.0)
    assert sum(found.delivery_times.values()) == 2
    assert list(found.failed_indexes) == []


def test_settlement_of_the_last_attempt_at_a_remainder() -> None:
    policy = RetryPolicy(max_attempts=2)
    batch = make.batch(10, first_index=100, retry=policy).remainder(np.array([2, 5, 9]))
    found = settlement_of(batch, outcomes([True, False, False]), ended(batch, 1, 2, 4), "w1")
    assert (found.key, found.messages) == ((1, 0, 1), 3)
    assert (found.delivered, found.failed, found.retried) == (1, 2, 0)
    assert (found.taken, found.remainder) == (bitmap(2, 5, 9), None)
    assert list(found.failed_indexes) == [105, 109]
    assert found.delivery_seconds == pytest.approx(7.0)


def test_settlement_without_losses_leaves_no_remainder() -> None:
    batch = make.batch(2)
    found = settlement_of(batch, outcomes([True, True]), ended(batch, 1, 1), "w1")
    assert (found.delivered, found.retried, found.remainder) == (2, 0, None)


def test_clock_behind_the_producers_gives_no_negative_time() -> None:
    batch = make.batch(2)
    found = settlement_of(batch, outcomes([True, True]), ended(batch, -5, 1), "w1")
    assert found.delivery_seconds == pytest.approx(1.0)


def test_what_comes_too_late_is_expired_and_not_retried() -> None:
    # Given a message in time, one delivered late, one failed late, and one never started
    batch = make.batch(4, first_index=100)
    ends = ended(batch, 1, 9, 9, math.nan)
    # When the deadline is at 5 s
    found = expire(outcomes([True, True, False, True]), ends, NOON + 5)
    settlement = settlement_of(batch, found, ends, "w1")
    # Then all but the first are expired, and the last took no sender any time
    assert (settlement.delivered, settlement.expired) == (1, 3)
    assert (settlement.failed, settlement.retried, settlement.remainder) == (0, 0, None)
    assert list(settlement.expired_indexes) == [101, 102, 103]
    assert settlement.send_seconds == 0.5
    assert settlement.delivery_seconds == pytest.approx(1.0)


def test_in_time_nothing_expires() -> None:
    before = outcomes([True, False])
    assert expire(before, np.array([NOON, NOON + 5]), NOON + 5) is before


def test_cancelled_attempt_sends_nothing(ledger: Ledger) -> None:
    # Given an attempt at a remainder, and senders that must not be asked
    run = ledger.start_run(make.simulation(), 1)
    profile = make.profile("fast")
    worker = Worker(ledger, [profile])
    worker.start()
    batch = make.batch(10, run=run.id, ledger=ledger.id).remainder(np.array([2, 5, 9]))
    try:
        worker.cancel(batch)
    finally:
        worker.stop()
    # Then all it took is cancelled, and nothing is left
    (found,) = ledger.settlements_since(run.id, 0)
    assert (found.messages, found.cancelled, found.delivered, found.retried) == (3, 3, 0, 0)
    assert (found.taken, found.remainder, found.send_seconds) == (bitmap(2, 5, 9), None, 0.0)


# The sender driver


def test_driver_plays_on_the_real_clock() -> None:
    driver = SenderDriver({"fast": SenderBank(1)})
    driver.start()
    began = time.monotonic()
    ends = driver.play("fast", np.array([0.01, 0.02]))
    assert ends[0] >= began + 0.01
    assert ends[1] == ends[0] + 0.02
    assert time.monotonic() >= ends[1]
    driver.stop()
    driver.join(PATIENCE_SECONDS)


def test_stopped_driver_tells_those_that_wait(pool: ThreadPoolExecutor) -> None:
    driver = SenderDriver({"fast": SenderBank(1)})
    waiting = pool.submit(driver.play, "fast", np.array([1e9]))
    wait_until(lambda: driver._waiting, PATIENCE_SECONDS, "the message is in play")
    driver.start()
    driver.stop()
    with pytest.raises(StoppingError):
        waiting.result(PATIENCE_SECONDS)
    driver.join(PATIENCE_SECONDS)
    with pytest.raises(StoppingError):
        driver.play("fast", np.array([1.0]))


# The worker


class Scripted:
    """A gateway that needs no time and lets the first messages of each attempt fail."""

    failures = 2

    def __init__(self, _profile: object) -> None:
        self.batches: list[Batch] = []

    def attempt(self, batch: Batch) -> Outcomes:
        delivered = np.arange(batch.count) >= self.failures
        return Outcomes(np.zeros(batch.count), delivered)


@pytest.fixture
def worker(ledger: Ledger) -> Iterator[Worker]:
    """A started worker of profile `fast`."""
    made = Worker(ledger, [make.profile("fast", mean_time=0)], Scripted)
    made.start()
    yield made
    made.stop()


def dispatched(ledger: Ledger, run: Run, size: int = 10) -> Batch:
    return make.batch(size, ledger=ledger.id, run=run.id, queued_at=time.time())


def test_batch_is_played_and_settled_to_its_end(worker: Worker, ledger: Ledger, run: Run) -> None:
    # Given a batch of ten, of which two fail in each attempt
    batch = worker.accept(dispatched(ledger, run).to_wire())
    remainders = []
    # When it is played, and its remainders until none is left
    while (settled := worker.play(batch)).remainder:
        remainders.append(settled.remainder)
        batch = batch.remainder(
            np.flatnonzero(np.unpackbits(np.frombuffer(settled.remainder, "u1")))
        )
    # Then eight are delivered and two are out of attempts, listed by index
    assert remainders == [bitmap(0, 1)] * 3
    fast, _ = ledger.snapshot(run).profiles
    assert (fast.delivered, fast.failed, fast.retried, fast.attempts) == (8, 2, 6, 16)
    assert [(one.message_index, one.attempts) for one in ledger.failures(run.id)] == [
        (0, 4),
        (1, 4),
    ]


def test_attempt_settled_before_is_answered_from_the_ledger(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    batch = dispatched(ledger, run)
    assert worker.standing(batch).settled is None
    worker.play(batch)
    settled = worker.standing(batch).settled
    assert settled is not None
    assert (settled.new, settled.remainder) == (False, bitmap(0, 1))


def test_attempt_that_another_worker_settled_meanwhile_counts_as_the_other_had_it(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    batch = dispatched(ledger, run)
    stored = make.settlement(run.id, worker="w2", delivered=9, retried=1, remainder=bitmap(7))
    ledger.settle([stored])
    settled = worker.play(batch)
    assert (settled.new, settled.remainder) == (False, bitmap(7))
    assert ledger.snapshot(run).profiles[0].delivered == 9


def test_hook_hears_of_new_settlements_only(ledger: Ledger, run: Run) -> None:
    heard: list[Batch] = []
    profile = make.profile("fast", mean_time=0)
    worker = Worker(ledger, [profile], Scripted, lambda batch, _: heard.append(batch))
    worker.start()
    batch = dispatched(ledger, run)
    for _ in range(2):
        worker.play(batch)
    worker.stop()
    assert heard == [batch]


def test_message_whose_deadline_has_passed_is_not_sent(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    old = dispatched(ledger, run).model_copy(update={"queued_at": NOON, "deadline": 60.0})
    assert worker.play(old).remainder is None
    fast, _ = ledger.snapshot(run).profiles
    assert (fast.delivered, fast.expired, fast.retried, fast.send_seconds) == (0, 10, 0, 0)


def test_batch_of_a_cancelled_run_is_settled_without_sending(
    worker: Worker, ledger: Ledger, run: Run
) -> None:
    ledger.control(run.id, Control.CANCELLED)
    batch = dispatched(ledger, run)
    assert worker.standing(batch).control is Control.CANCELLED
    assert worker.cancel(batch).remainder is None
    fast, _ = ledger.snapshot(run).profiles
    assert (fast.delivered, fast.cancelled, fast.finished) == (0, 10, 10)


def test_batch_of_another_ledger_is_not_judged(worker: Worker, ledger: Ledger, run: Run) -> None:
    body = {**dispatched(ledger, run).to_wire(), "ledger": "another"}
    with pytest.raises(ForeignLedgerError, match="SMS_DATABASE_URL"):
        worker.accept(body)


def test_batch_of_another_profile_is_refused(worker: Worker, ledger: Ledger, run: Run) -> None:
    body = {**dispatched(ledger, run).to_wire(), "profile": "slow"}
    with pytest.raises(BadBatchError, match="'slow'"):
        worker.accept(body)


def test_batch_of_an_unknown_run_is_refused(worker: Worker, ledger: Ledger, run: Run) -> None:
    batch = dispatched(ledger, run).model_copy(update={"run": 99})
    with pytest.raises(BadBatchError, match="no run 99"):
        worker.standing(batch)


def test_worker_signs_on_and_off(ledger: Ledger) -> None:
    worker = Worker(ledger, [make.profile("fast", count=3), make.profile("slow")])
    worker.start()
    assert [(row.id, row.profile, row.senders) for row in ledger.workers()] == [
        (worker.id, "fast", 3),
        (worker.id, "slow", 1),
    ]
    worker.stop()
    assert ledger.workers() == ()
    with pytest.raises(StoppingError):
        worker.play(make.batch())


def test_heartbeat_moves_while_the_driver_lives(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "HEARTBEAT_SECONDS", 0.01)
    worker = Worker(ledger, [make.profile()])
    worker.start()
    first = wait_until(lambda: ledger.workers()[0].heartbeat, PATIENCE_SECONDS, "it is written")
    wait_until(lambda: ledger.workers()[0].heartbeat > first, PATIENCE_SECONDS, "it grows")
    worker.stop()


def test_worker_ids_differ_in_one_process(ledger: Ledger) -> None:
    assert Worker(ledger, []).id != Worker(ledger, []).id
