"""How a run stands, what gets it going and what time was lost is the same in every view."""

from __future__ import annotations

import html
import io
import re

from rich.console import Console

from sms_pipeline.config.settings import Settings
from sms_pipeline.core.run_state import RunState
from sms_pipeline.ledger.timeline import timeline
from sms_pipeline.views.compare import compare, figures_table
from sms_pipeline.views.dashboard.figures import run_json
from sms_pipeline.views.display import PlainView
from sms_pipeline.views.lines import summary_lines
from sms_pipeline.views.metrics.families import run_metrics
from sms_pipeline.views.report.document import make_report
from sms_pipeline.views.report.page import as_html
from sms_pipeline.views.states import cure, lost_time
from sms_pipeline.views.terminal import render
from tests.unit.views.cases import Case


def words(text: str) -> str:
    return " ".join(text.split())


def all_texts(case: Case) -> dict[str, str]:
    """What the views for people say, by view."""
    progress, ledger, run = case.progress, case.world.ledger, case.run
    screen = Console(width=150, height=60, record=True, file=io.StringIO())
    screen.print(render(progress, screen))
    page = run_json(run, case.reading, timeline(ledger, run))
    shown = [page["state"], *page["shown"]["notices"]]
    shown += [f"{name.lower()} {text}" for name, text in page["shown"]["times"]]
    report = as_html(make_report(Settings(), ledger, run, case.world.clock))
    plain = PlainLines()
    plain.show(progress)
    return {
        "screen": screen.export_text(),
        "lines": "\n".join(plain.lines),
        "summary": "\n".join(summary_lines(progress, progress.state)),
        "dashboard": "\n".join(shown),
        "report": html.unescape(re.sub(r"<[^>]+>", " ", report)),
    }


class PlainLines(PlainView):
    """Keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def _line(self, text: str) -> None:
        self.lines.append(text)


def test_every_view_has_the_state_and_the_cure(case: Case) -> None:
    wanted = cure(case.progress)
    for name, text in all_texts(case).items():
        assert case.progress.state in text, name
        if wanted:
            assert wanted.lower() in text.lower(), name


def test_every_view_has_the_time_that_was_lost(case: Case) -> None:
    lost = dict(lost_time(case.progress))
    made = case.progress.state, case.progress.interrupted_seconds > 0
    assert bool(lost) == (made in ((RunState.PAUSED, False), (RunState.DONE, True)))
    texts = all_texts(case)
    # One line has no room for it.
    del texts["lines"]
    for name, text in texts.items():
        for what, seconds in lost.items():
            assert f"{what} {seconds}" in words(text), name
    values = {
        one.name.removeprefix("sms_pipeline_"): one.value
        for family in run_metrics(case.reading)
        for one in family.samples
    }
    assert values["run_paused_seconds"] == case.progress.paused_seconds
    assert values["run_interrupted_seconds"] == case.progress.interrupted_seconds
    shown = " ".join(compared(case))
    for what, seconds in lost.items():
        assert f"{what} {seconds} {seconds}" in shown
    assert lost or "paused for" not in shown


def compared(case: Case) -> list[str]:
    """The run compared with itself."""
    other = compare(case.run, case.run, case.world.ledger, case.world.clock)
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(figures_table(other))
    return words(console.export_text()).split("\n")
