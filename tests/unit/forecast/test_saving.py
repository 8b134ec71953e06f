"""A saved forecast is read as a run that came to what was forecast."""

from __future__ import annotations

from typing import Any

import pytest

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Run
from sms_pipeline.core.run_state import RunState
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.outlook import Outlook, look_ahead
from sms_pipeline.forecast.saving import as_forecast, records_of
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.forecasts import foretold, require_sent
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import timeline
from sms_pipeline.testing.ledger import memory_ledger
from sms_pipeline.views.reader import Reader
from tests.unit import make

#: A time in the records of a forecast is right to this share of the run.
STRETCH = 1 / 400


@pytest.fixture
def ledger() -> Ledger:
    return memory_ledger()


def saved(ledger: Ledger, outlook: Outlook) -> Run:
    run = ledger.start_run(as_forecast(outlook.simulation), 1, outlook.workers is None)
    rows, settlements = records_of(outlook, run)
    assert ledger.record_batches(run.id, rows)
    ledger.settle(settlements)
    return run


CASES: dict[str, tuple[dict[str, Any], int | None]] = {
    "default": ({}, None),
    "workers": ({"num_messages": 3_000}, 3),
    "half of the attempts fail": (
        {"num_messages": 500, "senders": (make.profile(count=50, failure_rate=0.5),)},
        None,
    ),
    "deadline": ({"num_messages": 4_000, "deadline": 4.0}, None),
    "thinned": (
        {"num_messages": 3_000_000, "senders": (make.profile(count=20_000, mean_time=1.0),)},
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_its_records_come_to_what_was_forecast(ledger: Ledger, case: str) -> None:
    values, workers = CASES[case]
    simulation = Simulation(**values)
    outlook = look_ahead(simulation, workers)
    run = saved(ledger, outlook)
    told, seen = outlook.progress, Reader(ledger, run).read().progress
    assert (seen.state, seen.done) == (RunState.FORECAST, True)
    assert seen.counts == told.counts
    assert seen.seconds == pytest.approx(told.seconds, abs=1e-3)
    assert of_profiles(seen) == pytest.approx(of_profiles(told), rel=1e-3)
    reached = timeline(ledger, run).time_to_reach
    middle = outlook.runs == 1 or outlook.reached
    assert middle
    for share, spread in outlook.reached.items():
        if spread:
            at = reached[share]
            assert at is not None
            assert spread.low * 0.95 <= at <= spread.high * 1.05 + STRETCH * told.seconds


def of_profiles(progress: Progress) -> list[float]:
    return [
        value or 0.0
        for part in progress.profiles
        for value in (part.senders, part.share, part.efficiency, part.counts.failure_rate)
    ]


def test_there_is_nothing_to_prove_and_nobody_was_there(ledger: Ledger) -> None:
    run = saved(ledger, look_ahead(Simulation()))
    assert audit_ledger(ledger, run).verdict == "forecast"
    assert ledger.workers() == ()
    with pytest.raises(ConfigError, match="run 1 is a forecast"):
        require_sent(run)


def test_a_forecast_is_not_the_latest_run(ledger: Ledger) -> None:
    # Given a run whose name looks like a forecast's configuration
    tricky = Simulation(name='"messages_from":"forecast"')
    real = ledger.start_run(tricky, 7)
    require_sent(real)
    saved(ledger, look_ahead(Simulation()))
    assert (ledger.run().id, ledger.latest_run_id()) == (real.id, real.id)
    assert [one.id for one in ledger.forecasts(9)] == [2]


def test_a_run_is_beside_the_newest_forecast_of_the_same_configuration(ledger: Ledger) -> None:
    simulation = Simulation()
    older, newer = (saved(ledger, look_ahead(simulation, seed=seed)) for seed in (1, 2))
    other = saved(ledger, look_ahead(Simulation(num_messages=2_000)))
    run = ledger.start_run(simulation.model_copy(update={"name": "drill", "seed": 5}), 5)
    found = foretold(ledger, run, 100)
    assert found and found.run == newer.id != older.id
    assert found.bins
    unlike = ledger.start_run(Simulation(batch_size=3), 5)
    assert foretold(ledger, unlike, 100) is None
    # A forecast is beside none
    assert foretold(ledger, other, 100) is None
