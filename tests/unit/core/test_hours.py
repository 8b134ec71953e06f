"""The hours in which a run may send."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from sms_pipeline.core.hours import Window
from sms_pipeline.core.run_state import RunState, state_of, stuck_before
from sms_pipeline.core.simulation import Simulation, parse_simulation
from tests.unit import make

DAY = Window(hours="08:00-21:00", zone="Europe/Berlin")
NIGHT = Window(hours="21:00-06:00", zone="Europe/Berlin")
HOUR = 3_600.0


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("window", "now", "opens_in"),
    [
        (DAY, "2026-05-04 08:00", 0),
        (DAY, "2026-05-04 20:59:59", 0),
        (DAY, "2026-05-04 21:00", 11 * HOUR),
        (DAY, "2026-05-04 07:30", HOUR / 2),
        (NIGHT, "2026-05-04 23:00", 0),
        (NIGHT, "2026-05-04 05:59", 0),
        (NIGHT, "2026-05-04 06:00", 15 * HOUR),
        # The night in which clocks are put forward is an hour shorter, the other one longer
        (DAY, "2026-03-28 21:00", 10 * HOUR),
        (DAY, "2026-10-24 21:00", 12 * HOUR),
    ],
)
def test_until_it_opens(window: Window, now: str, opens_in: float) -> None:
    assert window.opens_in(at(now)) == opens_in


@pytest.mark.parametrize(
    ("window", "now", "closes"),
    [
        (DAY, "2026-05-04 08:00", "2026-05-04 21:00"),
        (DAY, "2026-05-04 21:00", "2026-05-05 21:00"),
        (NIGHT, "2026-05-04 23:00", "2026-05-05 06:00"),
        (NIGHT, "2026-05-04 01:00", "2026-05-04 06:00"),
        # Through the night in which clocks are put forward
        (NIGHT, "2026-03-28 23:00", "2026-03-29 06:00"),
    ],
)
def test_until_it_closes(window: Window, now: str, closes: str) -> None:
    assert window.closes_at(at(now)) == at(closes)


@pytest.mark.parametrize("hours", ["02:00-03:00", "02:00-02:45"])
def test_hours_that_a_day_does_not_have_are_left_out(hours: str) -> None:
    window = Window(hours=hours, zone="Europe/Berlin")
    # From 02:00 clocks are put forward to 03:00
    assert window.opens_in(at("2026-03-29 01:00")) == at("2026-03-30 02:00") - at(
        "2026-03-29 01:00"
    )


@pytest.fixture
def _far_west(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On a machine where it is still the day before."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Etc/GMT+12")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_west")
def test_the_day_is_that_of_the_zone_not_of_the_machine() -> None:
    window = Window(hours="02:00-03:00", zone="Europe/Berlin")
    # Tomorrow has no such hours
    now = at("2026-03-28 03:30")
    assert window.opens_in(now) == at("2026-03-30 02:00") - now


def test_hours_that_begin_or_end_where_clocks_are_put_forward_do_so_then() -> None:
    end = Window(hours="22:00-02:30", zone="Europe/Berlin")
    assert end.closes_at(at("2026-03-29 01:00")) == at("2026-03-29 03:00")
    start = Window(hours="02:30-08:00", zone="Europe/Berlin")
    assert start.opens_in(at("2026-03-29 01:00")) == HOUR


def test_work_takes_as_many_days_as_its_hours_make_of_it() -> None:
    now = at("2026-05-04 20:00")
    assert DAY.seconds_for(0.5 * HOUR, now) == 0.5 * HOUR
    # What fills its hours is done when they end
    assert DAY.seconds_for(HOUR, now) == HOUR
    assert DAY.seconds_for(2 * HOUR, now) == 13 * HOUR
    assert DAY.seconds_for(15 * HOUR, now) == at("2026-05-06 09:00") - now
    assert DAY.seconds_for(HOUR, at("2026-05-04 22:00")) == 11 * HOUR


@pytest.mark.parametrize("begin", ["2026-05-04 20:00", "2026-05-04 22:00", "2026-03-28 12:00"])
@pytest.mark.parametrize("work", [0.5 * HOUR, 2 * HOUR, 40 * HOUR])
def test_hours_have_as_much_work_as_it_takes_to_do_it(begin: str, work: float) -> None:
    assert DAY.work_in(DAY.seconds_for(work, at(begin)), at(begin)) == pytest.approx(work)


def test_no_work_is_done_at_night() -> None:
    assert DAY.work_in(8 * HOUR, at("2026-05-04 22:00")) == 0
    assert DAY.work_in(11 * HOUR, at("2026-05-04 20:00")) == HOUR
    assert DAY.work_in(0, at("2026-05-04 20:00")) == 0


def test_work_without_an_end_takes_as_long_as_nobody_waits() -> None:
    lifetime = 1e9
    assert lifetime < DAY.seconds_for(lifetime, at("2026-05-04 20:00")) < lifetime * 24 / 13


def test_a_clock_that_is_behind() -> None:
    now = at("2026-05-04 07:30")
    assert DAY.behind(now - 1_000.0).opens_in(1_000.0) == HOUR / 2
    assert DAY.behind(now - 1_000.0).closes_at(1_000.0) == 1_000.0 + 13.5 * HOUR


def test_it_is_written_in_one_line_or_as_a_mapping_and_kept_with_the_run() -> None:
    for written in ("08:00-21:00 Europe/Berlin", {"hours": "08:00-21:00", "zone": "Europe/Berlin"}):
        simulation = Simulation.model_validate({"window": written})
        assert simulation.window == DAY
        assert parse_simulation(simulation.model_dump_json()).window == DAY
    assert (str(DAY), DAY.opening) == ("08:00-21:00 Europe/Berlin", "opens at 08:00 Europe/Berlin")


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("08:00-21:00", "needs a time zone, too, as in '08:00-21:00 Europe/Berlin'"),
        ("8-21 UTC", "must be two times of day, as in 08:00-21:00"),
        ("25:00-21:00 UTC", "must be times from 00:00 to 23:59"),
        ("08:00-24:00 UTC", "must be times from 00:00 to 23:59"),
        ("08:00-08:00 UTC", "must begin and end at different times"),
        ("08:00-21:00 Mars/Base", "must be a time zone, as in Europe/Berlin or UTC"),
        ("08:00-21:00 ../etc/passwd", "must be a time zone, as in Europe/Berlin or UTC"),
        ("08:00-21:00 a\0b", "must be a time zone, as in Europe/Berlin or UTC"),
        ({"hours": "08:00-21:00"}, "Field required"),
        (5, "valid dictionary"),
    ],
)
def test_what_is_wrong_with_it_is_told(written: object, what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Simulation.model_validate({"window": written})


def test_what_waits_for_its_hours_is_neither_stuck_nor_stalled() -> None:
    simulation = Simulation(window=DAY)
    waited = simulation.stuck_after
    for closed in ("2026-05-04 07:00", "2026-05-04 08:01"):
        assert stuck_before(simulation, at(closed)) == 0.0
    assert stuck_before(simulation, at("2026-05-04 12:00")) == at("2026-05-04 12:00") - waited
    facts = make.snapshot(simulation=simulation, started_at=at("2026-05-04 06:00"))
    assert state_of(facts, at("2026-05-04 07:59"), nobody_online=False) is RunState.RUNNING
    assert state_of(facts, at("2026-05-04 09:00"), nobody_online=False) is RunState.STALLED
