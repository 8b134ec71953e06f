"""A forecast, as lines of text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sms_pipeline.core.counts import how_many, of_messages
from sms_pipeline.forecast.caps import PassedCap
from sms_pipeline.forecast.limits import Limit
from sms_pipeline.forecast.measuring import Measurement
from sms_pipeline.forecast.outlook import NEAR_CEILING, UNSURE, CheckOutlook, Outlook, Spread
from sms_pipeline.views.format import (
    count,
    duration,
    exact_percent,
    percent,
    rate,
)
from sms_pipeline.views.lines import (
    cost_lines,
    headline,
    summary_of_counts,
    summary_of_profile,
    threshold_line,
)
from sms_pipeline.views.measurement import measured_json, measurement_line
from sms_pipeline.views.objects import counts_json, profile_json, rounded
from sms_pipeline.views.parts import parts_json, parts_lines


def outlook_lines(
    outlook: Outlook, limits: Sequence[Limit], measurement: Measurement | None = None
) -> list[str]:
    """A forecast for people, like the summary of a run."""
    progress = outlook.progress
    return [
        _end(outlook),
        f"{count(outlook.runs)} simulated runs, {where(outlook.workers)}; "
        f"{headline(outlook.simulation)}.",
        _shares(outlook),
        *summary_of_counts(progress.counts),
        *parts_lines(progress),
        *cost_lines(progress),
        *(f"  {summary_of_profile(profile)}" for profile in progress.profiles),
        *limit_lines(limits),
        *_machine(outlook, measurement),
        *cap_lines(outlook.caps),
        *(_threshold(one) for one in outlook.thresholds),
        *_thinned(outlook),
    ]


def brief_lines(outlook: Outlook) -> list[str]:
    """What most people ask of a forecast: how long, and whether thresholds are kept."""
    return [_end(outlook), _shares(outlook), *(_threshold(one) for one in outlook.thresholds)]


def _end(outlook: Outlook) -> str:
    progress = outlook.progress
    return (
        f"Forecast: {of_messages(progress.total)} in {_range(outlook.end)}, "
        f"average rate {rate(progress.average_rate)}."
    )


def outlook_json(
    outlook: Outlook, limits: Sequence[Limit], measurement: Measurement | None = None
) -> dict[str, Any]:
    """The fields of `--json`."""
    progress = outlook.progress
    return {
        "forecast": True,
        "name": outlook.simulation.name,
        "tags": outlook.simulation.tags,
        "total": progress.total,
        "workers": outlook.workers,
        "runs": outlook.runs,
        "seconds": spread_json(outlook.end),
        "reached_seconds": {
            exact_percent(share): spread_json(spread) for share, spread in outlook.reached.items()
        },
        "average_rate": rounded(progress.average_rate),
        **counts_json(progress.counts),
        **parts_json(progress),
        "reached": rounded(progress.reached),
        "cost": rounded(progress.cost),
        "profiles": [profile_json(profile) for profile in progress.profiles],
        "limits": limits_json(limits),
        "machine_load": rounded(outlook.load),
        "measured": measured_json(measurement) if measurement else None,
        "caps_passed": caps_json(outlook.caps),
        "thresholds": [
            {**one.judgement.to_json(), "held": one.held, "runs": one.runs}
            for one in outlook.thresholds
        ],
        "thinning_error": rounded(outlook.error),
    }


def _machine(outlook: Outlook, measurement: Measurement | None) -> Iterator[str]:
    if measurement:
        yield measurement_line(measurement)
    if outlook.load > NEAR_CEILING:
        advice = "" if measurement else " Measure it: sms-pipeline measure"
        yield (
            f"The machine, not the senders, decides: it would be busy {percent(outlook.load)} of "
            f"the time, so the range is {exact_percent(UNSURE)} wider.{advice}"
        )


def limits_json(limits: Iterable[Limit]) -> list[dict[str, Any]]:
    """What holds a run up, and when it would end without each."""
    return [{"without": one.without, "seconds": rounded(one.end)} for one in limits]


def spread_json(spread: Spread | None) -> dict[str, float | None] | None:
    """Seconds; None where there are none."""
    if spread is None:
        return None
    return {
        "low": rounded(spread.low),
        "middle": rounded(spread.middle),
        "high": rounded(spread.high),
    }


def _range(spread: Spread) -> str:
    return f"{duration(spread.middle)} ({duration(spread.low)} to {duration(spread.high)})"


def where(workers: int | None) -> str:
    """On how many processes a run is played, in words."""
    if workers is None:
        return "one process"
    return f"{count(workers)} worker{'s' if workers > 1 else ''} of each profile on RabbitMQ"


def _shares(outlook: Outlook) -> str:
    return ", ".join(_reached(outlook)) + "."


def _reached(outlook: Outlook) -> Iterator[str]:
    for share, spread in outlook.reached.items():
        word = f"{exact_percent(share)} reached"
        yield f"{word} in {duration(spread.middle)}" if spread else f"{word}: not in every run"


def limit_lines(limits: Sequence[Limit]) -> Iterator[str]:
    """What holds a run up, the worst first."""
    if not limits:
        return
    worst, *others = limits
    yield f"What holds it up most: {worst.without}, it would end in {duration(worst.end)}."
    if others:
        rest = "; ".join(f"{one.without}, {duration(one.end)}" for one in others)
        yield f"Next: {rest}."


def cap_lines(caps: Iterable[PassedCap]) -> Iterator[str]:
    """Warnings of what carriers will refuse."""
    for one in caps:
        yield (
            f"Warning: {one.profile} would send about {of_messages(one.messages)} in a day, but "
            f"its daily_cap allows {count(one.allowed)}; a carrier refuses the others."
        )


def caps_json(caps: Iterable[PassedCap]) -> list[dict[str, Any]]:
    """What carriers will refuse."""
    return [one._asdict() for one in caps]


def _threshold(one: CheckOutlook) -> str:
    return (
        f"{threshold_line(one.judgement)}, held in {count(one.held)} of {how_many(one.runs, 'run')}"
    )


def _thinned(outlook: Outlook) -> Iterator[str]:
    if outlook.error is not None:
        yield (
            f"Thinned: not every message was simulated, so times may be off by "
            f"{percent(outlook.error)}. With --exact every message is."
        )
