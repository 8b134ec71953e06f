"""When a run is sealed, and what its seal is over."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger.sealing import (
    LATE_SECONDS,
    may_be_sealed,
    read_seal,
    record_seal,
    seal_of,
)
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from tests.unit import make
from tests.unit.ledger.stored import everything
from tests.unit.make import NOON

#: When the last message is settled.
ENDED = NOON + 1


def make_run(ledger: Ledger, started_at: float, settled: int = 2) -> Run:
    """A run of two batches, the second of which nobody noted as published."""
    run = ledger.start_run(make.simulation(num_messages=20), seed=7, started_at=started_at)
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, 10)])
    ledger.mark_published(run.id, [(0, NOON)])
    for number in range(settled):
        ledger.settle([make.honest(run.id, number, settled_at=ENDED)])
    return run


@pytest.fixture
def sealable(ledger: Ledger) -> Run:
    """A run that has ended, of a worker that joined, beside another one that has not."""
    ledger.join("w1", [make.profile()])
    made = make_run(ledger, NOON)
    make_run(ledger, NOON + 1, settled=1)
    ledger.mark_published(made.id, [(1, NOON)])
    return made


def is_sealable(ledger: Ledger, run: Run, at: float = ENDED) -> bool:
    with ledger.reading() as connection:
        return may_be_sealed(connection, run.id, ManualClock(at))


@pytest.mark.parametrize("settled", [0, 1])
def test_a_run_that_goes_on_is_not_sealed(ledger: Ledger, settled: int) -> None:
    run = make_run(ledger, NOON, settled)
    assert not is_sealable(ledger, run, ENDED + 2 * LATE_SECONDS)
    assert record_seal(ledger, run.id, ManualClock(ENDED + 2 * LATE_SECONDS)) is None
    assert everything(ledger)["seals"] == []


@pytest.mark.parametrize(("seconds", "is_late"), [(0, False), (10, False), (10.5, True)])
def test_a_producer_has_ten_seconds_to_note_what_was_published(
    ledger: Ledger, seconds: float, is_late: bool
) -> None:
    assert is_sealable(ledger, make_run(ledger, NOON), ENDED + seconds) is is_late


def test_a_cancelled_run_waits_for_no_note(ledger: Ledger) -> None:
    run = make_run(ledger, NOON)
    ledger.control(run.id, Control.CANCELLED)
    assert is_sealable(ledger, run)


def test_a_run_waits_for_notes_of_its_own(ledger: Ledger, sealable: Run) -> None:
    assert is_sealable(ledger, sealable)


def test_a_seal_is_recorded_once_with_its_moment(ledger: Ledger, sealable: Run) -> None:
    first, *others = (record_seal(ledger, sealable.id, ManualClock(ENDED + n)) for n in range(3))
    assert others == [first, first]
    (row,) = everything(ledger)["seals"]
    assert row == {"run": sealable.id, "seal": first, "sealed_at": ENDED}
    with ledger.reading() as connection:
        assert read_seal(connection, sealable.id) == first
        assert read_seal(connection, sealable.id + 1) is None
        assert seal_of(connection, sealable.id) == first


def seal_after(ledger: Ledger, run: Run, change: str) -> str:
    with ledger.writing() as connection:
        connection.execute(text(change))
        return seal_of(connection, run.id)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger_identity SET id = 'another'",
        "UPDATE runs SET seed = 8 WHERE id = {run}",
        "UPDATE runs SET next_index = 21 WHERE id = {run}",
        "UPDATE runs SET next_batch = 3 WHERE id = {run}",
        "UPDATE batches SET published_at = published_at + 1 WHERE run = {run} AND number = 0",
        "UPDATE batches SET number = 7 WHERE run = {run} AND number = 1",
        "UPDATE dispatched SET messages = 21 WHERE run = {run}",
        "UPDATE counters SET delivered = 21 WHERE run = {run}",
        "UPDATE delivery_times SET messages = 21 WHERE run = {run}",
        "UPDATE links SET digest = 'another' WHERE run = {run} AND writer LIKE 'dispatch%'",
        "UPDATE workers SET senders = 99",
    ],
)
def test_a_seal_is_over_all_that_may_be_falsified(
    ledger: Ledger, sealable: Run, change: str
) -> None:
    with ledger.reading() as connection:
        before = seal_of(connection, sealable.id)
    assert seal_after(ledger, sealable, change.format(run=sealable.id)) != before


@pytest.mark.parametrize("table", ["batches", "dispatched", "counters", "delivery_times", "links"])
def test_a_seal_is_over_nothing_of_another_run(ledger: Ledger, sealable: Run, table: str) -> None:
    with ledger.reading() as connection:
        before = seal_of(connection, sealable.id)
    gone = f"DELETE FROM {table} WHERE run <> {sealable.id}"  # noqa: S608
    assert seal_after(ledger, sealable, gone) == before
