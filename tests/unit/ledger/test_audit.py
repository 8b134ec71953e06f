"""The audit finds every way in which a ledger can be wrong, and nothing in one that is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, update

from sms_pipeline.core.records import Absorbed, Run
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import EXIT_CODES, AuditResult, Verdict
from tests.unit import make
from tests.unit.make import NOON, bitmap

#: Two batches of ten. In batch 0 message 3 fails twice and is given up; batch 1 is delivered.
TOTAL = 20


@pytest.fixture
def ended(ledger: Ledger) -> Run:
    run = ledger.start_run(
        make.simulation(num_messages=TOTAL, retry=RetryPolicy(max_attempts=2)), seed=1
    )
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, first_index=10)])
    ledger.settle(
        [
            make.settlement(run.id, 0, 0, delivered=9, retried=1, remainder=bitmap(3)),
            make.settlement(run.id, 1, 0, delivery_times={5: 10}),
        ]
    )
    ledger.settle(
        [
            make.settlement(
                run.id, 0, 1, messages=1, delivered=0, failed=1, taken=bitmap(3), failed_indexes=[3]
            )
        ]
    )
    return run


def test_a_run_that_ended_well_is_proven(ledger: Ledger, ended: Run, ledger_url: str) -> None:
    _make_histogram_fit(ledger_url)
    report = audit_ledger(ledger, ended)
    assert report.problems == []
    assert report.verdict is Verdict.PROVEN
    assert (report.delivered, report.failed, report.in_flight) == (19, 1, 0)
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
        "1 messages lost and 0 doubled",
    ),
    "an attempt took more than was left": (
        lambda c: c.execute(update(settlements).where(_settled(0, 1)).values(taken=bitmap(3, 4))),
        "0 messages lost and 1 doubled",
    ),
    "an attempt took another message": (
        lambda c: c.execute(update(settlements).where(_settled(0, 1)).values(taken=bitmap(4))),
        "1 messages lost and 1 doubled",
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
        "1 messages failed, but 0 listed",
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
    _make_histogram_fit(ledger_url)
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


def _make_histogram_fit(ledger_url: str) -> None:
    """The settlements above name only part of their delivery times."""
    with create_engine(ledger_url).begin() as connection:
        connection.execute(update(times).values(messages=TOTAL))


def test_a_run_in_flight_is_unfinished_not_broken(ledger: Ledger) -> None:
    # Given batches in each state between their record and their end
    simulation = make.simulation(num_messages=50, stuck_after=60)
    run = ledger.start_run(simulation, seed=1)
    rows = [make.row(run.id, number, first_index=10 * number) for number in range(4)]
    ledger.record_batches(run.id, rows)
    ledger.mark_published(run.id, [(1, NOON), (2, NOON), (3, NOON)])
    ledger.settle([make.settlement(run.id, 2, delivered=8, retried=2, remainder=bitmap(0, 1))])
    ledger.settle([make.settlement(run.id, 3)])

    # When it is looked at soon, later, and after its broker is gone
    found = {
        name: _report(ledger, run, **values)
        for name, values in {
            "soon": {"now": NOON + 10},
            "later": {"now": NOON + 100},
            "gone": {"now": NOON + 10, "lost": True},
        }.items()
    }

    # Then nothing is broken, and each batch is named for what keeps it
    assert {report.verdict for report in found.values()} == {Verdict.UNFINISHED}
    assert found["soon"].in_flight == 22
    assert found["soon"].undispatched == 10
    assert dict(found["soon"].unsettled) == {
        "recorded, but not confirmed by the broker": [0],
        "in flight": [1, 2],
    }
    assert [numbers for state, numbers in found["later"].unsettled.items() if "stuck" in state]
    assert [numbers for state, numbers in found["gone"].unsettled.items() if "lost" in state]


def _report(ledger: Ledger, run: Run, now: float, lost: bool = False) -> AuditResult:
    from sms_pipeline.ledger.audit import audit
    from sms_pipeline.ledger.scan import Records

    with ledger.reading() as connection:
        report = audit(run, Records(connection, run), now, lost)
    report.problems = [problem for problem in report.problems if "timed" not in problem]
    return report


def test_report_lists_few_and_counts_the_rest() -> None:
    report = AuditResult(1, 10, problems=[f"problem {number}" for number in range(30)])
    report.unsettled["in flight"] = list(range(100))
    lines = "\n".join(report.lines())
    assert "and 10 problems more" in lines
    assert "(100 in all)" in lines
    assert lines.endswith("Verdict: broken")
    assert report.to_json()["unsettled"]["in flight"] == list(range(100))


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
    _make_histogram_fit(ledger_url)
    with create_engine(ledger_url).begin() as connection:
        CORRUPTIONS[name][0](connection)
    report = audit_ledger(ledger, ended)
    assert (report.lost, report.doubled) == (lost, doubled), report.problems


def test_what_is_lost_with_its_broker_is_counted(ledger: Ledger, run: Run) -> None:
    ledger.record_batches(run.id, [make.row(run.id)])
    assert audit_ledger(ledger, run).lost == 0
    assert audit_ledger(ledger, run, lost=True).to_json()["lost"] == 10
