"""The producer dispatches every message once, where there is room, whatever fails meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.errors import LedgerUnavailableError, StoppingError
from sms_pipeline.core.messages import SEPARATOR, make_columns
from sms_pipeline.core.patience import Pauses
from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger.steering import unpublished
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer import dispatching
from sms_pipeline.producer import producer as producer_module
from sms_pipeline.producer.dispatching import STUCK_PERIOD_SECONDS, first_attempt
from sms_pipeline.producer.load import OBSERVE_SECONDS, Loads, Observed
from sms_pipeline.producer.producer import Producer
from sms_pipeline.testing.broker import InMemoryBroker
from sms_pipeline.testing.clock import ManualClock
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.make import NOON, bitmap

PATIENCE_SECONDS = 30


class Broker(InMemoryBroker):
    """Knows which messages it was given."""

    def indexes(self, profile: str | None = None) -> list[int]:
        return [
            batch.first_index + offset
            for batch in self.published
            if profile in (None, batch.profile)
            for offset in batch.positions().tolist()
        ]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr(producer_module, "PAUSES", Pauses(0.001, 0.002))
    monkeypatch.setattr(dispatching, "POLL_SECONDS", 0.001)
    # One at a time, so that the order in which batches arrive says something.
    monkeypatch.setattr(producer_module, "PUBLISHERS", 1)
    return Broker()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def start_run(ledger: Ledger, **values: Any) -> Run:
    return ledger.start_run(make.simulation(**values), seed=7)


def producer(
    ledger: Ledger, broker: Broker, run: Run, on_status: Callable[[str], None] | None = None
) -> Producer:
    return Producer(ledger, broker.publish, run, Loads(run.simulation), on_status)


# Dispatch


@pytest.mark.parametrize("routing", ["adaptive", "static"])
@pytest.mark.parametrize("batch_size", [1, 7, "auto"])
def test_every_message_is_dispatched_once_in_order(
    ledger: Ledger, broker: Broker, routing: str, batch_size: int | str
) -> None:
    run = start_run(ledger, num_messages=30, routing=routing, batch_size=batch_size)
    producer(ledger, broker, run).dispatch()
    assert broker.indexes() == list(range(30))
    columns = make_columns(7, 0, 30, 100, "xxx-xxx-xxxx")
    assert SEPARATOR.join(batch.to for batch in broker.published) == columns.to
    assert SEPARATOR.join(batch.text for batch in broker.published) == columns.text
    assert sum(one.dispatched for one in ledger.snapshot(run).profiles) == 30
    assert unpublished(ledger, run.id) == []


def test_publishers_at_once_publish_every_message_once(
    ledger: Ledger, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "PUBLISHERS", 4)
    run = start_run(ledger, num_messages=300, routing="static", batch_size=1)
    producer(ledger, broker, run).dispatch()
    assert sorted(broker.indexes()) == list(range(300))
    assert unpublished(ledger, run.id) == []


def test_static_routing_shares_by_capacity_and_knows_no_cap(ledger: Ledger, broker: Broker) -> None:
    senders = (
        make.profile("fast", count=3, failure_rate=0), make.profile("slow", failure_rate=0)
    )  # fmt: skip
    run = start_run(ledger, num_messages=4_000, routing="static", senders=senders, batch_size=10)
    producer(ledger, broker, run).dispatch()
    assert len(broker.indexes("fast")) == pytest.approx(3_000, abs=20)


def test_adaptive_routing_fills_to_the_caps_and_goes_on_as_work_is_settled(
    ledger: Ledger, broker: Broker, pool: ThreadPoolExecutor
) -> None:
    # Given one sender that delivers 10 a second, and nobody online yet
    profile = make.profile("fast", failure_rate=0)
    run = start_run(ledger, num_messages=200, batch_size=10, senders=(profile,))
    said: list[str] = []
    work = producer(ledger, broker, run, said.append)
    dispatched = pool.submit(work.dispatch)
    # When it fills the cap: 3 for the sender and 5 s of its work
    wait_until(lambda: len(said) == 1, PATIENCE_SECONDS, "the producer says that it waits")
    wait_until(lambda: len(broker.published) == 5, PATIENCE_SECONDS, "the cap is reached")
    # Then each settled batch makes room for another
    for number in range(20):
        wait_until(lambda n=number: len(broker.published) > n, PATIENCE_SECONDS, "a batch")
        assert len(broker.published) <= number + 5
        ledger.settle([make.settlement(run.id, number)])
    dispatched.result(PATIENCE_SECONDS)
    assert broker.indexes() == list(range(200))
    assert ["no sender online" in status for status in said] == [True]


def test_publish_is_repeated_until_the_broker_takes_it(ledger: Ledger, broker: Broker) -> None:
    broker.refusals = 3
    said: list[str] = []
    run = start_run(ledger, num_messages=5, batch_size=5)
    producer(ledger, broker, run, said.append).dispatch()
    assert broker.indexes() == list(range(5))
    # Told once, not at every try
    assert [line for line in said if "the broker takes" in line] == [
        "the broker takes no messages (the broker refuses); trying again"
    ]


def test_ledger_that_is_away_is_waited_for(
    ledger: Ledger, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(ledger, num_messages=5)
    record, away = ledger.record_batches, [True, True]

    def sometimes(*args: Any) -> bool:
        if away:
            away.pop()
            raise LedgerUnavailableError("away")
        return record(*args)

    monkeypatch.setattr(ledger, "record_batches", sometimes)
    producer(ledger, broker, run).dispatch()
    assert broker.indexes() == list(range(5))


def test_who_was_stopped_does_not_say_that_workers_have_left(
    ledger: Ledger, broker: Broker
) -> None:
    said: list[str] = []
    producer(ledger, broker, start_run(ledger, num_messages=5), said.append).dispatch()
    assert "no sender online yet" in said[0]
    work = producer(ledger, broker, start_run(ledger, num_messages=5), said.append)
    work.stop()
    work.dispatch()
    assert len(said) == 1


def test_batches_are_recorded_before_they_are_published(ledger: Ledger, broker: Broker) -> None:
    run = start_run(ledger, num_messages=5, batch_size=5)
    broker.refusals = 1_000_000
    work = producer(ledger, broker, run, lambda status: work.stop() if "broker" in status else None)
    with pytest.raises(StoppingError):
        work.dispatch()
    assert [(row.first_index, row.size) for row in unpublished(ledger, run.id)] == [(0, 5)]


def test_stopped_producer_leaves_a_run_that_another_goes_on_with(
    ledger: Ledger, broker: Broker, pool: ThreadPoolExecutor
) -> None:
    # Given a producer that is stopped while it waits for room
    profile = make.profile("fast", failure_rate=0)
    run = start_run(ledger, num_messages=200, batch_size=10, senders=(profile,))
    work = producer(ledger, broker, run)
    dispatched = pool.submit(work.dispatch)
    wait_until(lambda: len(broker.published) == 5, PATIENCE_SECONDS, "the cap is reached")
    work.stop()
    with pytest.raises(StoppingError):
        dispatched.result(PATIENCE_SECONDS)
    # When another takes over, with the backlog gone
    ledger.settle([make.settlement(run.id, number) for number in range(5)])
    following = producer(ledger, broker, ledger.run(run.id))
    assert following.dispatched == 50
    again = pool.submit(following.dispatch)
    wait_until(lambda: len(broker.published) == 10, PATIENCE_SECONDS, "it goes on")
    following.stop()
    with pytest.raises(StoppingError):
        again.result(PATIENCE_SECONDS)
    # Then no message was left out, and none dispatched twice
    assert broker.indexes() == list(range(100))


def test_producer_of_an_outdated_position_follows_the_other(ledger: Ledger, broker: Broker) -> None:
    run = start_run(ledger, num_messages=30, batch_size=10)
    ledger.record_batches(run.id, [make.row(run.id, 0, 0, 15)])
    producer(ledger, broker, run).dispatch()
    assert broker.indexes() == list(range(15, 30))


def test_cancelled_run_is_not_dispatched(ledger: Ledger, broker: Broker) -> None:
    run = start_run(ledger)
    ledger.control(run.id, Control.CANCELLED)
    producer(ledger, broker, run).dispatch()
    assert broker.published == []


def test_paused_run_waits_and_says_so(
    ledger: Ledger, broker: Broker, pool: ThreadPoolExecutor
) -> None:
    run = start_run(ledger, num_messages=5)
    ledger.control(run.id, Control.PAUSED)
    said: list[str] = []
    dispatched = pool.submit(producer(ledger, broker, run, said.append).dispatch)
    wait_until(lambda: said, PATIENCE_SECONDS, "the producer says that it waits")
    assert "paused" in said[0]
    assert broker.published == []
    ledger.control(run.id, Control.RUNNING)
    dispatched.result(PATIENCE_SECONDS)
    assert broker.indexes() == list(range(5))


def test_unsettled_is_dispatched_again_with_what_is_left_of_it(
    ledger: Ledger, broker: Broker
) -> None:
    # Given a batch that was never settled, and one that left two messages
    run = start_run(ledger, num_messages=20, batch_size=10)
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(2)])
    left = make.settlement(run.id, 1, delivered=8, retried=2, remainder=bitmap(3, 9))
    ledger.settle([left])
    assert producer(ledger, broker, run).dispatch_again(ledger.unsettled(run.id)) == 2
    # Then the whole of the one and the next attempt of the other are published
    whole, rest = broker.published
    assert (whole.attempt, broker.indexes()) == (0, [*range(10), 13, 19])
    assert rest.attempt == 1
    first = first_attempt(ledger.id, run, make.row(run.id, 1, 10), MACHINE_CLOCK.timeline)
    assert rest == first.remainder(np.array([3, 9]))


def test_stuck_batches_are_looked_for_in_the_ledger(
    ledger: Ledger, broker: Broker, pool: ThreadPoolExecutor
) -> None:
    # Given a profile that is full of batches that were dispatched long ago
    profile = make.profile("fast", failure_rate=0)
    run = start_run(ledger, num_messages=200, batch_size=10, senders=(profile,))
    rows = [make.row(run.id, n, 10 * n, queued_at=NOON - 1_000) for n in range(5)]
    ledger.record_batches(run.id, rows)
    clock = ManualClock(NOON)
    said: list[str] = []
    work = Producer(
        ledger,
        broker.publish,
        ledger.run(run.id),
        Loads(run.simulation),
        said.append,
        clock,
    )
    dispatched = pool.submit(work.dispatch)
    wait_until(lambda: said, PATIENCE_SECONDS, "it says that it waits")
    assert broker.published == []
    # When it is time to look for those
    clock.advance(STUCK_PERIOD_SECONDS)
    wait_until(lambda: broker.published, PATIENCE_SECONDS, "others are dispatched")
    # Then they went out at the time that the clock told
    assert {batch.queued_at for batch in broker.published} == {NOON + STUCK_PERIOD_SECONDS}
    work.stop()
    with pytest.raises(StoppingError):
        dispatched.result(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ConnectionError("refused "), "refused"), (TimeoutError(), "TimeoutError")],
)
def test_why_the_broker_takes_nothing_is_said(
    ledger: Ledger, broker: Broker, error: Exception, reason: str
) -> None:
    def publish(_: object) -> None:
        raise error

    said: list[str] = []
    run = start_run(ledger, num_messages=5)

    def say(status: str) -> None:
        said.append(status)
        if "broker" in status:
            work.stop()

    work = Producer(ledger, publish, run, Loads(run.simulation), say)
    with pytest.raises(StoppingError):
        work.dispatch()
    assert said[-1] == f"the broker takes no messages ({reason}); trying again"


def test_ledger_that_is_away_is_told(
    ledger: Ledger, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> None:
        raise LedgerUnavailableError("the ledger is away")

    monkeypatch.setattr(ledger, "snapshot", away)
    said: list[str] = []
    run = start_run(ledger, num_messages=5)

    def say(status: str) -> None:
        said.append(status)
        work.stop()

    work = producer(ledger, broker, run, say)
    with pytest.raises(StoppingError):
        work.dispatch()
    assert said == ["the ledger is away; trying again"]


def test_effect_that_a_producer_does_not_know_is_an_error(ledger: Ledger, broker: Broker) -> None:
    work = producer(ledger, broker, start_run(ledger))
    with pytest.raises(TypeError, match=r"performs: str$"):
        work._perform("dance")  # type: ignore[arg-type]


# Loads


def loads(routing: str = "adaptive") -> Loads:
    return Loads(make.simulation(routing=routing), trusted=("w1", "w2"))


def test_load_of_a_profile_is_that_of_its_online_senders() -> None:
    workers = (make.worker("w1", senders=5), make.worker("w2", senders=15, failure_rate=0.5))
    counts = make.counts("fast", dispatched=40, first_attempts=35)
    snapshot = make.snapshot(counts, make.counts("slow"), workers=workers)
    (load,) = loads().read(snapshot, 0.0)
    assert (load.profile, load.outstanding, load.in_play) == ("fast", 5, 20)
    # 200 attempts a second, of which 5 of 20 senders fail 10 % and 15 of 20 fail 50 %
    assert load.rate == pytest.approx(200 * (1 - 0.4))


def test_workers_with_a_profile_of_their_own_get_work() -> None:
    # Given workers of a configured profile, and others whose profile no file knows
    workers = (
        make.worker("w1", profile="brandnew", senders=4, mean_time=0.5, failure_rate=0.0),
        make.worker("w2", profile="slow", senders=1),
        make.worker("w1", profile="another", senders=1, mean_time=1.0, failure_rate=0.5),
    )
    snapshot = make.snapshot(make.counts("fast"), make.counts("slow"), workers=workers)
    found = loads().read(snapshot, 0.0)
    # Then each has its load, those that are configured first
    assert [(one.profile, one.outstanding, one.in_play) for one in found] == [
        ("slow", 0, 1), ("another", 0, 1), ("brandnew", 0, 4),
    ]  # fmt: skip
    assert [one.rate for one in found[1:]] == [pytest.approx(0.5), pytest.approx(8.0)]
    assert all(one.batch_size >= 1 for one in found)


def test_what_waits_for_a_new_profile_counts_as_any_other() -> None:
    counts = [
        make.counts("fast"), make.counts("slow"),
        make.counts("brandnew", dispatched=40, first_attempts=25),
    ]  # fmt: skip
    snapshot = make.snapshot(*counts, workers=(make.worker(profile="brandnew"),))
    (load,) = loads().read(snapshot, 0.0)
    assert (load.profile, load.outstanding) == ("brandnew", 15)


def test_worker_that_has_signed_off_gets_no_work() -> None:
    workers = (make.worker("w1", left_at=NOON + 1), make.worker("w2", profile="slow"))
    snapshot = make.snapshot(make.counts("fast"), make.counts("slow"), workers=workers)
    assert [one.profile for one in loads().read(snapshot, 0.0)] == ["slow"]


def test_static_routing_takes_no_notice_of_new_profiles() -> None:
    snapshot = make.snapshot(make.counts("fast"), workers=(make.worker(profile="brandnew"),))
    found = loads("static").read(snapshot, 0.0)
    assert [one.profile for one in found] == ["fast", "slow"]


def test_with_nobody_online_every_profile_counts_as_configured() -> None:
    reading = loads()
    found = reading.read(make.snapshot(make.counts("fast"), make.counts("slow")), 0.0)
    assert [(one.profile, one.in_play) for one in found] == [("fast", 1), ("slow", 1)]
    assert not reading.anyone_online


def test_no_load_until_it_is_known_who_is_online() -> None:
    stranger = make.worker("stranger")
    snapshot = make.snapshot(make.counts("fast"), make.counts("slow"), workers=(stranger,))
    assert loads().read(snapshot, 0.0) == []


def test_static_load_is_all_that_was_dispatched() -> None:
    counts = make.counts("fast", dispatched=40, first_attempts=40)
    found = loads("static").read(make.snapshot(counts, make.counts("slow")), 0.0)
    assert [one.outstanding for one in found] == [40, 0]


def test_senders_that_take_no_time_have_an_endless_rate() -> None:
    workers = (make.worker("w1", mean_time=0.0),)
    snapshot = make.snapshot(make.counts("fast"), make.counts("slow"), workers=workers)
    (load,) = loads().read(snapshot, 0.0)
    assert load.rate == math.inf


# The observed rate


def test_rate_is_observed_while_all_senders_have_work() -> None:
    observed = Observed()
    readings = [
        observed.rate(now, "fast", attempts, is_busy=True)
        for now, attempts in (
            (0.0, 100), (OBSERVE_SECONDS / 2, 150), (OBSERVE_SECONDS, 180), (10.0, 500)
        )
    ]  # fmt: skip
    assert readings == [None, None, 80 / OBSERVE_SECONDS, 40.0]


def test_idle_senders_say_nothing_of_the_rate() -> None:
    observed = Observed()
    assert observed.rate(0.0, "fast", 0, is_busy=True) is None
    assert observed.rate(10.0, "fast", 95, is_busy=False) is None
    # And the observation starts anew
    assert observed.rate(20.0, "fast", 95, is_busy=True) is None
    assert observed.rate(21.0, "fast", 95, is_busy=True) is None
