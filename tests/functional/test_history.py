"""A run's course over time is the same from either database."""

from __future__ import annotations

import pytest

from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import Bin, History, timeline
from tests.unit import make
from tests.unit.make import NOON


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_course_of_a_run(database_url: str) -> None:
    ledger = Ledger.open(database_url)
    run = ledger.start_run(make.simulation(num_messages=40), seed=1, started_at=NOON)
    history = History(ledger, run, bins=4, shares=[0.5, 0.75, 1.0])
    assert history.read().bins == ()
    # Given moments in the second half of a bin, which rounding would move, and before the start
    rows = [make.row(run.id, number, number * 10, queued_at=NOON + number) for number in range(4)]
    ledger.record_batches(run.id, rows)
    moments = (-0.7, 1.9, 3.7)
    for number, at in enumerate(moments):
        ledger.settle([make.settlement(run.id, number, settled_at=NOON + at)])
        history.read()
    course = timeline(ledger, run, bins=4, shares=[0.5, 0.75, 1.0])
    ended = {"settlements": 1, "attempts": 10, "delivered": 10}
    assert course.width == 1
    assert course.bins == (
        Bin(dispatched=10, **ended),
        Bin(dispatched=10, **ended),
        Bin(dispatched=10),
        Bin(dispatched=10, **ended),
    )
    assert course.time_to_reach == {0.5: pytest.approx(1.9), 0.75: pytest.approx(3.7), 1.0: None}
    assert history.read() == course
    ledger.close()
