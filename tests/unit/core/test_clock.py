"""Clocks of one machine can be compared, those of two can't."""

from __future__ import annotations

from sms_pipeline.core.clock import Ahead, Timeline
from sms_pipeline.testing.clock import START, ManualClock


def test_lead_is_known_on_one_machine_only() -> None:
    ours = Timeline("here", 1_000.0)
    assert ours.lead("here", 1_120.0) == 120
    assert ours.lead("here", 880.0) == -120
    assert ours.lead("elsewhere", 1_120.0) == 0
    assert ours.lead(None, 0.0) == 0


def test_clock_that_is_ahead_differs_in_its_wall_clock_only() -> None:
    clock = ManualClock(monotonic=50.0)
    ahead = Ahead(clock, 120.0)
    ahead.sleep(10.0)
    assert (ahead.wall(), ahead.monotonic()) == (START + 130, 60.0)
    assert (clock.wall(), clock.slept) == (START + 10, [10.0])
    assert ahead.timeline is not None
    assert clock.timeline.lead(*ahead.timeline) == 120.0
