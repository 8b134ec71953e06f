"""The ledger counts every settlement once, whoever sends it, however often."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.records import Absorbed, Control, Run, Settlement
from sms_pipeline.errors import (
    ConfigError,
    LedgerUnavailableError,
    PipelineError,
    UnknownRunError,
)
from sms_pipeline.ledger.steering import claim_rest, unpublished
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.make import NOON, bitmap

PATIENCE_SECONDS = 30


def counts(ledger: Ledger, run: Run, profile: str = "fast") -> ProfileCounts:
    profiles = {one.profile: one for one in ledger.snapshot(run).profiles}
    return profiles[profile]


# Opening


def test_ledger_keeps_its_id(ledger: Ledger, ledger_url: str) -> None:
    assert Ledger.open(ledger_url).id == ledger.id


def test_ledgers_differ(ledger: Ledger, tmp_path: Path) -> None:
    assert Ledger.open(f"sqlite:///{tmp_path / 'other.db'}").id != ledger.id


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hello",
        "mysql://host/db",
        "oracle://host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "amqp://guest:secret@host",
        "postgresql+psycopg2://user:secret@host/db",
        "sqlite+aiosqlite:///x.db",
        "https://user:secret@host/",
        "postgresql://user:secret@host:port/db",
        "mysql://host/db?password=secret",
    ],
)
def test_url_that_is_no_ledgers_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Ledger.open(url)
    message = str(caught.value)
    assert message.startswith("SMS_DATABASE_URL: ")
    assert "sqlite:///FILE" in message
    assert "\n" not in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////no/such/folder/ledger.db",
        "postgresql://user:secret@127.0.0.1:1/db",
        "postgresql://user@127.0.0.1:1/db?password=secret",
    ],
)
def test_unreachable_database(url: str) -> None:
    with pytest.raises(LedgerUnavailableError) as caught:
        Ledger.open(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_file_that_is_no_database(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("long enough to be taken for a database" * 100)
    with pytest.raises(PipelineError) as caught:
        Ledger.open(f"sqlite:///{notes}")
    assert "\n" not in str(caught.value)


def test_ledger_of_another_version_is_refused(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sms_pipeline.ledger.schema.SCHEMA_VERSION", 99)
    with pytest.raises(LedgerUnavailableError, match="another version"):
        Ledger.open(ledger_url)


# Runs


def test_run_is_read_back_as_it_was_started(ledger: Ledger) -> None:
    first = ledger.start_run(make.simulation(num_messages=5), seed=2**63 - 1)
    second = ledger.start_run(make.simulation(), seed=1, embedded=True)
    assert ledger.run(first.id) == first
    assert ledger.run() == second
    assert ledger.runs() == [first, second]
    assert second.embedded


def test_unknown_run(ledger: Ledger) -> None:
    with pytest.raises(UnknownRunError, match="no run yet; start one"):
        ledger.run()
    with pytest.raises(UnknownRunError, match="no run 5"):
        ledger.run(5)


def test_cancelled_run_stays_cancelled(ledger: Ledger, run: Run) -> None:
    for wanted in (Control.PAUSED, Control.RUNNING, Control.CANCELLED):
        assert ledger.control(run.id, wanted) is wanted
    assert ledger.control(run.id, Control.RUNNING) is Control.CANCELLED
    assert ledger.run(run.id).control is Control.CANCELLED
    assert ledger.snapshot(run).control is Control.CANCELLED
    assert ledger.standing((run.id, 0, 0)).control is Control.CANCELLED


# Dispatch


def test_recording_the_same_batches_twice_counts_them_once(ledger: Ledger, run: Run) -> None:
    rows = [make.row(run.id, 0, 0), make.row(run.id, 1, 10, profile="slow")]
    assert ledger.record_batches(run.id, rows)
    assert ledger.record_batches(run.id, rows)
    assert counts(ledger, run, "fast").dispatched == 10
    assert counts(ledger, run, "slow").dispatched == 10
    assert ledger.run(run.id).next_index == 20
    assert ledger.run(run.id).next_batch == 2


def test_second_producer_can_not_record_other_batches_in_the_same_place(
    ledger: Ledger, run: Run
) -> None:
    assert ledger.record_batches(run.id, [make.row(run.id, 0, 0, 10)])
    assert not ledger.record_batches(run.id, [make.row(run.id, 0, 0, 20)])
    assert counts(ledger, run).dispatched == 10


def test_run_starts_with_its_first_dispatch(ledger: Ledger, run: Run) -> None:
    assert ledger.snapshot(run).started_at is None
    ledger.record_batches(run.id, [make.row(run.id, 0, 0, queued_at=NOON)])
    ledger.record_batches(run.id, [make.row(run.id, 1, 10, queued_at=NOON + 5)])
    assert ledger.snapshot(run).started_at == NOON


def test_stuck_are_old_batches_without_a_settled_first_attempt(ledger: Ledger, run: Run) -> None:
    rows = [make.row(run.id, n, 10 * n, queued_at=NOON + n) for n in range(4)]
    ledger.record_batches(run.id, rows)
    ledger.settle([make.settlement(run.id, 0)])
    assert ledger.stuck(run.id, NOON + 3) == {"fast": 20}


def test_unsettled_are_batches_without_a_last_word(ledger: Ledger, run: Run) -> None:
    # Given one batch never settled, one settled, one that left a remainder, one that left none
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(4)])
    left = bitmap(1, 2)
    ledger.settle([make.settlement(run.id, 1)])
    ledger.settle([make.settlement(run.id, 2, delivered=8, retried=2, remainder=left)])
    ledger.settle([make.settlement(run.id, 3, delivered=8, retried=2, remainder=left)])
    ledger.settle([make.settlement(run.id, 3, 1, messages=2, delivered=2, taken=left)])
    # Then the first and the third have an attempt to come
    found = [(one.row.number, one.attempt, one.remainder) for one in ledger.unsettled(run.id)]
    assert found == [(0, 0, None), (2, 1, left)]


def test_unpublished_are_recorded_batches_the_broker_did_not_confirm(
    ledger: Ledger, run: Run
) -> None:
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(3)])
    ledger.mark_published(run.id, [(1, NOON + 1)])
    ledger.mark_published(run.id, [])
    assert [row.number for row in unpublished(ledger, run.id)] == [0, 2]
    assert [(row.number, row.published_at) for row in ledger.dispatches_since(run.id, NOON)] == [
        (1, NOON + 1)
    ]


def test_claimed_rest_is_one_batch_to_the_end(ledger: Ledger, run: Run) -> None:
    ledger.record_batches(run.id, [make.row(run.id, 0, 0, 30)])
    claim_rest(ledger, run)
    claim_rest(ledger, run)
    assert ledger.run(run.id).next_index == run.total
    assert counts(ledger, run, "fast").dispatched == 100


# Settlement


def test_settling_twice_counts_once(ledger: Ledger, run: Run) -> None:
    settlement = make.settlement(run.id, delivery_times={3: 10})
    (first,) = ledger.settle([settlement])
    before = counts(ledger, run)
    (second,) = ledger.settle([settlement])
    assert (first.new, second.new) == (True, False)
    assert counts(ledger, run) == before
    assert (before.attempts, before.delivered, before.delivery_times) == (10, 10, {3: 10})


def test_other_outcome_for_a_settled_attempt_is_thrown_away(ledger: Ledger, run: Run) -> None:
    # Given an attempt of which 3 and 4 are left
    stored = make.settlement(run.id, delivered=8, retried=2, remainder=bitmap(3, 4))
    ledger.settle([stored])
    before = counts(ledger, run)
    # When another worker settles it with another outcome
    other = replace(
        stored, worker="w2", delivered=9, failed=1, retried=0, remainder=None, failed_indexes=[5]
    )
    (answer,) = ledger.settle([other])
    # Then the stored remainder comes back, and nothing else was counted or listed
    assert (answer.remainder, answer.new, answer.superseded) == (bitmap(3, 4), False, False)
    assert counts(ledger, run) == before
    assert list(ledger.failures(run.id)) == []


def test_settled_attempt_is_superseded_by_a_newer_one(ledger: Ledger, run: Run) -> None:
    first = make.settlement(run.id, delivered=8, retried=2, remainder=bitmap(3, 4))
    second = make.settlement(
        run.id, 0, 1, messages=2, delivered=1, retried=1, taken=bitmap(3, 4), remainder=bitmap(4)
    )
    ledger.settle([first])
    ledger.settle([second])
    (answer,) = ledger.settle([first])
    assert (answer.remainder, answer.superseded, answer.new) == (None, True, False)


def test_standing_tells_what_is_settled(ledger: Ledger, run: Run) -> None:
    assert ledger.standing((run.id, 0, 0)).settled is None
    ledger.settle([make.settlement(run.id, delivered=8, retried=2, remainder=bitmap(3, 4))])
    settled = ledger.standing((run.id, 0, 0)).settled
    assert settled is not None
    assert (settled.remainder, settled.superseded, settled.new) == (bitmap(3, 4), False, False)
    assert ledger.standing((run.id, 0, 1)).settled is None
    assert ledger.standing((run.id, 1, 0)).settled is None


def test_newer_settled_attempt_settles_an_older_one(ledger: Ledger, run: Run) -> None:
    ledger.settle([make.settlement(run.id, 0, 1, messages=2, delivered=2, taken=bitmap(3, 4))])
    settled = ledger.standing((run.id, 0, 0)).settled
    assert settled is not None
    assert settled.superseded
    assert settled.remainder is None


def test_standing_of_an_unknown_run(ledger: Ledger) -> None:
    with pytest.raises(UnknownRunError):
        ledger.standing((99, 0, 0))


def test_group_of_new_and_old_is_answered_in_its_order(ledger: Ledger, run: Run) -> None:
    old = make.settlement(run.id, 1, delivered=9, retried=1, remainder=bitmap(7))
    ledger.settle([old])
    group = [
        make.settlement(run.id, 2, delivered=9, retried=1, remainder=bitmap(2)),
        replace(old, delivered=10, retried=0, remainder=None),
        make.settlement(run.id, 0, delivered=9, retried=1, remainder=bitmap(0)),
    ]
    answers = ledger.settle(group)
    assert [(one.remainder, one.new) for one in answers] == [
        (bitmap(2), True),
        (bitmap(7), False),
        (bitmap(0), True),
    ]
    assert counts(ledger, run).attempts == 30


def test_group_is_all_or_nothing(ledger: Ledger, run: Run) -> None:
    # Given a message already listed as failed
    ledger.settle([make.settlement(run.id, 0, delivered=9, failed=1, failed_indexes=[5])])
    before = ledger.snapshot(run)
    # When a group holds a settlement that the database refuses
    good = make.settlement(run.id, 1)
    refused = make.settlement(run.id, 2, delivered=9, failed=1, failed_indexes=[5])
    with pytest.raises(Exception, match="UNIQUE"):
        ledger.settle([good, refused])
    # Then its neighbour was not counted either
    assert ledger.snapshot(run) == before
    (answer,) = ledger.settle([good])
    assert answer.new


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
        for name in ("delivered", "failed", "cancelled", "send_seconds", "delivery_seconds"):
            assert getattr(found, name) == sum(getattr(one, name) for one in mine)
        assert found.attempts == sum(one.messages for one in mine)
        assert found.first_attempts == sum(one.messages for one in mine if one.key[2] == 0)
        assert sum(found.delivery_times.values()) == found.delivered + found.failed
    stored = {one.key: one for one in ledger.settlements_since(run.id, 0)}
    assert stored == {key: replace(one, delivery_times={}) for key, one in first.items()}


def test_failures_are_listed_once_by_index(ledger: Ledger, run: Run) -> None:
    settlement = make.settlement(
        run.id, 2, 3, messages=3, delivered=0, failed=2, expired=1,
        failed_indexes=[29, 21], expired_indexes=[25],
    )  # fmt: skip
    ledger.settle([settlement])
    ledger.settle([settlement])
    listed = [
        (one.message_index, one.batch, one.profile, one.reason, one.attempts, one.failed_at)
        for one in ledger.failures(run.id)
    ]
    assert listed == [
        (21, 2, "fast", "failed", 4, NOON + 1),
        (25, 2, "fast", "expired", 4, NOON + 1),
        (29, 2, "fast", "failed", 4, NOON + 1),
    ]


def test_runs_are_counted_apart(ledger: Ledger, run: Run) -> None:
    other = ledger.start_run(make.simulation(), seed=1)
    ledger.settle([make.settlement(run.id), make.settlement(other.id, delivered=9, failed=1)])
    assert (counts(ledger, run).delivered, counts(ledger, other).delivered) == (10, 9)


def test_answer_after_an_unknown_outcome_is_the_same(ledger: Ledger, run: Run) -> None:
    # A worker that lost the connection during the commit runs the same transaction again
    settlement = make.settlement(run.id, delivered=8, retried=2, remainder=bitmap(3, 4))
    answers = [ledger.settle([settlement])[0].remainder for _ in range(3)]
    assert answers == [bitmap(3, 4)] * 3


# Concurrency


def at_once(calls: list[Callable[[], object]]) -> None:
    """Make all calls at the same moment, each in a thread; errors are raised here."""
    barrier = threading.Barrier(len(calls))

    def wait_and(call: Callable[[], object]) -> object:
        barrier.wait(PATIENCE_SECONDS)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(wait_and, call) for call in calls]:
            future.result(PATIENCE_SECONDS)


def test_two_processes_on_one_file_lose_no_additions(
    ledger: Ledger, ledger_url: str, run: Run
) -> None:
    # Given two ledgers on one file, as two processes have them, and one worker name for both, so
    # that they add to the same rows
    ledgers = [ledger, Ledger.open(ledger_url)]

    def settle(one: Ledger, numbers: range) -> None:
        for number in numbers:
            one.settle([make.settlement(run.id, number, delivery_times={4: 10})])

    at_once(
        [
            lambda one=one, start=start: settle(one, range(start, start + 10))
            for start, one in enumerate(ledgers * 2)
            for start in [start * 10]
        ]
    )
    found = counts(ledger, run)
    assert (found.delivered, found.attempts, found.delivery_times) == (400, 400, {4: 400})


def test_two_processes_with_the_same_settlements_count_each_once(
    ledger: Ledger, ledger_url: str, run: Run
) -> None:
    ledgers = [ledger, Ledger.open(ledger_url)]
    new: list[bool] = []

    def settle(one: Ledger) -> None:
        for number in range(10):
            group = [make.settlement(run.id, number), make.settlement(run.id, number + 10)]
            new.extend(answer.new for answer in one.settle(group))

    at_once([lambda one=one: settle(one) for one in ledgers])
    assert counts(ledger, run).delivered == 200
    assert new.count(True) == 20


def test_two_producers_of_one_run_never_overlap(ledger: Ledger, ledger_url: str, run: Run) -> None:
    ledgers = [ledger, Ledger.open(ledger_url)]

    def dispatch(one: Ledger, size: int) -> None:
        while (now := one.run(run.id)).next_index < run.total:
            size = min(size, run.total - now.next_index)
            one.record_batches(run.id, [make.row(run.id, now.next_batch, now.next_index, size)])

    at_once([lambda one=one, n=n: dispatch(one, n) for one, n in zip(ledgers, (3, 4), strict=True)])
    rows = [entry.row for entry in ledger.unsettled(run.id)]
    indexes = [i for row in rows for i in range(row.first_index, row.first_index + row.size)]
    assert indexes == list(range(run.total))
    assert counts(ledger, run).dispatched == run.total


def test_ledgers_made_at_once_are_one_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    ids: list[str] = []
    at_once([lambda: ids.append(Ledger.open(url).id)] * 4)
    assert len(set(ids)) == 1


def test_ledger_is_made_while_another_connection_writes_to_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(
            "sms_pipeline.config.clock.time.sleep", lambda _: other.execute("COMMIT")
        )
        assert Ledger.open(f"sqlite:///{file}").id


# Workers and readings


def test_workers_join_beat_and_leave(ledger: Ledger) -> None:
    ledger.join("w1", [make.profile("fast", count=3), make.profile("slow")])
    ledger.join("w1", [make.profile("fast", count=3), make.profile("slow")])
    ledger.join("w2", [make.profile("fast")])
    ledger.beat("w1", 5)
    assert [(one.id, one.profile, one.senders, one.heartbeat) for one in ledger.workers()] == [
        ("w1", "fast", 3, 5),
        ("w1", "slow", 1, 5),
        ("w2", "fast", 1, 0),
    ]
    ledger.leave("w1")
    assert [one.id for one in ledger.workers()] == ["w2"]
    assert [one.left_at is None for one in ledger.all_workers()] == [False, False, True]


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
    assert (fast.send_seconds, fast.delivery_seconds) == (2.0, 4.0)
    assert slow == ProfileCounts(profile="slow")
    # When the two are tried again and one fails for good
    last = make.settlement(run.id, 1, 1, messages=2, delivered=1, failed=1, failed_indexes=[11])
    ledger.settle([last])
    fast, _ = ledger.snapshot(run).profiles
    assert (fast.backlog, fast.retrying, fast.finished, fast.failed) == (10, 0, 20, 1)


def test_profile_that_is_not_configured_is_shown_as_well(ledger: Ledger, run: Run) -> None:
    ledger.settle([make.settlement(run.id, profile="guest")])
    assert [one.profile for one in ledger.snapshot(run).profiles] == ["fast", "slow", "guest"]


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


@pytest.mark.parametrize(("messages", "at"), [(1, 5), (10, 5), (11, 7), (20, 7), (21, None)])
def test_it_knows_when_so_many_were_delivered(
    ledger: Ledger, run: Run, messages: int, at: int | None
) -> None:
    # Given settlements that were committed in another order than they were made
    for number, second in ((0, 7), (1, 5)):
        ledger.settle([make.settlement(run.id, number, settled_at=NOON + second)])
    other = ledger.start_run(make.simulation(), seed=1)
    ledger.settle([make.settlement(other.id, settled_at=NOON)])
    assert ledger.delivered_at(run.id, messages) == (None if at is None else NOON + at)
