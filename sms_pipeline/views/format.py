"""Writes every figure that a view shows. No other module formats figures.

A figure that is not known is `NOTHING`. Rounding never misleads: a value above zero is not written
as zero, and a share below 1 is not written as 100.0%.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from sms_pipeline.core.errors import printable
from sms_pipeline.core.events import Event

NOTHING = "-"

_MINUTE, _HOUR = 60, 3_600
#: The smallest value above zero that each function writes.
_LEAST_SHARE, _LEAST_TIME, _LEAST_DURATION, _LEAST_RATE = 0.001, 0.001, 0.1, 0.1
_PERCENT, _MILLISECONDS = 100, 1_000
#: Slower rates are written with one decimal.
_SLOW = 10
#: What a formula starts with, also in the wide letters of East Asian scripts.
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: Longer lists of numbers are summed up.
_LONG_LIST = 5
_HUNDRED = 100
#: Less than that is not rounded to hundredths.
_CENT = 0.01
#: Suffixes of large round counts.
_MULTIPLES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


# Counts, rates and shares


def count(value: float | None) -> str:
    """1,234."""
    return NOTHING if value is None else f"{value:,.0f}"


def mean_parts(value: float | None) -> str:
    """Parts of a message, on average: 1, 1.53."""
    return NOTHING if value is None else f"{value:.3g}"


def part_limit(limit: float) -> str:
    """A configured limit: 3 parts/s, 0.1 parts/s."""
    return f"{limit:g} parts/s"


def rate(value: float | None) -> str:
    """1,234/s; below ten with one decimal, 2.5/s."""
    if value is None:
        return NOTHING
    shown = _at_least(value, _LEAST_RATE)
    digits = 1 if shown > 0 and round(shown, 1) < _SLOW else 0
    return f"{shown:,.{digits}f}/s"


def percent(share: float | None) -> str:
    """A measured share, 0 to 1: 12.3%."""
    if share is None:
        return NOTHING
    shown = _at_least(share, _LEAST_SHARE)
    if share < 1:
        shown = min(shown, 1 - _LEAST_SHARE)
    return f"{shown:.1%}"


def exact_percent(share: float | None) -> str:
    """A share that somebody chose, with the digits they gave it: 50%, 0.05%."""
    return NOTHING if share is None else f"{share * _PERCENT:.10g}%"


def points(difference: float | None) -> str:
    """The difference between two shares. In percent it could be mistaken for a relative change."""
    if difference is None:
        return NOTHING
    return f"{_at_least(difference, _LEAST_SHARE) * _PERCENT:.1f} points"


def signed(value: float | None, show: Callable[[float | None], str]) -> str:
    """A difference, as `show` writes it, with its sign."""
    if not value:
        return show(value)
    return f"{'+' if value > 0 else '-'}{show(abs(value))}"


def money(value: float | None) -> str:
    """An amount in the currency of its price: 1,234.50; below a hundredth as it is, 0.0075."""
    if value is None:
        return NOTHING
    return f"{value:.2g}" if 0 < value < _CENT else f"{value:,.2f}"


# Durations


def message_time(seconds: float | None) -> str:
    """How long one message took: 3.533 s; from a minute on, a `duration`."""
    if seconds is None:
        return NOTHING
    if round(seconds, 3) < _MINUTE:
        return f"{_at_least(seconds, _LEAST_TIME):.3f} s"
    return duration(seconds)


def duration(seconds: float | None) -> str:
    """How long something went on: 9.5 s, 3 min 17 s, 2 h 05 min."""
    if seconds is None:
        return NOTHING
    if round(seconds, 1) < _MINUTE:
        return f"{_at_least(seconds, _LEAST_DURATION):.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"


def exact_seconds(seconds: float | None) -> str:
    """A time that somebody chose, with the digits they gave it: 0.05 s."""
    return NOTHING if seconds is None else f"{seconds:.10g} s"


# Estimates, with the digits that they can be trusted for


def estimated_time(seconds: float) -> str:
    """0.951 s; also times far below a millisecond."""
    return f"{seconds:.4g} s"


def small_time(seconds: float) -> str:
    """What one of many takes, with three digits: 1.43 us, 5.73 ms, 1.2 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def parameter(value: float) -> str:
    """With at least three digits: 3.02, 1,234."""
    return f"{value:.3g}" if value < _HUNDRED else count(value)


# Labels of axes: round values, as short as possible


def round_time(seconds: float) -> str:
    """0, 20 ms, 5 s, 1:30 min, 2 h."""
    if not seconds:
        return "0"
    if seconds < 1:
        return f"{seconds * _MILLISECONDS:.3g} ms"
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    size, part, unit = (_MINUTE, 1, "min") if seconds < _HOUR else (_HOUR, _MINUTE, "h")
    whole, rest = divmod(round(seconds), size)
    return f"{whole}:{rest // part:02d} {unit}" if rest else f"{whole} {unit}"


def round_count(value: float) -> str:
    """0, 950, 1.5k, 2M."""
    for size, suffix in _MULTIPLES:
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


# Moments


def moment(at: float | None) -> str:
    """Seconds since the epoch, in the reader's time zone: 2023-11-14 23:13:20 +0100."""
    if at is None:
        return "not yet"
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def clock(at: float) -> str:
    """The time of day, to the millisecond: 23:13:20.250."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S.%f")[:-3]


def iso(at: float | None) -> str | None:
    """For machines, in UTC: 2023-11-14T22:13:20.250+00:00."""
    return (
        None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    )


# For machines; from the configuration


def number(value: float) -> str:
    """For programs: no thousands separators, no trailing zeros."""
    return f"{value:.9g}"


def csv_line(cells: Iterable[object]) -> bytes:
    """A line of CSV for a spreadsheet, which must not take a word for a formula.

    An apostrophe stands before a word that starts like one, `+` of a phone number included.
    """
    line = io.StringIO()
    csv.writer(line).writerow(_csv_cell(cell) for cell in cells)
    return line.getvalue().encode()


def _csv_cell(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    shown = printable(cell)
    return f"'{shown}" if shown.startswith(_FORMULA_STARTS) else shown


def run_title(number: int, name: str | None) -> str:
    """Run 3, or Run 3 "drill"."""
    return f'Run {number} "{name}"' if name else f"Run {number}"


def tag_list(tags: Mapping[str, str]) -> str:
    """region=north, team=a."""
    return ", ".join(f"{key}={value}" for key, value in tags.items())


def event_text(event: Event) -> str:
    """What goes wrong, and where: outage of 50% of fast."""
    where = event.profile or "all profiles"
    said = []
    if event.outage:
        share = "" if event.share == 1 else f"{exact_percent(event.share)} of "
        said.append(f"outage of {share}{where}")
    if event.slowdown is not None:
        said.append(f"{event.slowdown:g} times as slow")
    if event.failure_rate is not None:
        said.append(f"{exact_percent(event.failure_rate)} of attempts fail")
    text = ", ".join(said)
    return text if event.outage else f"{where}: {text}"


def setting(value: object) -> str:
    """A value of the configuration."""
    if isinstance(value, list):
        if len(value) > _LONG_LIST and not isinstance(value[0], str):
            return f"{len(value)} values from {setting(value[0])} to {setting(value[-1])}"
        return ", ".join(map(setting, value)) or NOTHING
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    if isinstance(value, float):
        return number(value)
    return NOTHING if value is None else str(value)


def _at_least(value: float, least: float) -> float:
    """`value`; if it is closer to zero than `least`, but not zero, then `least` with its sign."""
    return math.copysign(least, value) if 0 < abs(value) < least else value
