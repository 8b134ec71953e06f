"""The audit follows every message from its batch through all attempts to its fate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sms_pipeline.core.records import BatchRow, Run
from sms_pipeline.ledger.audit import audit
from sms_pipeline.ledger.scan import Records
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import AuditResult, Verdict
from tests.unit import make
from tests.unit.make import NOON, bitmap

pytestmark = pytest.mark.usefixtures("rules_apart")

#: Of a batch of ten: what it settles, attempt by attempt.
Attempt = dict[str, Any]


def settle(ledger: Ledger, run: Run, number: int, attempts: Sequence[Attempt]) -> None:
    """Settle attempts of a batch, with times for all that was delivered or failed."""
    first = number * 10
    for position, given in enumerate(attempts):
        values = {"attempt": position, "delivered": 0, **given}
        for name in ("failed_indexes", "expired_indexes"):
            values[name] = [first + offset for offset in values.get(name, ())]
        ledger.settle([make.honest(run.id, number, **values)])


def audited(ledger: Ledger, run: Run, now: float = NOON, lost: bool | None = None) -> AuditResult:
    with ledger.reading() as connection:
        records = Records(connection, run)
        return audit(records, now) if lost is None else audit(records, now, lost)


# Attempts

#: A good first attempt that leaves the messages 1, 2 and 3.
LEAVES_THREE: Attempt = {"delivered": 7, "retried": 3, "remainder": bitmap(1, 2, 3)}

#: The attempts; what the audit says of each; how many messages are lost and doubled.
CHAINS: dict[str, tuple[list[Attempt], list[str], int, int]] = {
    "every fate, over three attempts": (
        [
            LEAVES_THREE,
            {
                "messages": 3,
                "taken": bitmap(1, 2, 3),
                "delivered": 1,
                "retried": 2,
                "remainder": bitmap(1, 3),
            },
            {
                "messages": 2,
                "taken": bitmap(1, 3),
                "failed": 1,
                "expired": 1,
                "failed_indexes": [1],
                "expired_indexes": [3],
            },
        ],
        [],
        0,
        0,
    ),
    "every fate, at once, from the first message to the last": (
        [
            {
                "delivered": 1,
                "failed": 2,
                "expired": 3,
                "cancelled": 4,
                "failed_indexes": [0, 9],
                "expired_indexes": [1, 2, 3],
            }
        ],
        [],
        0,
        0,
    ),
    "the second attempt took less": (
        [LEAVES_THREE, {"messages": 1, "taken": bitmap(1), "delivered": 1}],
        ["attempt 2: 2 messages lost and 0 doubled since the attempt before"],
        2,
        0,
    ),
    "the second attempt took more": (
        [LEAVES_THREE, {"messages": 4, "taken": bitmap(1, 2, 3, 9), "delivered": 4}],
        ["attempt 2: 0 messages lost and 1 doubled since the attempt before"],
        0,
        1,
    ),
    "the second attempt took others": (
        [LEAVES_THREE, {"messages": 3, "taken": bitmap(3, 4, 5), "delivered": 3}],
        ["attempt 2: 2 messages lost and 2 doubled since the attempt before"],
        2,
        2,
    ),
    "the second attempt took all": (
        [LEAVES_THREE, {"messages": 10, "delivered": 10}],
        ["attempt 2: 0 messages lost and 7 doubled since the attempt before"],
        0,
        7,
    ),
    "the first attempt took only some": (
        [{"messages": 4, "taken": bitmap(0, 1, 2, 9), "delivered": 4}],
        ["attempt 1: 6 messages lost and 0 doubled since the attempt before"],
        6,
        0,
    ),
    "a message has no fate": (
        [{"delivered": 4, "cancelled": 4}],
        ["attempt 1: 10 messages, but 8 ended and 0 were left"],
        2,
        0,
    ),
    "a message has two fates": (
        [
            {
                "delivered": 4,
                "failed": 3,
                "expired": 2,
                "retried": 3,
                "remainder": bitmap(1, 2, 3),
                "failed_indexes": [4, 5, 6],
                "expired_indexes": [7, 8],
            }
        ],
        ["attempt 1: 10 messages, but 9 ended and 3 were left"],
        0,
        2,
    ),
    "messages do not fit what was taken": (
        [LEAVES_THREE, {"messages": 2, "taken": bitmap(1, 2, 3), "delivered": 2}],
        ["attempt 2: 2 messages, but took 3"],
        0,
        0,
    ),
    "retried does not fit what was left": (
        [{"delivered": 8, "retried": 2, "remainder": bitmap(1)}],
        ["attempt 1: retried 2, left 1"],
        0,
        0,
    ),
    "left over what it never took": (
        [
            LEAVES_THREE,
            {"messages": 3, "taken": bitmap(1, 2, 3), "delivered": 2, "retried": 1}
            | {"remainder": bitmap(4)},
        ],
        ["attempt 2: left over messages that it never took"],
        0,
        0,
    ),
    "another attempt after the last": (
        [{"delivered": 10}, {"messages": 0, "taken": bitmap()}],
        ["attempt 1: left nothing, yet another attempt is settled"],
        0,
        0,
    ),
    "no first attempt": (
        [{"attempt": 1, "delivered": 10}],
        [": no settlement of attempt 1"],
        0,
        0,
    ),
    "no second attempt": (
        [LEAVES_THREE, {"attempt": 2, "messages": 3, "taken": bitmap(1, 2, 3), "delivered": 3}],
        [": no settlement of attempt 2"],
        0,
        0,
    ),
    "a bitmap of another size": (
        [LEAVES_THREE, {"messages": 3, "taken": b"\x70", "delivered": 3}],
        ["attempt 2: the offsets do not fit the size of the batch"],
        0,
        0,
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_what_an_attempt_left_is_what_the_next_one_took(ledger: Ledger, name: str) -> None:
    attempts, complaints, lost, doubled = CHAINS[name]
    # Given two batches with the same attempts, and one before, between and after them
    run = ledger.start_run(make.simulation(num_messages=50), seed=1)
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(5)])
    for number in range(5):
        settle(ledger, run, number, attempts if number in (1, 3) else [{"delivered": 10}])
    # When they are audited
    report = audited(ledger, run)
    # Then the same is said of both, and all is counted twice
    assert report.problems == [
        f"batch {number}{', ' if complaint[0] != ':' else ''}{complaint}"
        for number in (1, 3)
        for complaint in complaints
    ]
    assert (report.lost, report.doubled) == (2 * lost, 2 * doubled)
    assert (report.batches, report.undispatched) == (5, 0)
    assert report.settlements == 3 + 2 * len(attempts)
    for fate in ("delivered", "failed", "expired", "cancelled"):
        others = 30 if fate == "delivered" else 0
        assert getattr(report, fate) == others + 2 * sum(one.get(fate, 0) for one in attempts)
    left = attempts[-1].get("retried", 0)
    assert report.in_flight == 2 * left
    assert report.verdict is not Verdict.PROVEN if complaints or left else Verdict.PROVEN


# Who was not reached


@pytest.mark.parametrize("reason", ["failed", "expired"])
@pytest.mark.parametrize(
    ("offsets", "complaints"),
    [
        ([0, 9], []),
        ([0], ["2 messages {reason}, but 1 listed"]),
        ([0, 5, 9], ["2 messages {reason}, but 3 listed"]),
        ([0, 10], ["message 20 listed as {reason} is not its own"]),
        ([-1, 9], ["message 9 listed as {reason} is not its own"]),
        ([], ["2 messages {reason}, but 0 listed"]),
    ],
)
def test_list_of_who_was_not_reached_has_each_message_and_no_other(
    ledger: Ledger, reason: str, offsets: list[int], complaints: list[str]
) -> None:
    run = ledger.start_run(make.simulation(num_messages=30), seed=1)
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(3)])
    settle(ledger, run, 0, [{"delivered": 10}])
    settle(ledger, run, 1, [{"delivered": 8, reason: 2, f"{reason}_indexes": offsets}])
    settle(ledger, run, 2, [{"delivered": 10}])
    assert audited(ledger, run).problems == [
        f"batch 1: {complaint.format(reason=reason)}" for complaint in complaints
    ]


# Batches

#: (number, first index, size) of each batch; what the audit says; messages lost, doubled, and not
#: dispatched yet, of thirty.
RANGES: dict[str, tuple[list[tuple[int, int, int]], list[str], int, int, int]] = {
    "one after the other": ([(0, 0, 10), (1, 10, 10), (2, 20, 10)], [], 0, 0, 0),
    "not all dispatched": ([(0, 0, 10), (1, 10, 13)], [], 0, 0, 7),
    "two gaps": (
        [(0, 0, 8), (1, 10, 10), (2, 25, 5)],
        [
            "messages 8-9 lost: they are in no batch",
            "messages 20-24 lost: they are in no batch",
        ],
        7,
        0,
        0,
    ),
    "two overlaps": (
        [(0, 0, 10), (1, 9, 11), (2, 18, 12)],
        [
            "batch 1: messages 9-9 doubled, an earlier batch has them, too",
            "batch 2: messages 18-19 doubled, an earlier batch has them, too",
        ],
        0,
        3,
        0,
    ),
    "a batch inside another": (
        [(0, 0, 20), (1, 5, 3), (2, 20, 10)],
        ["batch 1: messages 5-7 doubled, an earlier batch has them, too"],
        0,
        3,
        0,
    ),
    "two numbers left out": (
        [(0, 0, 10), (2, 10, 10), (4, 20, 10)],
        ["batch 1 is not recorded", "batch 3 is not recorded"],
        0,
        0,
        0,
    ),
    "beyond the run": (
        [(0, 0, 9), (1, 10, 10), (2, 19, 15)],
        [
            "messages 9-9 lost: they are in no batch",
            "batch 2: messages 19-19 doubled, an earlier batch has them, too",
            "messages 30-33 doubled: beyond the run's 30",
        ],
        1,
        5,
        0,
    ),
}


@pytest.mark.parametrize("name", RANGES)
def test_batches_follow_one_another_without_gap_or_overlap(ledger: Ledger, name: str) -> None:
    ranges, complaints, lost, doubled, undispatched = RANGES[name]
    run = ledger.start_run(make.simulation(num_messages=30), seed=1)
    # The ledger itself looks only at where the first one begins
    rows = [BatchRow(run.id, number, "fast", first, size, NOON) for number, first, size in ranges]
    assert ledger.record_batches(run.id, rows)
    report = audited(ledger, run)
    assert report.problems == complaints
    assert (report.lost, report.doubled, report.undispatched) == (lost, doubled, undispatched)
    assert report.batches == len(ranges)
