"""Every call of a ledger may be made again when it is not known whether it took effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.core.records import Absorbed, Control, Run
from sms_pipeline.ledger.steering import cancel_unpublished, claim_rest
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.testing.ledger import memory_ledger
from tests.unit import make
from tests.unit.ledger.stored import everything
from tests.unit.make import NOON, bitmap

#: Each call that writes; it is made in two runs with the same batch numbers.
CALLS: dict[str, Callable[[Ledger, Run], object]] = {
    "start_run": lambda ledger, run: ledger.start_run(
        run.simulation, run.seed, run.embedded, run.started_at
    ),
    "start_run, new": lambda ledger, run: ledger.start_run(
        run.simulation, 99, started_at=run.started_at
    ),
    "pause": lambda ledger, run: ledger.control(run.id, Control.PAUSED),
    "continue": lambda ledger, run: ledger.control(run.id, Control.RUNNING),
    "cancel": lambda ledger, run: ledger.control(run.id, Control.CANCELLED),
    "record_batches": lambda ledger, run: ledger.record_batches(
        run.id, [make.row(run.id, 2, 20), make.row(run.id, 3, 30, profile="slow")]
    ),
    "mark_published": lambda ledger, run: ledger.mark_published(run.id, [(0, NOON), (1, NOON + 1)]),
    "settle": lambda ledger, run: [
        answer.remainder
        for answer in ledger.settle(
            [
                make.settlement(
                    run.id, 1, delivered=5, failed=2, expired=1, retried=2, remainder=bitmap(1, 2),
                    failed_indexes=[13, 14], expired_indexes=[15], delivery_times={3: 7},
                    on_phone=OnPhone(3, 2, 4.5, 2.0, {3: 2, 9: 1}),
                ),
                make.settlement(run.id, 0, 1),
            ]
        )
    ],
    "absorb": lambda ledger, run: ledger.absorb(
        "w1", {(run.id, Absorbed.REDELIVERED): (2, 20), (run.id, Absorbed.ANSWERED): (1, 10)}
    ),
    "join": lambda ledger, run: ledger.join("w2", [make.profile("fast"), make.profile("slow")]),
    "claim_rest": claim_rest,
}  # fmt: skip


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=NOON)


@pytest.fixture
def ledger(clock: ManualClock) -> Ledger:
    return memory_ledger(clock)


@pytest.fixture
def runs(ledger: Ledger, clock: ManualClock) -> list[Run]:
    """Two runs with two batches each, and a worker."""
    started = []
    for _ in range(2):
        run = ledger.start_run(make.simulation(num_messages=100), seed=7)
        ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, 10)])
        ledger.settle([make.settlement(run.id, 0)])
        started.append(run)
        clock.advance(1)
    ledger.join("w1", [make.profile()])
    return started


@pytest.mark.parametrize("name", CALLS)
def test_call_that_is_made_again_changes_nothing_more(
    name: str, ledger: Ledger, runs: list[Run], clock: ManualClock
) -> None:
    call = CALLS[name]
    # Given calls that took effect
    answers = [call(ledger, run) for run in runs]
    after = everything(ledger)
    # When each is made again, later
    clock.advance(5)
    again = [call(ledger, run) for run in runs]
    # Then it is answered as before, and nothing was written that was not there
    assert again == answers
    assert everything(ledger) == after


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("start_run", "continue")])
def test_call_that_was_not_made_before_changes_something(
    name: str, ledger: Ledger, runs: list[Run]
) -> None:
    # Else the test above would say nothing
    before = everything(ledger)
    CALLS[name](ledger, runs[0])
    assert everything(ledger) != before


def test_worker_that_leaves_twice_has_left(ledger: Ledger, runs: list[Run]) -> None:
    for _ in range(2):
        ledger.leave("w1")
        assert ledger.workers() == ()
        assert [one.id for one in ledger.all_workers()] == ["w1"]


def test_heartbeat_that_is_written_twice_is_the_same_one_seen_later(
    ledger: Ledger, runs: list[Run], clock: ManualClock
) -> None:
    ledger.beat("w1", 7)
    before = everything(ledger)
    clock.advance(5)
    ledger.beat("w1", 7)
    (worker,) = before["workers"]
    assert worker["seen_at"] == clock.wall() - 5
    assert everything(ledger) == before | {"workers": [{**worker, "seen_at": clock.wall()}]}


def test_cancelling_what_was_never_published_twice_settles_it_once(
    ledger: Ledger, runs: list[Run]
) -> None:
    run = runs[0]
    assert cancel_unpublished(ledger, run) == 90
    after = everything(ledger)
    assert cancel_unpublished(ledger, run) == 0
    assert everything(ledger) == after


def test_settlement_of_a_group_that_was_half_known_is_counted_once(
    ledger: Ledger, runs: list[Run]
) -> None:
    # Given a group of which one settlement came before, from a worker that was thought dead
    run, old, new = runs[0], make.settlement(runs[0].id, 0), make.settlement(runs[0].id, 1)
    answers: list[Any] = [[one.new for one in ledger.settle([old, new])] for _ in range(2)]
    # Then only the other is new, and that once
    assert answers == [[False, True], [False, False]]
    assert ledger.snapshot(run).counts.delivered == 20
