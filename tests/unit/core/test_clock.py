"""Clocks of one machine can be compared, those of two can't."""

from __future__ import annotations

from sms_pipeline.core.clock import Ahead, Timeline, clock_of, lead_of
from sms_pipeline.testing.clock import START, ManualClock
from tests.unit import make


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


def test_clock_goes_by_the_timeline_of_what_began_before_it_was_set() -> None:
    # Given a batch from before somebody set the clock back by an hour
    clock = ManualClock()
    batch = make.batch(boot=clock.timeline.boot, offset=clock.timeline.offset)
    assert clock_of(batch, clock) is clock
    clock.step_wall(-3_600)
    # Then its clock shows what this one would have shown
    assert lead_of(batch, clock) == 3_600
    assert clock_of(batch, clock).wall() == START
    # And that of another machine is taken as it is
    elsewhere = make.batch(boot="elsewhere", offset=0.0)
    assert clock_of(elsewhere, clock) is clock
