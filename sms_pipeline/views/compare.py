"""Compares two runs: their figures, and the settings that differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.files import dotted
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Run
from sms_pipeline.core.run_state import OVER, RunState
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import BINS, Timeline, timeline
from sms_pipeline.views.format import (
    NOTHING,
    count,
    duration,
    exact_percent,
    message_time,
    money,
    percent,
    points,
    rate,
    setting,
    signed,
)
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.output import new_table, write, write_all
from sms_pipeline.views.percentiles import PERCENTILES
from sms_pipeline.views.reader import Reader
from sms_pipeline.views.states import cure


class Figure(NamedTuple):
    """One figure of both runs; None for a run that does not have it."""

    name: str
    first: float | None
    second: float | None

    @property
    def difference(self) -> float | None:
        """The second minus the first."""
        if self.first is None or self.second is None:
            return None
        return self.second - self.first

    @property
    def change(self) -> float | None:
        """The difference as a share of the first; None if the first is zero."""
        return self.difference / self.first if self.first and self.difference is not None else None


class Setting(NamedTuple):
    """A setting that differs; None for a run that does not have it."""

    key: str
    first: object
    second: object


class Comparison(NamedTuple):
    """The second run compared with the first."""

    runs: tuple[int, int]
    names: tuple[str | None, str | None]
    states: tuple[RunState, RunState]
    cures: tuple[str | None, str | None]
    figures: tuple[Figure, ...]
    settings: tuple[Setting, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of `compare --json`; keys that end in `_seconds` are seconds."""
        return {
            "runs": list(self.runs),
            "names": list(self.names),
            "done": [state in OVER for state in self.states],
            "states": [state.value for state in self.states],
            "figures": {
                figure.name: {
                    "first": figure.first,
                    "second": figure.second,
                    "difference": _rounded(figure.difference),
                    "change": _rounded(figure.change),
                }
                for figure in self.figures
            },
            "configuration": {
                setting.key: {"first": setting.first, "second": setting.second}
                for setting in self.settings
            },
        }


class Side(NamedTuple):
    """One of two runs, as it is now."""

    run: Run
    progress: Progress
    timeline: Timeline


def read_side(run: Run, ledger: Ledger, clock: Clock = MACHINE_CLOCK, bins: int = BINS) -> Side:
    """Read a run to compare it.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    progress = Reader(ledger, run, clock=clock).read_decided().progress
    return Side(run, progress, timeline(ledger, run, bins))


def compare(first: Run, second: Run, ledger: Ledger, clock: Clock = MACHINE_CLOCK) -> Comparison:
    """Compare two runs as they are now.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    return comparison_of(read_side(first, ledger, clock), read_side(second, ledger, clock))


def comparison_of(first: Side, second: Side) -> Comparison:
    """Compare what was read of two runs."""
    before, after = first.progress, second.progress
    figures = [outcome(side.progress, side.timeline) for side in (first, second)]
    return Comparison(
        runs=(first.run.id, second.run.id),
        names=(first.run.simulation.name, second.run.simulation.name),
        states=(before.state, after.state),
        cures=(cure(before), cure(after)),
        figures=tuple(Figure(name, figures[0][name], figures[1][name]) for name in figures[0]),
        settings=tuple(differing(settings_of(first.run), settings_of(second.run))),
    )


def outcome(progress: Progress, course: Timeline) -> dict[str, float | None]:
    """The figures of a run, named and rounded as in `--json`."""
    shown = progress_json(progress)
    reach = {
        f"reached_{exact_percent(share)}_seconds": _rounded(seconds)
        for share, seconds in course.time_to_reach.items()
    }
    return {**{name: shown[name] for name in _OUTCOMES}, **reach}


#: Fields of `--json` by which two runs can be compared.
_OUTCOMES = (
    "total",
    "delivered",
    "failed",
    "expired",
    "cancelled",
    "attempts",
    "failed_attempts",
    "failure_rate_seen",
    "seconds",
    "paused_seconds",
    "interrupted_seconds",
    "average_rate",
    "cost",
    "mean_delivery_seconds",
    "mean_transit_seconds",
    "mean_send_seconds",
    "mean_send_in_all_seconds",
    "p50_delivery_seconds",
    "p95_delivery_seconds",
    "p99_delivery_seconds",
    "mean_on_phone_seconds",
    "p50_on_phone_seconds",
    "p95_on_phone_seconds",
    "p99_on_phone_seconds",
    "without_receipt",
)


