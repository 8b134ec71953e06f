"""The audit finds every way in which a ledger can be wrong, and nothing in one that is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, update

from sms_pipeline.core.records import Absorbed, Run
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.audit import audit, audit_ledger
from sms_pipeline.ledger.scan import Records
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import EXIT_CODES, AuditResult, Verdict
from sms_pipeline.testing.clock import ManualClock
from tests.unit import make
from tests.unit.make import NOON, bitmap

pytestmark = pytest.mark.usefixtures("rules_apart")

#: Two batches of ten. In batch 0 message 3 fails twice and is given up; batch 1 is delivered.
TOTAL = 20


@pytest.fixture
def ended(ledger: Ledger) -> Run:
    run = ledger.start_run(
        make.simulation(num_messages=TOTAL, retry=RetryPolicy(max_attempts=2)),
        seed=1,
        started_at=NOON,
    )
    ledger.join("w1", [make.profile("fast")])
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, first_index=10)])
    ledger.settle(
        [
            make.honest(run.id, 0, 0, delivered=9, retried=1, remainder=bitmap(3)),
            make.honest(run.id, 1, 0),
        ]
    )
    ledger.settle(
        [
            make.honest(
                run.id, 0, 1, messages=1, delivered=0, failed=1, taken=bitmap(3), failed_indexes=[3]
            )
        ]
    )
    return run


def test_a_run_that_ended_well_is_proven(ledger: Ledger, ended: Run) -> None:
    report = audit_ledger(ledger, ended)
    assert report.problems == []
    assert report.verdict is Verdict.PROVEN
    assert (report.run, report.total) == (ended.id, TOTAL)
    assert (report.delivered, report.failed, report.in_flight) == (19, 1, 0)
    assert (report.batches, report.settlements, report.undispatched) == (2, 3, 0)
    assert EXIT_CODES[report.verdict] == 0


def test_what_came_twice_is_reported(ledger: Ledger, ended: Run) -> None:
    ledger.absorb("w1", {(ended.id, Absorbed.REPEATED): (2, 20)})
    ledger.absorb("w2", {(ended.id, Absorbed.REPEATED): (1, 5)})
    assert audit_ledger(ledger, ended).absorbed["repeated"] == (3, 25)


Corruption = Callable[[Connection], Any]
batches, settlements, failures = schema.batches, schema.settlements, schema.failures
counters, times = schema.counters, schema.delivery_times


def _settled(batch: int, attempt: int) -> Any:
    return (settlements.c.batch == batch) & (settlements.c.attempt == attempt)


CORRUPTIONS: dict[str, tuple[Corruption, str]] = {
    "a batch vanished": (
        lambda c: c.execute(delete(batches).where(batches.c.number == 0)),
        "batch 0 is not recorded",
    ),
    "the last batch vanished": (
        lambda c: c.execute(delete(batches).where(batches.c.number == 1)),
        "dispatch stands at message 20",
    ),
    "a gap between batches": (
        lambda c: c.execute(update(batches).where(batches.c.number == 1).values(first_index=11)),
        "messages 10-10 lost",
    ),
    "an overlap of batches": (
        lambda c: c.execute(update(batches).where(batches.c.number == 1).values(first_index=9)),
        "messages 9-9 doubled",
    ),
    "a batch beyond the run": (
        lambda c: c.execute(update(batches).where(batches.c.number == 1).values(size=11)),
        "messages 20-20 doubled",
    ),
    "a first attempt vanished": (
        lambda c: c.execute(delete(settlements).where(_settled(0, 0))),
        "no settlement of attempt 1",
    ),
    "an attempt took less than was left": (
        lambda c: c.execute(
            update(settlements).where(_settled(0, 0)).values(remainder=bitmap(3, 4))
        ),
        "1 message lost and 0 doubled",
    ),
    "an attempt took more than was left": (
        lambda c: c.execute(update(settlements).where(_settled(0, 1)).values(taken=bitmap(3, 4))),
        "0 messages lost and 1 doubled",
    ),
    "an attempt took another message": (
        lambda c: c.execute(update(settlements).where(_settled(0, 1)).values(taken=bitmap(4))),
        "1 message lost and 1 doubled",
    ),
    "an attempt left over what it never took": (
        lambda c: c.execute(
            update(settlements).where(_settled(0, 1)).values(remainder=bitmap(5), retried=1)
        ),
        "left over messages that it never took",
    ),
    "an attempt after the end": (
        lambda c: c.execute(
            update(settlements)
            .where(_settled(0, 0))
            .values(remainder=None, retried=0, delivered=10)
        ),
        "left nothing, yet another attempt is settled",
    ),
    "a delivered message too many": (
        lambda c: c.execute(update(settlements).where(_settled(1, 0)).values(delivered=11)),
        "10 messages, but 11 ended",
    ),
    "messages do not fit what was taken": (
        lambda c: c.execute(update(settlements).where(_settled(1, 0)).values(messages=9)),
        "9 messages, but took 10",
    ),
    "retried does not fit the remainder": (
        lambda c: c.execute(
            update(settlements).where(_settled(0, 0)).values(retried=2, delivered=8)
        ),
        "retried 2, left 1",
    ),
    "a bitmap of another size": (
        lambda c: c.execute(update(settlements).where(_settled(0, 1)).values(taken=b"\x10")),
        "do not fit the size",
    ),
    "a settlement of no batch": (
        lambda c: c.execute(update(settlements).where(_settled(1, 0)).values(batch=7)),
        "settlement of batch 7, which is not recorded",
    ),
    "a failure is not listed": (
        lambda c: c.execute(delete(failures)),
        "1 message failed, but 0 listed",
    ),
    "a failure of another batch": (
        lambda c: c.execute(update(failures).values(message_index=13)),
        "message 13 listed as failed is not its own",
    ),
    "a failure of no batch": (
        lambda c: c.execute(update(failures).values(batch=9)),
        "failure of batch 9, which is not recorded",
    ),
    "a counter counts too much": (
        lambda c: c.execute(update(counters).values(delivered=counters.c.delivered + 1)),
        "counter delivered of fast at w1 is 20",
    ),
    "a counter row vanished": (
        lambda c: c.execute(delete(counters)),
        "counter settlements of fast at w1 is 0",
    ),
    "a histogram counts too much": (
        lambda c: c.execute(update(times).values(messages=times.c.messages + 1)),
        "counter timed of fast at w1 is 21",
    ),
    "a counter of no settlement": (
        lambda c: c.execute(
            insert(times).values(run=1, profile="slow", worker="w9", bucket=1, messages=4)
        ),
        "counter timed of slow at w9 is 4",
    ),
    "dispatch was miscounted": (
        lambda c: c.execute(update(schema.dispatched).values(messages=19)),
        "dispatched to fast: 2 batches of 19 messages counted",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_ledger_is_broken(
    name: str, ledger: Ledger, ended: Run, ledger_url: str
) -> None:
    # Given a ledger in which nothing is wrong
    assert audit_ledger(ledger, ended).verdict is Verdict.PROVEN
    corrupt, expected = CORRUPTIONS[name]

    # When it is corrupted behind its back
    with create_engine(ledger_url).begin() as connection:
        corrupt(connection)

    # Then the audit says so, and what
    report = audit_ledger(ledger, ended)
    assert report.verdict is Verdict.BROKEN
    assert expected in "\n".join(report.problems)
    assert EXIT_CODES[report.verdict] == 4


def test_a_run_in_flight_is_unfinished_not_broken(ledger: Ledger) -> None:
    # Given batches in each state between their record and their end
    simulation = make.simulation(num_messages=60, stuck_after=60)
    run = ledger.start_run(simulation, seed=1)
    rows = [make.row(run.id, number, first_index=10 * number) for number in range(5)]
    ledger.record_batches(run.id, rows)
    ledger.mark_published(run.id, [(1, NOON), (3, NOON)])
    # When one was attempted long after it was dispatched, and no answer of the broker was heard
    left = {"delivered": 8, "retried": 2, "remainder": bitmap(0, 1), "settled_at": NOON + 50}
    ledger.settle([make.honest(run.id, 2, **left)])
    ledger.settle([make.honest(run.id, 3)])

    # And it is looked at soon, later, and after its broker is gone
    found = {seconds: _report(ledger, run, NOON + seconds) for seconds in (10, 60, 100, 110, 111)}
    gone = _report(ledger, run, NOON + 10, lost=True)

    # Then nothing is broken, and each batch is named for what it waits for
    assert {report.verdict for report in (*found.values(), gone)} == {Verdict.UNFINISHED}
    assert {report.in_flight for report in (*found.values(), gone)} == {32}
    assert {report.undispatched for report in (*found.values(), gone)} == {10}
    recorded = {"recorded, but not confirmed by the broker": [0, 4]}
    stuck = "stuck for more than 60 s ('resume' sends them again)"
    assert {seconds: dict(report.unsettled) for seconds, report in found.items()} == {
        10: {**recorded, "in flight": [1, 2]},
        60: {**recorded, "in flight": [1, 2]},
        100: {**recorded, stuck: [1], "in flight": [2]},
        110: {**recorded, stuck: [1], "in flight": [2]},
        111: {**recorded, stuck: [1, 2]},
    }
    assert dict(gone.unsettled) == {
        **recorded,
        "lost with their broker ('resume' sends them again)": [1, 2],
    }
    # And only without its broker it is known that nobody has them
    assert {report.lost for report in found.values()} == {0}
    assert gone.lost == 32


def _report(ledger: Ledger, run: Run, now: float, **values: bool) -> AuditResult:
    with ledger.reading() as connection:
        return audit(Records(connection, run), now, **values)


@pytest.mark.parametrize(
    ("name", "lost", "doubled"),
    [
        # Moved by one, the batch also reaches beyond the run.
        ("a gap between batches", 1, 1),
        ("an overlap of batches", 0, 1),
        ("a batch beyond the run", 0, 1),
        ("an attempt took less than was left", 1, 0),
        ("an attempt took more than was left", 0, 1),
        ("an attempt took another message", 1, 1),
        ("an attempt after the end", 0, 1),
        ("a delivered message too many", 0, 1),
    ],
)
def test_messages_lost_and_doubled_are_counted(
    ledger: Ledger, ledger_url: str, ended: Run, name: str, lost: int, doubled: int
) -> None:
    with create_engine(ledger_url).begin() as connection:
        CORRUPTIONS[name][0](connection)
    report = audit_ledger(ledger, ended)
    assert (report.lost, report.doubled) == (lost, doubled), report.problems


def test_what_is_lost_with_its_broker_is_counted(ledger: Ledger, run: Run) -> None:
    clock = ManualClock(wall=NOON + 1)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.mark_published(run.id, [(0, NOON)])
    for lost, state in ((False, "in flight"), (True, "lost with their broker")):
        report = audit_ledger(ledger, run, lost, clock)
        assert report.to_json()["lost"] == (10 if lost else 0)
        assert [name.partition(" (")[0] for name in report.unsettled] == [state]
    assert audit_ledger(ledger, run, clock=clock).lost == 0


def test_rows_of_no_batch_are_named_wherever_they_stand(
    ledger: Ledger, run: Run, ledger_url: str
) -> None:
    # Given five batches, each with two attempts and two failures
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(5)])
    for number in range(5):
        for attempt in range(2):
            index = 10 * number + attempt
            values = {"delivered": 9, "failed": 1, "failed_indexes": [index]}
            ledger.settle([make.settlement(run.id, number, attempt, **values)])
    # When the rows of the first, one between and the last disappear
    with create_engine(ledger_url).begin() as connection:
        connection.execute(delete(batches).where(batches.c.number.in_([0, 2, 4])))
    # Then each is named once for each kind of row that is left of it
    problems = audit_ledger(ledger, run).problems
    assert [problem for problem in problems if " of batch" in problem] == [
        f"{kind} of batch {number}, which is not recorded"
        for kind in ("settlement", "failure")
        for number in (0, 2, 4)
    ]


@pytest.mark.parametrize("kept", ["records", "counters"])
def test_every_counter_is_held_against_the_records(
    ledger: Ledger, ended: Run, ledger_url: str, kept: str
) -> None:
    # Given a run of which only the records are left, or only the counters
    gone = (counters, times, schema.dispatched) if kept == "records" else (batches, settlements)
    with create_engine(ledger_url).begin() as connection:
        for table in gone:
            connection.execute(delete(table))
    # When it is audited
    problems = audit_ledger(ledger, ended).problems
    # Then each counter is named with both figures
    figures: dict[str, object] = {
        "settlements": 3, "first_attempts": 20, "attempts": 21, "delivered": 19, "failed": 1,
        "retried": 1, "timed": 20, "send_seconds": "3.000000", "delivery_seconds": "4.000000",
        "transit_seconds": "4.000000",
    }  # fmt: skip
    zeros = {name: "0.000000" if name.endswith("_seconds") else 0 for name in figures}
    counted, recorded = (figures, zeros) if kept == "counters" else (zeros, figures)
    expected = [
        f"counter {name} of fast at w1 is {counted[name]}, "
        f"but its settlements sum to {recorded[name]}"
        for name in figures
    ]
    expected += {
        "counters": [
            "counter last_settled_at of fast at w1 is not that of its last settlement",
            "dispatched to fast: 2 batches of 20 messages counted, but 0 of 0 recorded",
        ],
        "records": ["dispatched to fast: 0 batches of 0 messages counted, but 2 of 20 recorded"],
    }[kept]
    assert problems[-len(expected) :] == expected


def test_counters_are_held_against_the_records_of_their_profile_and_worker(
    ledger: Ledger, run: Run
) -> None:
    # Given settlements of two profiles and workers, with every fate
    for number in range(4):
        profile, worker = ("fast", "slow")[number % 2], ("w1", "w2")[number // 2]
        first = 10 * number
        ledger.record_batches(run.id, [make.row(run.id, number, first, profile=profile)])
        settlement = make.honest(
            run.id, number, profile=profile, worker=worker, delivered=1, failed=2, expired=3,
            cancelled=4, failed_indexes=[first, first + 1],
            expired_indexes=range(first + 2, first + 5),
        )  # fmt: skip
        ledger.settle([settlement])
    # Then nothing contradicts, and each fate is counted
    report = audit_ledger(ledger, run)
    assert report.problems == []
    assert (report.run, report.total, report.undispatched) == (run.id, 100, 60)
    assert (report.delivered, report.failed, report.expired, report.cancelled) == (4, 8, 12, 16)
    assert (report.batches, report.settlements) == (4, 4)
