"""The counters of a run are the sums of its records."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.records import Absorbed, Run, Settlement
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.trace import settlements_since
from tests.unit import make
from tests.unit.ledger.stored import counts
from tests.unit.make import NOON, bitmap

NUMBERS = ("delivered", "failed", "cancelled")
SETTLEMENTS = st.lists(
    st.builds(
        lambda number, attempt, worker, delivered, failed, cancelled, seconds: make.settlement(
            1,
            number,
            attempt,
            worker=worker,
            profile="slow" if number % 2 else "fast",
            messages=delivered + failed + cancelled,
            delivered=delivered,
            failed=failed,
            cancelled=cancelled,
            retried=0,
            send_seconds=seconds,
            delivery_seconds=2 * seconds,
            transit_seconds=1.5 * seconds,
            longest_delivery=seconds,
            settled_at=NOON + attempt,
            delivery_times=dict.fromkeys(range(delivered + failed), 1),
        ),
        number=st.integers(0, 5),
        attempt=st.integers(0, 3),
        worker=st.sampled_from(["w1", "w2", "w3"]),
        delivered=st.integers(0, 4),
        failed=st.integers(0, 4),
        cancelled=st.integers(0, 4),
        # Eighths add up without rounding, in any order
        seconds=st.integers(0, 100).map(lambda n: n / 8),
    ),
    max_size=12,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(SETTLEMENTS, max_size=4))
def test_counters_are_the_sums_of_the_settlements_that_were_first(
    ledger: Ledger, groups: list[list[Settlement]]
) -> None:
    run = ledger.start_run(make.simulation(), seed=1)
    first: dict[object, Settlement] = {}
    for group in groups:
        distinct = {one.key: replace(one, key=(run.id, *one.key[1:])) for one in group}
        ledger.settle(list(distinct.values()))
        first = {**{one.key: one for one in distinct.values()}, **first}
    for profile in ("fast", "slow"):
        mine = [one for one in first.values() if one.profile == profile]
        found = counts(ledger, run, profile)
        for name in (*NUMBERS, "send_seconds", "delivery_seconds", "transit_seconds"):
            assert getattr(found, name) == sum(getattr(one, name) for one in mine)
        longest = max((one.longest_delivery for one in mine), default=0.0)
        assert found.longest_delivery == longest
        assert found.attempts == sum(one.messages for one in mine)
        assert found.first_attempts == sum(one.messages for one in mine if one.key[2] == 0)
        assert sum(found.delivery_times.values()) == found.delivered + found.failed
    stored = {one.key: one for one in settlements_since(ledger, run.id, 0)}
    # The histogram, and the longest time, are in the counters alone
    assert stored == {
        key: replace(one, delivery_times={}, longest_delivery=0.0) for key, one in first.items()
    }


def test_snapshot_of_a_run_in_progress(ledger: Ledger, run: Run) -> None:
    # Given 30 messages dispatched, of which 10 are delivered, and 10 were tried with 2 left over
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(3)])
    ledger.settle([make.settlement(run.id, 0)])
    ledger.settle([make.settlement(run.id, 1, delivered=8, retried=2, remainder=bitmap(0, 1))])
    snapshot = ledger.snapshot(run)
    fast, slow = snapshot.profiles
    assert (snapshot.run, snapshot.total) == (run.id, 100)
    assert (snapshot.started_at, snapshot.settled_at) == (NOON, NOON + 1)
    assert (fast.dispatched, fast.backlog, fast.retrying) == (30, 10, 2)
    assert (fast.delivered, fast.finished, fast.attempts) == (18, 18, 20)
    assert (fast.send_seconds, fast.delivery_seconds, fast.transit_seconds) == (2.0, 4.0, 3.0)
    assert slow == ProfileCounts(profile="slow")
    # When the two are tried again and one fails for good
    last = make.settlement(run.id, 1, 1, messages=2, delivered=1, failed=1, failed_indexes=[11])
    ledger.settle([last])
    fast, _ = ledger.snapshot(run).profiles
    assert (fast.backlog, fast.retrying, fast.finished, fast.failed) == (10, 0, 20, 1)


def test_profile_that_is_not_configured_is_shown_as_well(ledger: Ledger, run: Run) -> None:
    ledger.settle([make.settlement(run.id, profile="guest")])
    assert [one.profile for one in ledger.snapshot(run).profiles] == ["fast", "slow", "guest"]


def test_counters_of_a_profile_are_the_sums_of_its_workers_in_that_run(
    ledger: Ledger, run: Run
) -> None:
    # Given two runs, of which each counts the same but for what is dispatched
    other = ledger.start_run(make.simulation(num_messages=100), seed=8)
    for one, size in ((run, 30), (other, 50)):
        ledger.record_batches(one.id, [make.row(one.id, 0, 0, size, profile="slow")])
        for number, worker in enumerate(("w1", "w2")):
            settlement = make.settlement(
                one.id, number, profile="slow", worker=worker, messages=15, delivered=1, failed=2,
                expired=3, cancelled=4, retried=5, send_seconds=0.25, delivery_seconds=0.5,
                transit_seconds=0.125, longest_delivery=number + 0.5, delivery_times={7: 2, 9: 1},
            )  # fmt: skip
            again = replace(
                settlement, key=(one.id, number, 1), longest_delivery=0.25, delivery_times={9: 3}
            )
            ledger.settle([settlement])
            ledger.settle([again])
    # Then each profile has the sums over both workers, and where nothing happened, nothing
    fast, slow = ledger.snapshot(run).profiles
    assert fast == ProfileCounts(profile="fast")
    assert slow == ProfileCounts(
        profile="slow", dispatched=30, first_attempts=30, attempts=60, delivered=4, failed=8,
        expired=12, cancelled=16, retried=20, send_seconds=1.0, delivery_seconds=2.0,
        transit_seconds=0.5, longest_delivery=1.5, delivery_times={7: 4, 9: 8},
    )  # fmt: skip


def test_messages_are_whole_numbers_and_times_are_not(ledger: Ledger, run: Run) -> None:
    # Readers write them as they are: 10 messages, not 10.0
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id, delivery_times={3: 10})])
    found = counts(ledger, run)
    for one in fields(found):
        value = getattr(found, one.name)
        if isinstance(value, int | float):
            is_time = one.name.endswith("_seconds") or one.name == "longest_delivery"
            assert type(value) is (float if is_time else int), one.name
    assert {type(messages) for messages in found.delivery_times.values()} == {int}


def test_profile_without_a_dispatched_batch_counts_what_was_settled(
    ledger: Ledger, run: Run
) -> None:
    # Given profiles with batches only, with settlements only, and, not configured, with each
    rows = [make.row(run.id, n, 10 * n, profile=name) for n, name in enumerate(("slow", "b"))]
    ledger.record_batches(run.id, rows)
    ledger.settle([make.settlement(run.id, 2), make.settlement(run.id, 3, profile="a")])
    # Then each has its own, those that are configured come first, in their order
    found = [(one.profile, one.dispatched, one.delivered) for one in ledger.snapshot(run).profiles]
    assert found == [("fast", 0, 10), ("slow", 10, 0), ("b", 10, 0), ("a", 0, 10)]


def test_run_spans_from_its_start_to_its_last_settlement(ledger: Ledger, run: Run) -> None:
    # Given a run dispatched to three profiles, settled by three workers, and another one
    other = ledger.start_run(make.simulation(num_messages=100), seed=8)
    before = ledger.snapshot(run)
    assert (before.started_at, before.settled_at, before.active_at) == (NOON, None, None)
    for number, (profile, at) in enumerate((("fast", 5), ("slow", 2), ("guest", 9))):
        rows = [make.row(run.id, number, 10 * number, profile=profile, queued_at=NOON + at)]
        ledger.record_batches(run.id, rows)
    ledger.record_batches(other.id, [make.row(other.id, queued_at=NOON + 99)])
    # Then something happened when the last batch was dispatched
    assert ledger.snapshot(run).active_at == NOON + 9
    for number, (worker, at) in enumerate((("w1", 20), ("w2", 15), ("w3", 25), ("w2", 30))):
        ledger.settle([make.settlement(run.id, number, worker=worker, settled_at=NOON + at)])
    ledger.settle([make.settlement(other.id, settled_at=NOON + 99)])
    # Then only its own times count, of all profiles and workers
    snapshot = ledger.snapshot(run)
    assert (snapshot.started_at, snapshot.settled_at) == (NOON, NOON + 30)
    assert snapshot.active_at == NOON + 30


@pytest.mark.parametrize("embedded", [False, True])
def test_snapshot_says_what_the_run_is(ledger: Ledger, embedded: bool) -> None:
    run = ledger.start_run(make.simulation(num_messages=100), 7, embedded)
    ledger.join("w1", [make.profile("fast")])
    snapshot = ledger.snapshot(run)
    assert (snapshot.run, snapshot.total, snapshot.seed) == (run.id, 100, 7)
    assert snapshot.embedded is embedded
    assert snapshot.simulation == run.simulation
    assert [one.id for one in snapshot.workers] == ["w1"]


def test_what_came_twice_is_each_workers_last_word(ledger: Ledger, run: Run) -> None:
    redelivered, answered = (run.id, Absorbed.REDELIVERED), (run.id, Absorbed.ANSWERED)
    # Given a worker that writes its sums, again because it did not hear the answer, then anew
    ledger.absorb("w1", {redelivered: (1, 10), answered: (2, 5)})
    ledger.absorb("w1", {redelivered: (1, 10)})
    ledger.absorb("w1", {redelivered: (2, 20), answered: (4, 10)})
    # When another writes its own
    ledger.absorb("w2", {redelivered: (1, 10), answered: (2, 5)})
    # Then the last of each are what counts
    with ledger.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT kind, sum(batches), sum(messages) FROM absorbed GROUP BY kind ORDER BY kind"
        ).all()
    assert [tuple(row) for row in rows] == [("answered", 6, 15), ("redelivered", 3, 30)]
