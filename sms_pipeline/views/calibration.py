"""What a delivery log says about its senders: as a table, in words, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sms_pipeline.core.calibration import Estimate
from sms_pipeline.core.counts import how_many, of_attempts
from sms_pipeline.forecast.calibration import (
    BUSY_MINUTE,
    BUSY_SECONDS,
    CalibratedProfile,
    Calibration,
)
from sms_pipeline.views.format import count, estimated_time, iso, parameter, percent, rate
from sms_pipeline.views.output import new_table, say, write, write_all

#: Fewer attempts tell little.
_FEW = 100
#: A clock that shows whole seconds blurs shorter mean times than this, seconds.
_BLURRED = 10.0
#: A misfit is no reason to hint at the option that is used already.
_HINT = ": --empirical would use the measured times"
#: Delivered and failed attempts that differ by more than this factor are told apart.
_DIFFERENT = 1.25
#: The senders fall short of the busiest seconds by more than this factor.
_SHORT_PEAK = 1.25


def show(calibration: Calibration, as_json: bool) -> None:
    """Print it as a table, or as one JSON object.

    Raises:
        OutputError: it can't be written.
    """
    if as_json:
        write(json.dumps(to_json(calibration)))
        return
    write_all(_table(calibration), *_sentences(calibration))


def tell(calibration: Calibration) -> None:
    """Say on stderr what must be known, while stdout has something else.

    Raises:
        OutputError: it can't be written.
    """
    for sentence in _sentences(calibration):
        say(str(sentence))


def _sentences(calibration: Calibration) -> Iterator[RenderableType]:
    # Names of columns are no markup.
    for line in (source(calibration), *remarks(calibration)):
        yield Text(line)
    for one in calibration.profiles:
        for note in notes(one):
            yield Text(f"{one.profile.name}: {note}")


def source(calibration: Calibration) -> str:
    """What it was calibrated from."""
    log = calibration.log
    guessed = log.columns.guessed
    how = f" (guessed: {', '.join(guessed)}; --columns says otherwise)" if guessed else ""
    return f"From {how_many(log.rows, 'row')}; columns {log.columns}{how}."


def remarks(calibration: Calibration) -> Iterator[str]:
    """What became of profiles that are not as in the log."""
    for old, new in calibration.log.renamed.items():
        yield f"The log calls {new} {' '.join(old.split())!r}; a queue can't have that name."
    for name, lack in calibration.left_out.items():
        yield f"{name} is left out: {lack}."


def _table(calibration: Calibration) -> Table:
    headings = ("messages", "mean time", "shape", "failure rate", "senders", "busiest 10 s")
    table = new_table("profile", *headings, numbers_from=1)
    for one in calibration.profiles:
        table.add_row(
            one.profile.name,
            count(one.attempts),
            interval(one.mean_time, estimated_time),
            interval(one.shape, parameter),
            interval(one.failure_rate, percent),
            count(one.profile.count),
            rate(one.rates.get(BUSY_SECONDS)),
        )
    return table


def interval(estimate: Estimate, show: Callable[[float], str]) -> str:
    """A figure and its interval: 0.951 s (0.948 s to 0.954 s); one that is no wider is none."""
    if estimate.low == estimate.high:
        return f"{show(estimate.value)} (no interval)"
    return f"{show(estimate.value)} ({show(estimate.low)} to {show(estimate.high)})"


def load(one: CalibratedProfile) -> str:
    """The rates of the busiest time, and whether they look like a limit."""
    spans = {1.0: "second", BUSY_SECONDS: "10 s", BUSY_MINUTE: "minute"}
    shown = ", ".join(f"{spans[span]} {rate(found)}" for span, found in one.rates.items())
    judged = {
        None: "the log is too short to tell whether it is a limit",
        True: "kept for a minute, as a rate limit would be",
        False: "not kept for a minute, so the limit may be higher",
    }
    return f"busiest {shown}: {judged[one.rate_held]}"


def notes(one: CalibratedProfile) -> list[str]:
    """What to know before trusting the profile, each in a sentence or two."""
    return [note for note in (write_note(one) for write_note in _NOTES) if note]


def _few(one: CalibratedProfile) -> str | None:
    if one.timed >= _FEW:
        return None
    return f"only {of_attempts(one.timed)}, so the intervals are wide."


def _missing(one: CalibratedProfile) -> str | None:
    if not one.missing:
        return None
    is_one = one.missing == 1
    they = f"{of_attempts(one.missing)} ({percent(one.missing / one.attempts)})"
    they += " has" if is_one else " have"
    if one.final == one.attempts:
        times = "its time is" if is_one else "their times are"
        return f"{they} no end; {times} not counted."
    none = "it was not" if is_one else "none of them was"
    return (
        f"{they} no receipt: no end, or no final status. If {none} delivered, the failure rate is "
        f"{percent(one.highest_failure_rate)}."
    )


def _bursts(one: CalibratedProfile) -> str | None:
    found = one.bursts
    if not found or not found.found:
        return None
    are = "is" if found.bad_minutes == 1 else "are"
    return (
        f"failures come in bursts: outages, not a rate. Their variance a minute is "
        f"{parameter(found.dispersion)} times that of one rate. {count(found.bad_minutes)} of "
        f"{how_many(found.minutes, 'minute')} {are} bad, the worst at {iso(found.worst_at)} with "
        f"{percent(found.worst_rate)}; in the others {percent(found.rate_outside)} fail."
    )


def _misfit(one: CalibratedProfile) -> str | None:
    found = one.misfit
    if not found:
        return None
    hint = "; the measured times are used" if one.profile.times else _HINT
    return (
        f"send times are no gamma distribution: {percent(found.level)} of them are below "
        f"{estimated_time(found.measured)}, where it has {estimated_time(found.fitted)}{hint}."
    )


def _blurred(one: CalibratedProfile) -> str | None:
    if not one.whole_seconds or one.mean_time.value >= _BLURRED:
        return None
    return "the times are whole seconds, so the shape is too low, and short times are lost."


def _no_time(one: CalibratedProfile) -> str | None:
    return None if one.mean_time.value else "no attempt took any time: its senders have no limit."


def _apart(one: CalibratedProfile) -> str | None:
    delivered, failed = one.mean_delivered, one.mean_failed
    if not delivered or not failed:
        return None
    if 1 / _DIFFERENT <= failed / delivered <= _DIFFERENT:
        return None
    return (
        f"failed attempts take {estimated_time(failed)}, delivered ones "
        f"{estimated_time(delivered)}; a profile has the same times for both."
    )


def _peak(one: CalibratedProfile) -> str | None:
    found = one.rates.get(BUSY_SECONDS, 0.0)
    if found <= _SHORT_PEAK * one.profile.capacity:
        return None
    return (
        f"{rate(found)} began in the busiest 10 s, more than its senders make in the long run "
        f"({rate(one.profile.capacity)}): the log is short for such send times."
    )


_NOTES = (_few, _no_time, _missing, _bursts, _misfit, _blurred, _apart, _peak)


# JSON


def to_json(calibration: Calibration) -> dict[str, Any]:
    """The object of `--json`; all times are seconds."""
    log = calibration.log
    return {
        "log": str(log.path),
        "rows": log.rows,
        "columns": {key: value for key, value in log.columns._asdict().items() if key != "guessed"},
        "guessed": list(log.columns.guessed),
        "profiles": [_profile_json(one) for one in calibration.profiles],
        "renamed": log.renamed,
        "left_out": calibration.left_out,
    }


def _profile_json(one: CalibratedProfile) -> dict[str, Any]:
    return {
        **one.profile.model_dump(mode="json", exclude={"max_time"}),
        "intervals": {
            "mean_time": [one.mean_time.low, one.mean_time.high],
            "shape": [one.shape.low, one.shape.high],
            "failure_rate": [one.failure_rate.low, one.failure_rate.high],
        },
        "attempts": one.attempts,
        "timed": one.timed,
        "missing_receipts": one.missing,
        "failed": one.failed,
        "highest_failure_rate": one.highest_failure_rate,
        "busiest": [
            {"seconds": span, "attempts_per_second": found} for span, found in one.rates.items()
        ],
        "rate_held": one.rate_held,
        "misfit": one.misfit and one.misfit._asdict(),
        "bursts": one.bursts and one.bursts._asdict(),
        "notes": notes(one),
    }
