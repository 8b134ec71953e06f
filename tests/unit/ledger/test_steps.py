"""How a run was steered is noted, each step once."""

from __future__ import annotations

import pytest

from sms_pipeline.core.records import Control, Run, Steering, Step
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.testing.ledger import memory_ledger
from tests.unit import make
from tests.unit.make import NOON


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=NOON)


@pytest.fixture
def ledger(clock: ManualClock) -> Ledger:
    return memory_ledger(clock)


def steps(ledger: Ledger, run: Run) -> list[tuple[str, float, float]]:
    """(what, seconds since noon, idle seconds), in order."""
    found = ledger.snapshot(run).steps
    return [(step.what.value, step.at - NOON, step.idle_seconds) for step in found]


def test_what_was_asked_for_is_noted_when_it_changes_something(
    ledger: Ledger, run: Run, clock: ManualClock
) -> None:
    assert steps(ledger, run) == []
    asked = [
        Control.RUNNING, Control.PAUSED, Control.PAUSED, Control.RUNNING, Control.RUNNING,
        Control.CANCELLED, Control.CANCELLED, Control.RUNNING, Control.PAUSED,
    ]  # fmt: skip
    for control in asked:
        ledger.control(run.id, control)
        clock.advance(1)
    assert steps(ledger, run) == [("paused", 1, 0), ("continued", 3, 0), ("cancelled", 5, 0)]


def test_steps_are_those_of_one_run(ledger: Ledger, run: Run) -> None:
    other = ledger.start_run(make.simulation(num_messages=100), seed=8)
    ledger.control(other.id, Control.PAUSED)
    assert steps(ledger, run) == []
    assert ledger.snapshot(other).steps == (Step(Steering.PAUSED, NOON),)


def test_resume_notes_for_how_long_nothing_had_happened(
    ledger: Ledger, run: Run, clock: ManualClock
) -> None:
    # Given a run that was interrupted before anything was dispatched
    clock.advance(5)
    ledger.note_resume(run.id)
    # When batches are dispatched, and one of them is settled, before it is interrupted again
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n, queued_at=NOON + 6) for n in (0, 1)])
    clock.advance(5)
    ledger.note_resume(run.id)
    ledger.settle([make.settlement(run.id, settled_at=NOON + 12)])
    clock.advance(60)
    ledger.note_resume(run.id)
    # Then it had been idle since the latest of that, or since its start
    assert steps(ledger, run) == [("resumed", 5, 5), ("resumed", 10, 4), ("resumed", 70, 58)]


def test_run_that_is_resumed_again_before_anything_happened_was_idle_once(
    ledger: Ledger, run: Run, clock: ManualClock
) -> None:
    # Given another run that was resumed meanwhile, and a step that is no resume
    other = ledger.start_run(make.simulation(num_messages=100), seed=8)
    clock.advance(60)
    ledger.note_resume(run.id)
    clock.advance(5)
    ledger.note_resume(other.id)
    ledger.control(run.id, Control.PAUSED)
    # When the run is resumed again, and nothing was dispatched or settled since
    clock.advance(5)
    ledger.note_resume(run.id)
    # Then the first minute is not counted twice
    assert steps(ledger, run) == [("resumed", 60, 60), ("paused", 65, 0), ("resumed", 70, 10)]


def test_clock_that_was_set_back_makes_no_run_idle(
    ledger: Ledger, run: Run, clock: ManualClock
) -> None:
    ledger.record_batches(run.id, [make.row(run.id, queued_at=NOON + 60)])
    ledger.note_resume(run.id)
    assert steps(ledger, run) == [("resumed", 0, 0)]
