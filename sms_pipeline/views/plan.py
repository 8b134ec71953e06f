"""A plan, as lines of text, as JSON and as a configuration file. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sms_pipeline.core.counts import of_messages
from sms_pipeline.forecast.plan import Fleet, Goal, Plan
from sms_pipeline.views.configuration import configuration_yaml
from sms_pipeline.views.format import NOTHING, count, duration, exact_percent, exact_seconds, money
from sms_pipeline.views.lines import FEW_PROFILES, few_profiles
from sms_pipeline.views.objects import rounded
from sms_pipeline.views.outlook import (
    cap_lines,
    caps_json,
    limit_lines,
    limits_json,
    spread_json,
    where,
)


def plan_lines(plan: Plan) -> list[str]:
    """A plan for people."""
    goal = f"{exact_percent(plan.goal.share)} reached within {exact_seconds(plan.goal.within)}"
    total = of_messages(plan.largest.simulation.num_messages)
    if plan.chosen is None:
        return [f"{total}, {goal}: impossible.", *_why_not(plan)]
    return [
        f"{total}, {goal}: {_senders(plan.chosen)}, {where(plan.chosen.workers)}.",
        *_table(plan, plan.chosen),
        *limit_lines(plan.limits),
        *cap_lines(plan.chosen.caps),
    ]


def plan_json(plan: Plan) -> dict[str, Any]:
    """The fields of `--json`."""
    return {
        "share": plan.goal.share,
        "within_seconds": plan.goal.within,
        "total": plan.largest.simulation.num_messages,
        "possible": plan.chosen is not None,
        **{name: _fleet_json(fleet) if fleet else None for name, fleet in _fleets(plan).items()},
        "largest": _fleet_json(plan.largest),
        "limits": limits_json(plan.limits),
    }


def fleet_yaml(fleet: Fleet, goal: Goal) -> str:
    """A configuration with this fleet."""
    head = (
        f"# {exact_percent(goal.share)} reached within {exact_seconds(goal.within)}, "
        f"{where(fleet.workers)}.\n"
    )
    return head + configuration_yaml(fleet.simulation)


def _fleets(plan: Plan) -> dict[str, Fleet | None]:
    """By name, the smallest first."""
    return {
        "half": plan.beside.get("half"),
        "chosen": plan.chosen,
        "double": plan.beside.get("double"),
    }


def _fleet_json(fleet: Fleet) -> dict[str, Any]:
    return {
        "workers": fleet.workers,
        "senders": fleet.senders,
        "reached_seconds": spread_json(fleet.reached),
        "seconds": spread_json(fleet.end),
        "caps_passed": caps_json(fleet.caps),
        "cost": rounded(fleet.cost),
    }


def _table(plan: Plan, chosen: Fleet) -> Iterator[str]:
    """The chosen fleet between half and double of it, times at the latest."""
    priced = chosen.cost is not None
    cost = ("cost",) if priced else ()
    rows = [
        ("fleet", f"{exact_percent(plan.goal.share)} reached", "end", *cost, *chosen.senders),
        *(
            (
                name,
                *_times(fleet),
                *((money(fleet.cost),) if priced else ()),
                *map(count, fleet.senders.values()),
            )
            for name, fleet in _fleets(plan).items()
            if fleet
        ),
    ]
    if len(chosen.senders) > FEW_PROFILES:
        # No screen is as wide as many profiles.
        rows = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  " + "  ".join(cell.rjust(width) for cell, width in cells)


def _times(fleet: Fleet) -> tuple[str, str]:
    reached = duration(fleet.reached.high) if fleet.reached else NOTHING
    return reached, duration(fleet.end.high)


def _senders(fleet: Fleet) -> str:
    listed = few_profiles(f"{name} {count(senders)}" for name, senders in fleet.senders.items())
    return f"senders {listed}"


def _why_not(plan: Plan) -> Iterator[str]:
    reached = plan.largest.reached
    if reached is None:
        yield (
            "However many senders there are, so many messages are never delivered: they are out "
            "of attempts, or expire. It takes more attempts, a lower failure rate, or a later "
            "deadline."
        )
        return
    yield (
        f"With a sender for each message, and {where(plan.largest.workers)}, it takes "
        f"{duration(reached.high)}."
    )
    yield from limit_lines(plan.limits)
