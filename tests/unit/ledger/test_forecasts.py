"""Forecasts in a ledger: who would have sent them, and which one is beside a run."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.records import Run, WorkerRow
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.forecasts import foretold, require_sent
from sms_pipeline.ledger.store import Ledger
from tests.unit import make
from tests.unit.make import NOON

PLANNED = make.simulation(num_messages=20)


def forecast(ledger: Ledger, of: Simulation = PLANNED, **settled: Any) -> Run:
    """A forecast of two batches of `fast`, played by its workers `w1` and `w2`."""
    simulation = of.model_copy(update={"messages_from": "forecast"})
    run = ledger.start_run(simulation, 7, started_at=NOON + ledger_size(ledger))
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, 10)])
    ledger.settle([make.settlement(run.id, n, worker=f"w{2 - n}", **settled) for n in (0, 1)])
    return run


def ledger_size(ledger: Ledger) -> int:
    return len(ledger.forecasts(99))


def test_its_workers_are_those_of_the_configuration(ledger: Ledger) -> None:
    run = forecast(ledger, settled_at=NOON + 5)
    fast = PLANNED.profile("fast")
    assert ledger.snapshot(run).workers == tuple(
        WorkerRow.playing(fast, worker, joined_at=NOON, seen_at=NOON + 5) for worker in ("w1", "w2")
    )


def test_a_forecast_that_nobody_settled_ends_as_it_began(ledger: Ledger) -> None:
    run = ledger.start_run(PLANNED.model_copy(update={"messages_from": "forecast"}), 7)
    assert ledger.snapshot(run).workers == ()


def test_the_latest_forecasts_come_first(ledger: Ledger) -> None:
    first, second = forecast(ledger), forecast(ledger)
    ledger.start_run(PLANNED, 7)
    assert [run.id for run in ledger.forecasts(9)] == [second.id, first.id]
    assert [run.id for run in ledger.forecasts(1)] == [second.id]


def test_beside_a_run_is_the_newest_forecast_of_its_configuration(ledger: Ledger) -> None:
    forecast(ledger)
    newest = forecast(ledger, settled_at=NOON + 9)
    forecast(ledger, PLANNED.model_copy(update={"batch_size": 3}))
    run = ledger.start_run(PLANNED.model_copy(update={"name": "drill"}), 7)
    found = foretold(ledger, run, 8)
    assert found and (found.run, found.total) == (newest.id, 20)
    assert len(found.bins) <= 8


def test_beside_others_is_none(ledger: Ledger) -> None:
    kept = forecast(ledger)
    other = ledger.start_run(PLANNED.model_copy(update={"deadline": 9.0}), 7)
    assert foretold(ledger, other, 8) is None
    assert foretold(ledger, kept, 8) is None


@pytest.mark.parametrize(
    "damage",
    [
        """UPDATE runs SET simulation = replace(simulation, '"senders"', '"new": 1,"senders"')""",
        "UPDATE runs SET seed = 'x'",
        "UPDATE runs SET control = 'unknown'",
    ],
)
def test_a_forecast_that_cant_be_read_hides_no_other(ledger: Ledger, damage: str) -> None:
    kept, damaged = forecast(ledger), forecast(ledger)
    run = ledger.start_run(PLANNED, 7)
    with ledger.writing() as connection:
        # The rules of the tables would refuse it.
        connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        connection.execute(text(f"{damage} WHERE id = {damaged.id}"))
    assert [one.id for one in ledger.forecasts(9)] == [kept.id]
    found = foretold(ledger, run, 8)
    assert found and found.run == kept.id


def test_a_forecast_whose_course_cant_be_read_stands_beside_no_run(ledger: Ledger) -> None:
    kept, damaged = forecast(ledger), forecast(ledger)
    run = ledger.start_run(PLANNED, 7)
    with ledger.writing() as connection:
        connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        too_many = f"UPDATE settlements SET delivered = {2**63 - 1} WHERE run = {damaged.id}"  # noqa: S608
        connection.execute(text(too_many))
    found = foretold(ledger, run, 8)
    assert found and found.run == kept.id


def test_nothing_is_done_to_a_forecast(ledger: Ledger) -> None:
    require_sent(ledger.start_run(PLANNED, 7))
    with pytest.raises(ConfigError, match=r"run 2 is a forecast: .* sms-pipeline report 2$"):
        require_sent(forecast(ledger))
