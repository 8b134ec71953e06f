"""The screen fits every width and height, and says what the other views say."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.console import Console
from rich.text import Text

from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.records import WorkerRow
from sms_pipeline.ledger.verdict import Verdict
from sms_pipeline.views import terminal
from sms_pipeline.views.lines import flow, summary_lines
from sms_pipeline.views.outcome import outcome_of
from sms_pipeline.views.output import SafeConsole
from sms_pipeline.views.terminal import LiveView, render, render_summary, sparkline
from tests.unit import make
from tests.unit.make import NOON

CHECKS = ("failed < 1%", "reached 99% < 2s", "p95 delivery < 30s", "lost == 0")
HIGH = 50


def progress(profiles: int = 3, done: bool = False) -> Progress:
    """Ten seconds into a run at 100 messages a second for each profile, or after its end."""
    names = [f"profile-{number}" for number in range(1, profiles + 1)]
    simulation = make.simulation(
        senders=tuple(make.profile(name) for name in names), thresholds=CHECKS
    )
    tracker = Tracker([f"w-{name}" for name in names[1:]])
    for second in range(11):
        counts = [
            make.counts(
                name, dispatched=1_000 if done else 1_100, first_attempts=100 * second,
                attempts=110 * second, delivered=99 * second, failed=second, retried=10 * second,
                send_seconds=11.0 * second, delivery_seconds=90.0 * second,
                transit_seconds=60.0 * second, longest_delivery=1.02,
                delivery_times={80: 100 * second},
            )
            for name in names
        ]  # fmt: skip
        found = tracker.update(
            make.snapshot(
                *counts,
                total=(1_000 if done else 2_000) * profiles,
                simulation=simulation,
                workers=tuple(_worker(n) for n in names),
                started_at=NOON,
                settled_at=NOON + 10,
            ),
            second,
            NOON + second,
        )
    return found


def _worker(profile: str) -> WorkerRow:
    return make.worker(f"w-{profile}", profile=profile, senders=20, seen_at=NOON + 10)


def console(width: int = 100, height: int = HIGH, encoding: str = "utf-8") -> Console:
    """One that is no terminal: it draws no escape codes."""
    output = TextIOWrapper(BytesIO(), encoding=encoding)
    return Console(file=output, width=width, height=height, record=True)


def screen(progress: Progress, console: Console) -> str:
    console.print(render(progress, console))
    return console.export_text()


def squeezed(text: str) -> str:
    return " ".join(text.split())


FIGURES = (
    "Run 1 is running: 50.0% of 6,000", "10.0 s, ETA ",
    "delivered 2,970", "failed 30", "in flight 300",
    "retrying 0", "failed attempts 330 (10.0%)", "rate 300/s", "average rate 300/s",
    "average time per message 0.900 s", "transit 0.600 s", "send 0.100 s an attempt",
    "p50 ", "p95 ", "p99 ",
    "✓ failed < 1% (seen 0.50%)", "✗ reached 99% < 2s (share not reached)", "✓ p95 delivery < 30s",
    "… lost == 0 (nothing seen)", "! profile profile-1: 100 messages waiting, no sender online",
)  # fmt: skip


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_every_figure_is_shown_at_every_width_and_no_line_is_longer(width: int) -> None:
    text = screen(progress(), console(width))
    assert max(map(len, text.splitlines())) <= width
    for figure in FIGURES:
        assert squeezed(figure) in squeezed(text)
    for name in ("profile-1", "profile-2", "profile-3"):
        assert name in text


NARROWEST = ["profile", "senders", "backlog", "delivered"]
NARROW = [*NARROWEST, "failed", "fail/set"]
USUAL = ["profile", "senders", "backlog", "share", *NARROW[3:], "effic."]
WIDE = [*USUAL[:3], "retrying", *USUAL[3:], "time", "p95", "transit", "send"]


@pytest.mark.parametrize(
    ("width", "headings"), [(40, NARROWEST), (60, NARROW), (80, USUAL), (120, WIDE)]
)
def test_the_table_drops_whole_columns(width: int, headings: list[str]) -> None:
    text = screen(progress(), console(width))
    heading = next(line for line in text.splitlines() if line.startswith("profile "))
    assert heading.split() == " ".join(headings).split()


def test_a_profile_has_its_figures_in_its_row() -> None:
    text = screen(progress(), console(120))
    row = next(line for line in text.splitlines() if line.startswith("profile-2 "))
    assert row.split()[1:9] == ["20", "100", "0", "33.3%", "990", "10", "10.0%/10%", "55.0%"]


def test_the_table_tells_how_else_messages_of_a_profile_ended() -> None:
    shown = progress()
    first, *others = shown.profiles
    late = replace(first, counts=replace(first.counts, expired=1_203))
    table = screen(replace(shown, profiles=(late, *others)), console(70)).splitlines()
    heading = next(line for line in table if line.startswith("profile "))
    row = next(line for line in table if line.startswith("profile-1 "))
    assert heading.split() == [*NARROW[:5], "expired", "fail/set"]
    assert row.split()[5] == "1,203"


@pytest.mark.parametrize("height", [18, 24, 30])
def test_a_low_terminal_shows_fewer_profiles_and_says_so(height: int) -> None:
    shown = progress(profiles=40)
    text = screen(shown, console(width=200, height=height))
    rows = [line for line in text.splitlines() if line.startswith("profile-")]
    assert len(text.splitlines()) < height or len(rows) == 1
    assert f"and {40 - len(rows)} more profiles" in text


def test_a_terminal_that_is_high_enough_shows_every_profile() -> None:
    text = screen(progress(profiles=20), console(height=HIGH))
    assert len([line for line in text.splitlines() if line.startswith("profile-")]) == 20
    assert "more profiles" not in text


def test_a_terminal_without_unicode_gets_ascii() -> None:
    text = screen(progress(), console(encoding="ascii"))
    assert text.isascii()
    assert "x reached 99% < 2s" in text


# The sparkline and the lines of figures


@pytest.mark.parametrize(
    ("rates", "text"),
    [((), ""), ((0, 0), "▁▁"), ((0, 7, 14), "▁▅█"), ((5,), "█"), (tuple(range(50)), None)],
)
def test_sparkline_is_relative_to_the_highest_rate_shown(
    rates: tuple[float, ...], text: str | None
) -> None:
    drawn = sparkline(rates)
    assert len(drawn) <= 20
    assert text is None or drawn == text


def test_figures_are_never_broken() -> None:
    assert flow([["one 1", "two 2", "three 3"], ["four 4"]], 13) == [
        "one 1  two 2",
        "three 3",
        "four 4",
    ]


# The summary


@pytest.mark.parametrize("width", [30, 40, 60, 80, 130])
def test_summary_leaves_nothing_out_however_narrow(width: int) -> None:
    wide, done = console(width), progress(done=True)
    for part in render_summary(done, "done", wide):
        wide.print(part)
    text = wide.export_text()
    assert max(map(len, text.splitlines())) <= width
    lines = summary_lines(done, "done")
    profiles = [line for line in lines if line.strip().startswith("profile-")]
    for line in lines:
        if line in profiles or line.startswith("threshold"):
            continue
        assert squeezed(line) in squeezed(text)
    for profile in done.profiles:
        assert profile.name in text
        assert f"{profile.counts.delivered:,}" in text
    assert "✓ p95 delivery < 30s (seen 1.02s)" in squeezed(text)
    assert {word for line in text.splitlines() if line.startswith("profile ") for word in
            line.split()} == set(WIDE)  # fmt: skip


def test_long_names_of_profiles_are_cut_and_leave_room_for_figures() -> None:
    done = progress(done=True)
    long = replace(done, profiles=tuple(replace(one, name="n" * 64) for one in done.profiles))
    narrow = console(60)
    for part in render_summary(long, "done", narrow):
        narrow.print(part)
    lines = narrow.export_text().splitlines()
    assert max(map(len, lines)) <= 60
    assert any(line.startswith(f"{'n' * 19}…") for line in lines)


def test_verdict_is_on_top_and_red_if_a_threshold_was_missed() -> None:
    done = progress(done=True)
    top, *_ = render_summary(done, "done", console())
    assert isinstance(top, Text)
    assert (top.plain, top.style) == (
        "Not audited · 1 of 4 thresholds passed · 30 not reached",
        "bold red",
    )
    good = dataclasses.replace(outcome_of(done, Verdict.PROVEN), missed=0)
    top, *_ = render_summary(done, "done", console(), good)
    assert isinstance(top, Text)
    assert top.style == "bold green"


# The view


class Screen:
    """What a `LiveView` writes to a terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
        self.output = StringIO()
        made = SafeConsole(file=self.output, force_terminal=True, width=150, height=HIGH, **options)  # type: ignore[arg-type]
        monkeypatch.setattr(terminal, "SafeConsole", lambda: made)
        self.view = LiveView()


def test_live_view_draws_over_what_it_drew(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    screen.view.show(progress())
    before = len(screen.output.getvalue())
    screen.view.show(progress())
    assert "\x1b[1A" in screen.output.getvalue()[before:]
    assert "\x1b[2J" not in screen.output.getvalue()
    screen.view.close(None, "stopped")


def test_live_view_leaves_the_summary_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    screen.view.show(progress())
    screen.view.note("broker away")
    screen.view.close(progress(done=True), "done")
    for part in ("broker away", "Run 1 done: 3,000 of 3,000", "profile-3", "audit 1"):
        assert part in screen.output.getvalue()


def test_live_view_shows_another_run_after_one_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    for _ in range(2):
        screen.view.show(progress())
        screen.view.close(progress(done=True), "done")
    assert screen.output.getvalue().count("Run 1 done") == 2


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(monkeypatch)
    screen.view.show(progress())
    screen.view.close(progress(done=True), "done")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", screen.output.getvalue())


def test_view_closes_also_before_the_first_report(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    screen.view.close(None, "stopped")
    assert screen.output.getvalue() == "stopped\n"
