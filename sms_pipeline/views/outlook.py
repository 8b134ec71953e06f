"""A forecast, as lines of text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sms_pipeline.forecast.limits import Limit
from sms_pipeline.forecast.outlook import CheckOutlook, Outlook, Spread
from sms_pipeline.views.format import count, duration, exact_percent, percent, rate
from sms_pipeline.views.lines import (
    headline,
    summary_of_counts,
    summary_of_profile,
    threshold_line,
)
from sms_pipeline.views.objects import counts_json, profile_json, rounded


def outlook_lines(outlook: Outlook, limits: Sequence[Limit]) -> list[str]:
    """A forecast for people, like the summary of a run."""
    progress = outlook.progress
    return [
        f"Forecast: {count(progress.total)} messages in {_range(outlook.end)}, "
        f"average rate {rate(progress.average_rate)}.",
        f"{_runs(outlook)}; {headline(outlook.simulation)}.",
        ", ".join(_reached(outlook)) + ".",
        *summary_of_counts(progress.counts),
        *(f"  {summary_of_profile(profile)}" for profile in progress.profiles),
        *_limit_lines(outlook, limits),
        *(_threshold(one, outlook) for one in outlook.thresholds),
        *_thinned(outlook),
    ]


def outlook_json(outlook: Outlook, limits: Sequence[Limit]) -> dict[str, Any]:
    """The fields of `--json`."""
    progress = outlook.progress
    return {
        "forecast": True,
        "name": outlook.simulation.name,
        "tags": outlook.simulation.tags,
        "total": progress.total,
        "workers": outlook.workers,
        "runs": outlook.runs,
        "seconds": _spread_json(outlook.end),
        "reached_seconds": {
            exact_percent(share): _spread_json(spread) for share, spread in outlook.reached.items()
        },
        "average_rate": rounded(progress.average_rate),
        **counts_json(progress.counts),
        "reached": rounded(progress.reached),
        "profiles": [profile_json(profile) for profile in progress.profiles],
        "limits": [{"without": one.without, "seconds": rounded(one.end)} for one in limits],
        "thresholds": [{**one.judgement.to_json(), "held": one.held} for one in outlook.thresholds],
        "messages_per_simulated": rounded(outlook.factor),
        "thinning_error": rounded(outlook.error),
    }


def _spread_json(spread: Spread | None) -> dict[str, float | None] | None:
    if spread is None:
        return None
    return {
        "low": rounded(spread.low),
        "middle": rounded(spread.middle),
        "high": rounded(spread.high),
    }


def _range(spread: Spread) -> str:
    return f"{duration(spread.middle)} ({duration(spread.low)} to {duration(spread.high)})"


def _runs(outlook: Outlook) -> str:
    workers = outlook.workers
    where = (
        "one process"
        if workers is None
        else f"{count(workers)} worker{'s' if workers > 1 else ''} of each profile on RabbitMQ"
    )
    return f"{count(outlook.runs)} simulated runs, {where}"


def _reached(outlook: Outlook) -> Iterator[str]:
    for share, spread in outlook.reached.items():
        word = f"{exact_percent(share)} reached"
        yield f"{word} in {duration(spread.middle)}" if spread else f"{word}: not in every run"


def _limit_lines(outlook: Outlook, limits: Sequence[Limit]) -> Iterator[str]:
    if not limits:
        return
    worst, *others = limits
    yield f"What holds it up most: if {worst.without}, it would end in {duration(worst.end)}."
    if others:
        rest = "; ".join(f"if {one.without}, {duration(one.end)}" for one in others)
        yield f"Next: {rest}."


def _threshold(one: CheckOutlook, outlook: Outlook) -> str:
    return f"{threshold_line(one.judgement)}, held in {count(one.held)} of {count(outlook.runs)}"


def _thinned(outlook: Outlook) -> Iterator[str]:
    if outlook.error:
        yield (
            f"Thinned, one simulated message for {count(outlook.factor)}: times may be off by "
            f"{percent(outlook.error)}. --exact simulates every message."
        )
