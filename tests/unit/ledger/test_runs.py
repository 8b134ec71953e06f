"""Runs: started once, found again, listed, steered each by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sms_pipeline.core.counts import Counts
from sms_pipeline.core.errors import UnknownRunError
from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.testing.ledger import memory_ledger
from tests.unit import make
from tests.unit.make import NOON

#: Something that happens to a run so many seconds after noon.
Act = Callable[[Run, int], object]


def every_run(ledger: Ledger) -> list[Run]:
    """Oldest first."""
    return [one.run for one in reversed(ledger.totals(9))]


def test_run_is_read_back_as_it_was_started(ledger: Ledger) -> None:
    first = ledger.start_run(make.simulation(num_messages=5), seed=2**63 - 1)
    second = ledger.start_run(make.simulation(), seed=1, embedded=True)
    assert ledger.run(first.id) == first
    assert ledger.run() == second
    assert every_run(ledger) == [first, second]
    assert (first.total, first.seed, first.control) == (5, 2**63 - 1, Control.RUNNING)
    assert (first.embedded, second.embedded) == (False, True)


def test_run_is_read_back_as_it_stands(ledger: Ledger, run: Run) -> None:
    ledger.record_batches(run.id, [make.row(run.id, 0, 0, 30), make.row(run.id, 1, 30, 5)])
    ledger.control(run.id, Control.PAUSED)
    now = replace(run, control=Control.PAUSED, next_index=35, next_batch=2)
    assert ledger.run(run.id) == now
    assert every_run(ledger) == [now]


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_run_starts_when_the_clock_says_unless_it_is_told(ledger_url: str, kind: str) -> None:
    clock = ManualClock(wall=NOON)
    ledger = Ledger.open(ledger_url, clock) if kind == "file" else memory_ledger(clock)
    assert ledger.start_run(make.simulation(), seed=1).started_at == NOON
    assert ledger.start_run(make.simulation(), seed=1, started_at=NOON - 9).started_at == NOON - 9


def test_run_is_known_by_its_seed_and_the_time_of_its_start(ledger: Ledger) -> None:
    simulation = make.simulation()
    run = ledger.start_run(simulation, seed=1, started_at=NOON)
    # When the same is started again, and others
    again = ledger.start_run(simulation, seed=1, started_at=NOON)
    others = [
        ledger.start_run(simulation, seed=2, started_at=NOON),
        ledger.start_run(simulation, seed=1, started_at=NOON + 1),
    ]
    # Then only the others are new
    assert again == run
    assert [one.id for one in every_run(ledger)] == [run.id, *(one.id for one in others)]
    assert len({run.id, *(one.id for one in others)}) == 3


def test_unknown_run(ledger: Ledger) -> None:
    with pytest.raises(UnknownRunError, match=r"^the ledger has no run yet; start one with 'sms-p"):
        ledger.run()
    with pytest.raises(UnknownRunError, match=r"^the ledger has no run 5; 'sms-pipeline runs'"):
        ledger.run(5)


@pytest.mark.parametrize("rows_come", ["forwards", "backwards"], indirect=True)
def test_latest_run(ledger: Ledger) -> None:
    assert ledger.latest_run_id() is None
    ids = [ledger.start_run(make.simulation(), seed=seed).id for seed in (1, 2)]
    assert ledger.latest_run_id() == ids[-1] == ledger.run().id


@pytest.mark.parametrize("made_by", ["forecast", "measure"])
def test_what_is_no_rehearsal_is_not_the_latest_run(ledger: Ledger, made_by: str) -> None:
    other = make.simulation(messages_from=made_by)
    first = ledger.start_run(other, seed=1)
    assert ledger.latest_run_id() is None
    # A name may look like it
    run = ledger.start_run(make.simulation(name=f'"messages_from":"{made_by}"'), seed=1)
    ledger.start_run(other, seed=2)
    assert ledger.latest_run_id() == run.id == ledger.run().id
    assert ledger.run(first.id).id == first.id


def test_cancelled_run_stays_cancelled(ledger: Ledger, run: Run) -> None:
    for wanted in (Control.PAUSED, Control.RUNNING, Control.CANCELLED):
        assert ledger.control(run.id, wanted) is wanted
    assert ledger.control(run.id, Control.RUNNING) is Control.CANCELLED
    assert ledger.run(run.id).control is Control.CANCELLED
    assert ledger.snapshot(run).control is Control.CANCELLED
    assert ledger.standing((run.id, 0, 0)).control is Control.CANCELLED


def test_each_run_is_steered_by_itself(ledger: Ledger, run: Run) -> None:
    others = [ledger.start_run(make.simulation(), seed=seed) for seed in (1, 2)]
    ledger.control(others[0].id, Control.CANCELLED)
    assert ledger.control(run.id, Control.PAUSED) is Control.PAUSED
    controls = [Control.PAUSED, Control.CANCELLED, Control.RUNNING]
    assert [one.control for one in every_run(ledger)] == controls
    for one, control in zip((run, *others), controls, strict=True):
        assert ledger.snapshot(one).control is control
        assert ledger.standing((one.id, 0, 0)).control is control


# Lists


@pytest.fixture
def three(ledger: Ledger) -> list[Run]:
    """A run that was not dispatched, one in progress, one that has ended."""
    runs = [ledger.start_run(make.simulation(num_messages=20), seed=seed) for seed in (1, 2, 3)]
    _, second, third = (one.id for one in runs)
    ledger.record_batches(
        second,
        [make.row(second, 0, 0, queued_at=NOON + 9), make.row(second, 1, 10, profile="slow")],
    )
    ledger.settle([make.settlement(second, delivered=4, failed=3, retried=3)])
    ledger.record_batches(third, [make.row(third, 0, 0, 20, queued_at=NOON + 50)])
    ledger.settle(
        [
            make.settlement(third, 0, delivered=1, failed=2, expired=3, cancelled=4),
            make.settlement(third, 1, profile="slow", worker="w2", delivered=7, expired=3),
        ]
    )
    return [ledger.run(one.id) for one in runs]


def test_totals_of_runs_come_newest_first(ledger: Ledger, three: list[Run]) -> None:
    first, second, third = three
    totals = ledger.totals(10)
    assert [(one.run, one.counts) for one in totals] == [
        (third, Counts(delivered=8, failed=2, expired=6, cancelled=4)),
        (second, Counts(delivered=4, failed=3)),
        (first, Counts()),
    ]
    assert [one.done for one in totals] == [True, False, False]


def test_totals_say_how_much_was_settled_and_when_something_last_happened() -> None:
    # Given runs to which nothing happened, one act, and several, in each order
    clock = ManualClock(wall=NOON)
    ledger = memory_ledger(clock)
    acts: dict[str, Act] = {
        "dispatch": lambda run, at: ledger.record_batches(
            run.id, [make.row(run.id, queued_at=NOON + at)]
        ),
        "guest": lambda run, at: ledger.record_batches(
            run.id, [make.row(run.id, 1, 10, profile="guest", queued_at=NOON + at)]
        ),
        "settle": lambda run, at: ledger.settle([make.settlement(run.id, settled_at=NOON + at)]),
        "again": lambda run, at: ledger.settle(
            [make.settlement(run.id, 1, worker="w2", settled_at=NOON + at)]
        ),
        "pause": lambda run, _: ledger.control(run.id, Control.PAUSED),
    }
    #: What happens to each run; how many settlements it has, and when it was active last.
    cases: list[tuple[list[str], int, int | None]] = [
        ([], 0, None),
        (["dispatch"], 0, 2),
        (["dispatch", "guest"], 0, 3),
        (["pause"], 0, 2),
        (["settle"], 1, 2),
        (["dispatch", "pause"], 0, 3),
        (["pause", "dispatch"], 0, 3),
        (["dispatch", "settle"], 1, 3),
        (["settle", "dispatch"], 1, 3),
        (["pause", "settle", "again"], 2, 4),
        (["settle", "again", "pause"], 2, 4),
    ]
    for seed, (names, _, _) in enumerate(cases):
        clock.step_wall(NOON + 1 - clock.wall())
        run = ledger.start_run(make.simulation(num_messages=100), seed)
        for name in names:
            clock.advance(1)
            acts[name](run, int(clock.wall() - NOON))
    # When they are listed, all or but the first and the last
    expected = [(settled, at and NOON + at) for _, settled, at in reversed(cases)]
    every = ledger.totals(99)
    some = ledger.totals(len(cases) - 2, before=every[0].run.id)
    # Then each has its own figures
    assert [(one.settlements, one.active_at) for one in every] == expected
    assert [(one.settlements, one.active_at) for one in some] == expected[1:-1]


@pytest.mark.parametrize("rows_come", ["forwards", "backwards"], indirect=True)
@pytest.mark.parametrize(
    ("count", "before", "numbers"),
    [(1, None, [2]), (2, None, [2, 1]), (9, 2, [1, 0]), (1, 2, [1]), (9, 0, []), (9, 1, [0])],
)
def test_totals_are_read_in_portions(
    ledger: Ledger, three: list[Run], count: int, before: int | None, numbers: list[int]
) -> None:
    totals = ledger.totals(count, None if before is None else three[before].id)
    assert [one.run for one in totals] == [three[number] for number in numbers]
