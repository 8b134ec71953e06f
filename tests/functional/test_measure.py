"""`sms-pipeline measure`: real runs, in one process and through RabbitMQ."""

from __future__ import annotations

import pytest

from tests.functional.terminal import Terminal

#: Four of one message, and three of many.
RUNS = 7


@pytest.mark.parametrize("where", ["terminal", "shared_terminal"])
def test_what_a_machine_takes_is_measured_and_forecasts_go_by_it(
    where: str, request: pytest.FixtureRequest
) -> None:
    terminal: Terminal = request.getfixturevalue(where)
    embedded = where == "terminal"
    measured = terminal.run("measure", "--json")
    assert measured.code == 0, measured.err
    found = measured.json
    assert found["embedded"] is embedded
    # What takes CPU takes some
    for name in ("play_batch", "settle", "start"):
        assert 0 < found["seconds"][name] < 5, name
    rates = found["messages_per_second"]
    assert 0 < rates["one_process"] < rates["worker"]
    assert "batches of 1,000" in measured.err
    # Then
    forecast = terminal.run("forecast", "--json")
    assert forecast.json["measured"]["seconds"] == found["seconds"]
    assert "Measured on" in terminal.run("forecast").out
    assert len(terminal.run("runs", "--json").objects) == RUNS
    assert terminal.run("audit", str(RUNS)).code == 0
    # None of them is the latest run
    assert terminal.run("audit").code == 2


def test_a_measurement_that_is_interrupted_keeps_nothing(terminal: Terminal) -> None:
    begun = terminal.start("measure")
    begun.says("Measuring")
    begun.interrupt()
    ended = begun.wait()
    assert (ended.code, "Traceback" in ended.err) == (130, False), ended.err
    assert terminal.run("forecast", "--json").json["measured"] is None
