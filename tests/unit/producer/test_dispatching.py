"""The protocol of a producer: what it asks for, when, and what it does with the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sms_pipeline.core.events import Event
from sms_pipeline.core.records import Control, Run, Snapshot, Unsettled
from sms_pipeline.core.routing import Load
from sms_pipeline.core.steps import drive
from sms_pipeline.producer import dispatching
from sms_pipeline.producer.dispatching import (
    POLL_SECONDS,
    STUCK_PERIOD_SECONDS,
    Dispatching,
    Effect,
    MarkPublished,
    PublishAgain,
    PublishFirst,
    ReadOrigin,
    ReadRun,
    ReadSnapshot,
    ReadStuck,
    RecordBatches,
    Say,
    Wait,
    first_attempt,
    next_attempt,
)
from sms_pipeline.producer.load import Loads
from sms_pipeline.testing.clock import ManualClock
from tests.unit import make
from tests.unit.make import NOON

#: One sender that delivers ten a second may have 3 batches and 5 s of work before it: not more.
PROFILE = make.profile("fast", failure_rate=0)


class Shell:
    """Answers the effects of a producer whose one worker is online, and notes them.

    A second passes with each wait.
    """

    def __init__(self, **values: Any) -> None:
        simulation = make.simulation(**{"senders": (PROFILE,), "batch_size": 10, **values})
        self.run = Run(1, NOON, 7, simulation.num_messages, simulation)
        self.clock = ManualClock(NOON, monotonic=50.0)
        self.loads = Loads(simulation, trusted=("w1",))
        self.dispatching = Dispatching(self.run, self.loads, self.clock)
        #: (seconds since the start, effect)
        self.asked: list[tuple[float, Effect]] = []
        #: What the ledger holds: messages dispatched and settled.
        self.dispatched = self.settled = 0
        self.control = Control.RUNNING
        self.answers: dict[type, Callable[[Any], Any]] = {
            ReadSnapshot: lambda _: self._snapshot(),
            ReadStuck: lambda _: {},
            RecordBatches: self._record,
            PublishFirst: lambda effect: [(row.number, NOON + 1) for row in effect.rows],
            Wait: lambda _: self.clock.advance(1.0),
        }

    def _snapshot(self) -> Snapshot:
        settled = {"first_attempts": self.settled, "attempts": self.settled}
        counts = make.counts(dispatched=self.dispatched, **settled)
        worker = make.worker("w1", senders=1, failure_rate=0.0)
        return make.snapshot(counts, workers=(worker,), control=self.control)

    def _record(self, effect: RecordBatches) -> bool:
        self.dispatched += sum(row.size for row in effect.rows)
        return True

    def dispatch(self, seconds: float = 60.0) -> None:
        """Let it dispatch; its run is cancelled when so much time has passed."""

        def perform(effect: Effect) -> Any:
            passed = self.clock.monotonic() - 50.0
            self.asked.append((passed, effect))
            if passed >= seconds:
                self.control = Control.CANCELLED
            answer = self.answers.get(type(effect))
            return answer(effect) if answer else None

        drive(self.dispatching.dispatch(), perform)

    def all(self, kind: type) -> list[Any]:
        return [effect for _, effect in self.asked if type(effect) is kind]

    @property
    def kinds(self) -> list[type]:
        return [type(effect) for _, effect in self.asked]


def test_batches_are_recorded_then_published_then_marked() -> None:
    shell = Shell(num_messages=25)
    shell.dispatch()
    assert shell.kinds == [ReadSnapshot, Say, RecordBatches, PublishFirst, MarkPublished, Say]
    (recorded,) = shell.all(RecordBatches)
    assert [(row.number, row.first_index, row.size) for row in recorded.rows] == [
        (0, 0, 10),
        (1, 10, 10),
        (2, 20, 5),
    ]
    assert {row.queued_at for row in recorded.rows} == {NOON}
    assert shell.all(PublishFirst)[0].rows == recorded.rows
    # When the broker confirmed each, as it said itself
    assert shell.all(MarkPublished)[0].published == [(n, NOON + 1) for n in range(3)]
    assert [one.status for one in shell.all(Say)] == [None, None]


def test_it_waits_where_there_is_no_room_and_goes_on_when_there_is() -> None:
    shell = Shell(num_messages=200)

    def settle(effect: Wait) -> None:
        assert effect.seconds == POLL_SECONDS
        shell.clock.advance(1.0)
        shell.settled = min(shell.settled + 10, shell.dispatched)

    shell.answers[Wait] = settle
    shell.dispatch()
    assert shell.dispatched == 200
    assert len(shell.all(Wait)) > 10
    indexes = [row.first_index for one in shell.all(RecordBatches) for row in one.rows]
    assert indexes == list(range(0, 200, 10))


@pytest.mark.parametrize(
    ("batches", "messages", "sizes"),
    [(2, 1_000, [20, 10]), (100, 15, [15, 15]), (100, 10, [10, 10, 10])],
)
def test_what_a_crash_can_leave_unpublished_is_bounded(
    monkeypatch: pytest.MonkeyPatch, batches: int, messages: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(dispatching, "MAX_GROUP", batches)
    monkeypatch.setattr(dispatching, "MAX_GROUP_MESSAGES", messages)
    shell = Shell(num_messages=30, routing="static", batch_size=min(10, messages))
    shell.dispatch()
    groups = [[row.size for row in one.rows] for one in shell.all(RecordBatches)]
    assert max(len(group) for group in groups) <= batches
    # A batch that would pass the limit by a part is still whole
    assert all(sum(group[:-1]) < messages for group in groups)
    assert sum(map(sum, groups)) == 30


def test_another_producer_is_followed() -> None:
    # Given that what was planned first was taken by another
    shell = Shell(num_messages=30)
    shell.answers[RecordBatches] = lambda effect: effect.rows[0].number == 2
    shell.answers[ReadRun] = lambda _: Run(
        1, NOON, 7, 30, shell.run.simulation, next_index=20, next_batch=2
    )
    shell.dispatch()
    # Then nothing of that is published
    (published,) = shell.all(PublishFirst)
    assert [(row.number, row.first_index) for row in published.rows] == [(2, 20)]
    assert shell.dispatching.next_index == 30


def test_what_was_dispatched_before_is_not_dispatched_again() -> None:
    shell = Shell(num_messages=30)
    values = {"next_index": 20, "next_batch": 2}
    run = Run(1, NOON, 7, 30, shell.run.simulation, **values)  # type: ignore[arg-type]
    shell.dispatching = Dispatching(run, shell.loads, shell.clock)
    shell.dispatch()
    (recorded,) = shell.all(RecordBatches)
    assert [(row.number, row.first_index) for row in recorded.rows] == [(2, 20)]


def test_paused_run_plans_nothing() -> None:
    shell = Shell(num_messages=30)
    shell.control = Control.PAUSED
    shell.dispatch(seconds=10)
    assert set(shell.kinds) == {ReadSnapshot, Say, Wait}
    assert "sms-pipeline continue 1" in shell.all(Say)[0].status


def test_a_pause_is_no_time_in_which_senders_were_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run whose sender makes ten attempts a second, but for an hour in which it is paused
    shell, rates, read = Shell(num_messages=5_000), list[float](), Loads.read

    def noted(loads: Loads, snapshot: Snapshot, now: float) -> list[Load]:
        found = read(loads, snapshot, now)
        rates.extend(load.rate for load in found)
        return found

    def pass_time(_effect: Wait) -> None:
        is_paused = shell.control is Control.PAUSED
        shell.clock.advance(3_600.0 if is_paused else 1.0)
        shell.settled += 0 if is_paused else 10
        shell.control = Control.PAUSED if len(shell.all(Wait)) == 10 else Control.RUNNING

    monkeypatch.setattr(Loads, "read", noted)
    shell.answers[Wait] = pass_time
    # When it goes on
    shell.dispatch(seconds=3_620)
    # Then they are thought to be as fast as before
    assert set(rates) == {10.0}


def test_paused_run_that_another_producer_dispatched_is_not_waited_for() -> None:
    # Given two producers of a run; the other one dispatched the rest before it was paused
    shell = Shell(num_messages=30)
    shell.control, shell.dispatched = Control.PAUSED, 30
    shell.dispatch()
    # Then this one has nothing left to wait for: its workers may end the run while it is paused
    assert shell.kinds == [ReadSnapshot, Say]
    assert shell.dispatching.next_index == 30


# Stuck batches


def test_old_batches_are_looked_for_now_and_then() -> None:
    shell = Shell(num_messages=1_000, stuck_after=30.0)
    shell.dispatch(seconds=12)
    looked = [(passed, effect) for passed, effect in shell.asked if isinstance(effect, ReadStuck)]
    assert looked == [
        (passed, ReadStuck(NOON + passed - 30.0))
        for passed in (STUCK_PERIOD_SECONDS, 2 * STUCK_PERIOD_SECONDS)
    ]


@pytest.mark.parametrize(("stuck", "goes_on"), [("fast", True), ("slow", False)])
def test_old_batches_do_not_block_their_profile(stuck: str, goes_on: bool) -> None:
    # Given a profile that is full, and whose batches no worker settles
    shell = Shell(num_messages=1_000)
    shell.answers[ReadStuck] = lambda _: {stuck: shell.dispatched}
    shell.dispatch(seconds=12)
    # Then it gets others once those count as lost
    times = [passed for passed, effect in shell.asked if isinstance(effect, RecordBatches)]
    assert times == [0.0, *([STUCK_PERIOD_SECONDS, 2 * STUCK_PERIOD_SECONDS] * goes_on)]


def test_static_routing_does_not_look_for_old_batches() -> None:
    shell = Shell(num_messages=1_000, routing="static", batch_size=1)
    shell.answers[RecordBatches] = lambda effect: shell.clock.advance(10) or shell._record(effect)  # type: ignore[func-returns-value]
    shell.dispatch(seconds=1_000)
    assert shell.dispatched == 1_000
    assert ReadStuck not in shell.kinds


# Again


def test_what_is_published_again_is_marked_and_counted() -> None:
    entries = [Unsettled(make.row(1, number, 10 * number), 0, None) for number in range(2)]
    shell = Shell()
    asked: list[Effect] = []

    def perform(effect: Effect) -> Any:
        asked.append(effect)
        return [(7, NOON)] if isinstance(effect, PublishAgain) else None

    assert drive(shell.dispatching.dispatch_again(entries), perform) == 2
    assert asked == [
        PublishAgain(entries[0]),
        MarkPublished([(7, NOON)]),
        PublishAgain(entries[1]),
        MarkPublished([(7, NOON)]),
    ]


# A bad day

OUTAGE = Event.model_validate({"at": 60, "for": 30, "outage": True})


def test_events_count_from_the_first_batch_of_the_run_however_long_it_takes() -> None:
    shell = Shell(num_messages=100, events=(OUTAGE,))
    shell.answers[ReadOrigin] = lambda _: NOON + 3

    def settle(_effect: Wait) -> None:
        shell.clock.advance(1.0)
        shell.settled = shell.dispatched

    shell.answers[Wait] = settle
    shell.dispatch()
    # Asked for once, when there is one
    assert len(shell.all(ReadOrigin)) == 1
    assert shell.kinds.index(ReadOrigin) == shell.kinds.index(RecordBatches) + 1
    assert len(shell.all(PublishFirst)) > 1
    assert {one.origin for one in shell.all(PublishFirst)} == {NOON + 3}


def test_who_resumes_a_run_asks_when_it_began() -> None:
    shell = Shell(events=(OUTAGE,))
    shell.dispatching.next_batch = 5
    entry = Unsettled(make.row(1, 0), 0, None)
    asked: list[Effect] = []

    def perform(effect: Effect) -> Any:
        asked.append(effect)
        return NOON if isinstance(effect, ReadOrigin) else [(0, NOON)]

    drive(shell.dispatching.dispatch_again([entry]), perform)
    assert asked[:2] == [ReadOrigin(), PublishAgain(entry, NOON)]


def test_every_batch_and_every_attempt_has_the_events_of_the_run() -> None:
    simulation = make.simulation(events=(OUTAGE.model_copy(update={"profile": "slow"}),))
    run = Run(1, NOON, 7, 100, simulation)
    slow = make.row(1, 3, 30, profile="slow", queued_at=NOON + 20)
    first = first_attempt("l", run, slow, origin=NOON + 1)
    again = next_attempt(first, Unsettled(slow, 1, make.bitmap(2, 5)))
    assert [(one.start, one.end, one.out) for one in again.events] == [(NOON + 61, NOON + 91, 1.0)]
    fast = first_attempt("l", run, make.row(1, profile="fast"), origin=NOON + 1)
    assert fast.events == again.events
    assert [one.profile for one in fast.events] == ["slow"]


def test_no_more_is_dispatched_than_its_rate_allows() -> None:
    shell = Shell(num_messages=60, rate=5.0, routing="static")
    shell.dispatch()
    dispatched = [(at, one) for at, one in shell.asked if isinstance(one, RecordBatches)]
    # Each second one batch of as many messages as that second allows
    assert [at for at, _ in dispatched] == list(range(12))
    assert all([row.size for row in one.rows] == [5] for _, one in dispatched)
    # Nothing but a user can change that before
    assert {one.closed_for for one in shell.all(Wait)} == {1.0}
