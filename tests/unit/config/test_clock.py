"""The machine's wall clock may be set; ours goes on."""

from __future__ import annotations

import time

import pytest

from sms_pipeline.config.clock import MachineClock


class Machine:
    """A machine whose wall clock is 1,000 s ahead of its steady one."""

    def __init__(self) -> None:
        self.steady = 500.0
        self.ahead = 1_000.0

    def set_clock(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture(params=["boottime", "monotonic"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """With, or without, a steady clock that also counts while the machine sleeps."""
    machine = Machine()
    monkeypatch.setattr(time, "time", lambda: machine.steady + machine.ahead)
    if request.param == "boottime":
        monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
        monkeypatch.setattr(time, "clock_gettime", lambda _clock: machine.steady)
    else:
        monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
        monkeypatch.setattr(time, "monotonic", lambda: machine.steady)
    return machine


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().split(";")[0] for record in caplog.records]


@pytest.mark.parametrize("step", [-120.0, 120.0])
def test_time_goes_on_when_the_machines_clock_is_set(
    machine: Machine, step: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = MachineClock()
    assert clock.wall() == 1_500
    machine.set_clock(step)
    machine.steady += 10
    assert clock.wall() == 1_510
    # And it is said once
    assert clock.wall() == 1_510
    way = "forward" if step > 0 else "back"
    assert said(caplog) == [f"the clock of this machine was set {way} by 120 s"]


def test_each_step_is_said(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    clock = MachineClock()
    for step in (-120.0, 60.0, 60.0):
        machine.set_clock(step)
        assert clock.wall() == 1_500
    assert [line.split("set ")[1] for line in said(caplog)] == [
        "back by 120 s",
        "forward by 60 s",
        "forward by 60 s",
    ]


def test_small_step_is_not_worth_a_word(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    clock = MachineClock()
    machine.set_clock(-1.5)
    assert clock.wall() == 1_500
    assert said(caplog) == []


def test_two_clocks_of_a_machine_know_how_far_they_are_apart(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    # Given two processes, and a clock that was set between their starts
    first = MachineClock()
    machine.set_clock(-120.0)
    second = MachineClock()
    if first.timeline is None or second.timeline is None:
        pytest.skip("this system does not say since when it runs")
    # Then each can tell what the other one's shows
    assert second.wall() + second.timeline.lead(*first.timeline) == first.wall()
    assert first.wall() + first.timeline.lead(*second.timeline) == second.wall()
    assert len(said(caplog)) == 1


def test_clock_tells_the_time_of_day() -> None:
    assert abs(MachineClock().wall() - time.time()) < 1