def settings_of(run: Run) -> dict[str, object]:
    """The configuration of a run by dotted key, and its seed."""
    return {**dict(dotted(_by_name(run.simulation))), "seed": run.seed}


def differing(first: dict[str, object], second: dict[str, object]) -> Iterator[Setting]:
    """Keys with different values: first those of `first`, then those that only `second` has."""
    for key in {**first, **second}:
        if first.get(key) != second.get(key):
            yield Setting(key, first.get(key), second.get(key))


def _by_name(simulation: Simulation) -> dict[str, Any]:
    # That one of them is a forecast is its state.
    values = simulation.model_dump(mode="json", exclude={"messages_from"})
    senders = {sender.pop("name"): sender for sender in values.pop("senders")}
    checks = [threshold["check"] for threshold in values.pop("thresholds")]
    return {**values, "senders": senders, "thresholds": checks}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


# Views


def show(comparison: Comparison, as_json: bool) -> None:
    """Print it as tables, or as one JSON object."""
    if as_json:
        write(json.dumps(comparison.to_json()))
        return
    write_all(figures_table(comparison), "", *_settings_parts(comparison), *notes(comparison))


def figures_table(comparison: Comparison) -> Table:
    """The figures of both, side by side."""
    runs = (f"run {run}" for run in comparison.runs)
    table = new_table("", *runs, "difference", "change", numbers_from=1)
    for row in figure_rows(comparison):
        # A user's words are no markup.
        table.add_row(*map(Text, row))
    return table


def figure_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Rows of texts: a name, both figures, their difference and its share of the first."""
    if any(comparison.names):
        yield "name", *(name or NOTHING for name in comparison.names), "", ""
    yield "state", *comparison.states, "", ""
    for figure in comparison.figures:
        if figure.name in _SELDOM and not figure.first and not figure.second:
            continue
        show = _writer_of(figure.name)
        yield (
            _title(figure.name),
            show(figure.first),
            show(figure.second),
            signed(figure.difference, points if show is percent else show),
            signed(figure.change, percent),
        )


def setting_rows(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    """Rows of texts: the key of a setting that differs, and both values."""
    for one in comparison.settings:
        # A seed is an identifier: thousands separators would get in the way.
        show = str if one.key == "seed" else setting
        yield one.key, show(one.first), show(one.second)


def _settings_parts(comparison: Comparison) -> Iterator[RenderableType]:
    if not comparison.settings:
        yield "Both runs had the same configuration."
        return
    runs = (f"run {run}" for run in comparison.runs)
    table = new_table("configuration", *runs, numbers_from=1)
    for row in setting_rows(comparison):
        table.add_row(*map(Text, row))
    yield table


def notes(comparison: Comparison) -> Iterator[str]:
    """What to keep in mind about runs that are not done."""
    for run, state, found in zip(comparison.runs, comparison.states, comparison.cures, strict=True):
        if state not in OVER:
            yield f"Run {run} is not done; its figures are as of now."
        if found:
            yield f"Run {run} is {found}"


#: Figures that are shown where they are not zero.
_SELDOM = (
    *("paused_seconds", "interrupted_seconds", "cost", "mean_on_phone_seconds", "without_receipt"),
    *(f"{name}_on_phone_seconds" for name in PERCENTILES),
)
_TITLES = {
    "seconds": "duration",
    "paused_seconds": "paused for",
    "interrupted_seconds": "interrupted for",
    "total": "messages",
    "mean_delivery_seconds": "average time per message",
    "mean_transit_seconds": "average transit",
    "mean_send_seconds": "average send, an attempt",
    "mean_send_in_all_seconds": "average send, all attempts",
    "mean_on_phone_seconds": "average until on phone",
}


def _title(name: str) -> str:
    return _TITLES.get(name, name.removesuffix("_seconds").replace("_", " "))


def _writer_of(name: str) -> Callable[[float | None], str]:
    """The function that writes the figure of that name."""
    if name in _WRITERS:
        return _WRITERS[name]
    if name.startswith("reached_"):
        return duration
    return message_time if name.endswith("_seconds") else count


_WRITERS: dict[str, Callable[[float | None], str]] = {
    "seconds": duration,
    "paused_seconds": duration,
    "interrupted_seconds": duration,
    "average_rate": rate,
    "cost": money,
    "failure_rate_seen": percent,
}
