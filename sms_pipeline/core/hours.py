"""The hours in which a run may send. Pure; the caller has the clock."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, field_validator

from sms_pipeline.core.frozen import Frozen

#: From when until when, on a clock of 24 hours.
HOURS = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)")
#: Days around a moment in which an opening or a closing must be.
_DAYS = (-2, -1, 0, 1, 2)
#: Nobody waits for the end of work that takes so many days.
_MOST_DAYS = 3_660
#: Clocks are put forward by whole minutes.
_STEP = timedelta(minutes=1)


class Window(Frozen):
    """Hours of the day, every day, by the clocks of a time zone."""

    hours: str = Field(description="from when until when, as 08:00-21:00", examples=["08:00-21:00"])
    zone: str = Field(description="whose clocks, as Europe/Berlin", examples=["Europe/Berlin"])
    #: What its moments are behind those of the caller, seconds.
    _behind: float = PrivateAttr(default=0.0)

    @staticmethod
    def from_text(value: object) -> object:
        """`08:00-21:00 Europe/Berlin` is short for a mapping.

        Raises:
            ValueError: there is no time zone in it.
        """
        if not isinstance(value, str):
            return value
        hours, _, zone = value.strip().partition(" ")
        if not zone.strip():
            raise ValueError("needs a time zone, too, as in '08:00-21:00 Europe/Berlin'")
        return {"hours": hours, "zone": zone.strip()}

    @field_validator("hours")
    @classmethod
    def _are_hours(cls, hours: str) -> str:
        found = HOURS.fullmatch(hours)
        if not found:
            raise ValueError("must be two times of day, as in 08:00-21:00")
        try:
            start, end = map(time.fromisoformat, found.groups())
        except ValueError:
            raise ValueError("must be times from 00:00 to 23:59, as in 08:00-21:00") from None
        if start == end:
            raise ValueError("must begin and end at different times")
        return hours

    @field_validator("zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (LookupError, ValueError, OSError):
            raise ValueError("must be a time zone, as in Europe/Berlin or UTC") from None
        return zone

    def behind(self, seconds: float) -> Self:
        """The same for a caller whose clock is so far behind the real one."""
        moved = self.model_copy()
        moved._behind = seconds
        return moved

    def opens_in(self, wall: float) -> float:
        """Seconds until it is open; 0 while it is."""
        now = wall + self._behind
        opening = next(start for start, end in self._spans(now) if end > now)
        return max(opening - now, 0.0)

    def closes_at(self, wall: float) -> float:
        """When it closes next, seconds since the epoch."""
        now = wall + self._behind
        return next(end for _, end in self._spans(now) if end > now) - self._behind

    def seconds_for(self, work: float, wall: float) -> float:
        """How long so many seconds of work take, if all of it is done in its hours."""
        at = wall
        for _ in range(_MOST_DAYS):
            at += self.opens_in(at)
            room = self.closes_at(at) - at
            if work <= room:
                return at + work - wall
            work, at = work - room, at + room
        return at + work - wall

    def work_in(self, seconds: float, wall: float) -> float:
        """For how much of so many seconds it is open: the inverse of `seconds_for`."""
        at, end, work = wall, wall + seconds, 0.0
        while (at := at + self.opens_in(at)) < end:
            closing = min(self.closes_at(at), end)
            work, at = work + closing - at, closing
        return work

    def __str__(self) -> str:
        return f"{self.hours} {self.zone}"

    @property
    def opening(self) -> str:
        """When it opens, in words."""
        return f"opens at {self.hours.partition('-')[0]} {self.zone}"

    def _spans(self, now: float) -> tuple[tuple[float, float], ...]:
        """When it is open around a moment, in order."""
        return _spans(
            self.hours, self.zone, datetime.fromtimestamp(now, ZoneInfo(self.zone)).date()
        )


#: It is asked for each batch that comes outside of its hours.
@lru_cache
def _spans(hours: str, zone_name: str, today: date) -> tuple[tuple[float, float], ...]:
    """When it is open around a day, in order."""
    zone = ZoneInfo(zone_name)
    start, end = map(time.fromisoformat, hours.split("-"))
    overnight = timedelta(days=end < start)
    spans = (
        (
            _moment(datetime.combine(day, start, zone)),
            _moment(datetime.combine(day + overnight, end, zone)),
        )
        for day in (today + timedelta(days=number) for number in _DAYS)
    )
    # Where clocks are put forward past all of it, it is not open that day.
    return tuple(span for span in spans if span[0] < span[1])


def _moment(local: datetime) -> float:
    """Seconds since the epoch; where clocks are put forward past that time: of when they are."""
    moment = local.timestamp()
    while datetime.fromtimestamp(moment, local.tzinfo).time() != local.time():
        local += _STEP
        moment = local.timestamp()
    return moment
