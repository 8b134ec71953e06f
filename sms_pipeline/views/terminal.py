"""The view for a terminal: it redraws in place and fits any width and height."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sms_pipeline.core.counts import how_many
from sms_pipeline.core.progress import ProfileProgress, Progress
from sms_pipeline.core.thresholds import Judgement, State
from sms_pipeline.views import lines
from sms_pipeline.views.format import (
    count,
    duration,
    exact_percent,
    message_time,
    percent,
    rate,
    run_title,
)
from sms_pipeline.views.outcome import Outcome, Tone, outcome_of
from sms_pipeline.views.output import SafeConsole, writing
from sms_pipeline.views.percentiles import TAIL, tail, tail_on_phone
from sms_pipeline.views.states import lost_time, notices, time_left

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.-=+*%#"
#: How many rates the sparkline shows.
_SPARKS = 20
_ASCII_SYMBOLS = {State.HOLDING: "+", State.PASSED: "+", State.MISSED: "x", State.UNKNOWN: "."}
_STYLES = {
    State.HOLDING: "green",
    State.PASSED: "green",
    State.MISSED: "bold red",
    State.UNKNOWN: "dim",
}
_TONES = {Tone.GOOD: "bold green", Tone.BAD: "bold red", Tone.OPEN: "bold"}
#: Longer names of profiles are cut.
_NAME_WIDTH = 20
#: Rows of the table on even the lowest terminal.
_LEAST_ROWS = 1


class LiveView:
    """A screen that redraws in place; at the end the summary remains."""

    def __init__(self) -> None:
        self._console = SafeConsole()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def show(self, progress: Progress) -> None:
        """See `View.show`."""
        with writing():
            if not self._live.is_started:
                self._live.start()
            self._live.update(render(progress, self._console), refresh=True)

    def note(self, message: str) -> None:
        """See `View.note`."""
        with writing():
            self._console.print(Text(message, style="yellow"))

    def close(self, progress: Progress | None, ended: str, outcome: Outcome | None = None) -> None:
        """See `View.close`."""
        parts: list[RenderableType] = [Text(ended)]
        if progress:
            parts = render_summary(progress, ended, self._console, outcome)
        with writing():
            self._live.stop()
            for part in parts:
                self._console.print(part)


def render(progress: Progress, console: Console) -> RenderableType:
    """The screen during a run, fitted to the size of the console."""
    width = console.width
    head: list[RenderableType] = [_title(progress)]
    # A bar alone does not end its line.
    head.append(Padding(ProgressBar(total=progress.total, completed=progress.counts.finished), 0))
    head += [
        Text(line) for line in lines.flow(figures(progress, console.options.ascii_only), width)
    ]
    tail: list[RenderableType] = [_threshold(one, console) for one in progress.thresholds]
    tail += [Text(f"! {warning}", style="bold yellow") for warning in notices(progress)]
    taken = _height(console, [*head, *tail])
    # The table's heading, and the line below the screen on which the cursor stands.
    rows = max(console.height - taken - 2, _LEAST_ROWS)
    return Group(*head, *profile_table(progress.profiles, console, rows), *tail)


def render_summary(
    progress: Progress, ended: str, console: Console, outcome: Outcome | None = None
) -> list[RenderableType]:
    """The summary. It is complete however narrow the screen is."""
    known = outcome or outcome_of(progress)
    return [
        Text(known.line, style=_TONES[known.tone]),
        *(Text(line) for line in lines.summary_of_run(progress, ended)),
        *_tables(progress.profiles, console),
        *(_threshold(one, console) for one in progress.thresholds),
        *(Text(line) for line in lines.seal_lines(known)),
        Text(lines.hint(progress)),
    ]


def figures(progress: Progress, ascii_only: bool = False) -> list[list[str]]:
    """The figures of a run, grouped by the line on which they stand."""
    counts = progress.counts
    return [
        [
            *lines.ends(counts),
            f"in flight {count(counts.in_flight)}",
            f"retrying {count(counts.retrying)}",
            f"failed attempts {count(counts.failed_attempts)} ({percent(counts.failure_rate)})",
        ],
        [
            f"rate {rate(progress.rate)} {sparkline(progress.history, ascii_only)}".rstrip(),
            f"average rate {rate(progress.average_rate)}",
            *(f"{name} {seconds}" for name, seconds in lost_time(progress)),
        ],
        [
            f"average time per message {message_time(counts.mean_delivery)}",
            f"transit {message_time(counts.mean_transit)}",
            f"send {message_time(counts.mean_send)} an attempt",
        ],
        lines.delivery_times(counts),
        *lines.on_phone_figures(counts),
    ]


def sparkline(rates: Sequence[float], ascii_only: bool = False) -> str:
    """The last rates as bars, relative to the highest of them."""
    bars = _ASCII_BARS if ascii_only else _BARS
    recent = rates[-_SPARKS:]
    highest = max(recent, default=0.0)
    if not highest:
        return bars[0] * len(recent)
    return "".join(bars[round(one / highest * (len(bars) - 1))] for one in recent)


def _title(progress: Progress) -> Text:
    return Text(
        f"{run_title(progress.run, progress.simulation.name)} is {progress.state}: "
        f"{percent(progress.share)} of {count(progress.total)}{lines.GAP}"
        f"{duration(progress.seconds)}, {time_left(progress)}",
        style="bold",
    )


def _threshold(judgement: Judgement, console: Console) -> Text:
    symbols = _ASCII_SYMBOLS if console.options.ascii_only else lines.SYMBOLS
    text = f"{symbols[judgement.state]} {judgement.check.text} ({judgement.seen_text})"
    return Text(text, style=_STYLES[judgement.state])


class _Column(NamedTuple):
    """A column; on narrow terminals those of the highest `rank` are dropped first."""

    heading: str
    cell: Callable[[ProfileProgress], str]
    rank: int


_COLUMNS = (
    _Column("profile", lambda one: one.name, 0),
    _Column("senders", lambda one: count(one.senders), 2),
    _Column("backlog", lambda one: count(one.counts.backlog), 3),
    _Column("retrying", lambda one: count(one.counts.retrying), 9),
    _Column("share", lambda one: percent(one.share), 8),
    _Column("delivered", lambda one: count(one.counts.delivered), 1),
    _Column("failed", lambda one: count(one.counts.failed), 4),
    _Column("expired", lambda one: count(one.counts.expired), 5),
    _Column("cancelled", lambda one: count(one.counts.cancelled), 5),
    _Column(
        "fail/set",
        lambda one: f"{percent(one.counts.failure_rate)}/{exact_percent(one.failure_rate)}",
        6,
    ),
    _Column("effic.", lambda one: percent(one.efficiency), 7),
    _Column("time", lambda one: message_time(one.counts.mean_delivery), 10),
    _Column(TAIL, lambda one: message_time(tail(one.counts)), 11),
    _Column("transit", lambda one: message_time(one.counts.mean_transit), 12),
    _Column("send", lambda one: message_time(one.counts.mean_send), 13),
)


#: Columns that are shown only where a profile has some.
_IF_ANY = {"expired", "cancelled"}


#: On how many hosts a profile's senders are; shown only where there are several.
_HOSTS = _Column("hosts", lambda one: count(len(one.hosts)), 7)


#: When messages were on the phone; shown only where a profile has receipts.
_ON_PHONE = (
    _Column(f"phone {TAIL}", lambda one: message_time(tail_on_phone(one.counts)), 11),
    _Column("no receipt", lambda one: count(one.counts.on_phone.missing), 12),
)


def _columns(profiles: Sequence[ProfileProgress]) -> list[_Column]:
    several = len({part.host for profile in profiles for part in profile.hosts}) > 1
    receipts = any(profile.counts.on_phone.delivered for profile in profiles)
    absent = _IF_ANY.difference(*(lines.other_ends(one.counts) for one in profiles))
    name, senders, *others = (column for column in _COLUMNS if column.heading not in absent)
    hosts, on_phone = (_HOSTS,) if several else (), _ON_PHONE if receipts else ()
    return [name, senders, *hosts, *others, *on_phone]


def profile_table(
    profiles: Sequence[ProfileProgress], console: Console, rows: int
) -> list[RenderableType]:
    """The table, with as many columns and profiles as fit."""
    shown = profiles if len(profiles) <= rows else profiles[: max(rows - 1, _LEAST_ROWS)]
    columns = _columns(profiles)
    while len(columns) > 1 and not _fits(_table(shown, columns), console):
        columns.remove(max(columns, key=lambda column: column.rank))
    rest = len(profiles) - len(shown)
    more = [Text(f"and {how_many(rest, 'more profile')}")] if rest else []
    return [_table(shown, columns), *more]


def _tables(profiles: Sequence[ProfileProgress], console: Console) -> Iterator[Table]:
    """The table with all its columns; what does not fit goes on below, beside the same names."""
    name, *others = _columns(profiles)
    shown = [name]
    for column in others:
        if len(shown) > 1 and not _fits(_table(profiles, [*shown, column]), console):
            yield _table(profiles, shown)
            shown = [name]
        shown.append(column)
    yield _table(profiles, shown)


def _table(profiles: Iterable[ProfileProgress], columns: Sequence[_Column]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        is_name = column.rank == 0
        table.add_column(
            column.heading,
            justify="left" if is_name else "right",
            no_wrap=True,
            overflow="ellipsis" if is_name else "fold",
            max_width=_NAME_WIDTH if is_name else None,
        )
    for profile in profiles:
        table.add_row(*(column.cell(profile) for column in columns))
    return table


def _fits(table: Table, console: Console) -> bool:
    unlimited = console.options.update(width=10_000)
    return Measurement.get(console, unlimited, table).maximum <= console.width


def _height(console: Console, parts: Iterable[RenderableType]) -> int:
    return len(console.render_lines(Group(*parts), console.options.update(height=None)))
