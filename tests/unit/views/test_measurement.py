"""What was measured of a machine, as users see it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sms_pipeline.forecast.costs import COSTS
from sms_pipeline.forecast.measuring import Ceiling, Measurement
from sms_pipeline.views.measurement import (
    measurement_json,
    measurement_line,
    show_measurement,
)

CEILING = Ceiling(one_process=300_000.4, producer=1_200_000, worker=600_000)
FOUND = Measurement("host-a", 0.0, True, replace(COSTS, make_message=1e-6, play_message=2e-6))


def test_the_table_has_each_cost_and_the_ceilings(capsys: pytest.CaptureFixture[str]) -> None:
    show_measurement(FOUND, CEILING)
    shown = capsys.readouterr().out
    assert "Measured on host-a with no broker" in shown
    for line in ("producer, a message", "worker, a batch", "publish", "deliver", "settle"):
        assert line in shown
    assert "1 us" in shown and "2 us" in shown
    assert "300,000 messages/s in one process" in shown
    assert "a producer 1,200,000/s, each worker 600,000/s" in shown


def test_a_forecast_says_what_it_goes_by() -> None:
    assert "3 us a message" in measurement_line(FOUND)
    assert "with RabbitMQ" in measurement_line(replace(FOUND, embedded=False))


def test_programs_get_all_costs_and_rates() -> None:
    found = measurement_json(FOUND, CEILING)
    assert found["seconds"]["make_message"] == 1e-6
    assert found["messages_per_second"] == {
        "one_process": 300_000.4, "producer": 1_200_000, "worker": 600_000,
    }  # fmt: skip
