"""What a user calls a run is shown with it everywhere."""

from __future__ import annotations

import html
import io
import json
from typing import Any

import pytest
from rich.console import Console

from sms_pipeline.config.settings import Settings
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import timeline
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views.compare import compare, show
from sms_pipeline.views.dashboard.figures import run_json, totals_json
from sms_pipeline.views.lines import summary_lines, update_line
from sms_pipeline.views.lists import list_runs
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.outcome import outcome_of
from sms_pipeline.views.reader import Reader, Reading
from sms_pipeline.views.report.document import make_report
from sms_pipeline.views.report.page import as_html
from sms_pipeline.views.terminal import render
from tests.unit import make

Output = pytest.CaptureFixture[str]
#: Words that a markup language would take for its own.
NAME = "drill [/red] <b>"
TAGS = {"region": "north", "team": "[a]"}


@pytest.fixture
def run(ledger: Ledger) -> Run:
    """A run with a name and tags, as the ledger gives it back."""
    ledger.start_run(make.simulation(num_messages=100, name=NAME, tags=TAGS), seed=7)
    return ledger.run()


@pytest.fixture
def reading(ledger: Ledger, run: Run, noon: ManualClock) -> Reading:
    return Reader(ledger, run, clock=noon).read()


def test_name_and_tags_are_kept_with_the_run(run: Run) -> None:
    assert (run.simulation.name, run.simulation.tags) == (NAME, TAGS)


def test_lines_and_screen_have_the_name(reading: Reading) -> None:
    assert f'] "{NAME}" running' in update_line(reading.progress)
    summary = "\n".join(summary_lines(reading.progress, "stopped"))
    assert f'Run 1 "{NAME}" stopped: ' in summary
    assert "seed 7, tags region=north, team=[a]; senders" in summary
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(reading.progress, console))
    assert f'Run 1 "{NAME}" is running' in console.export_text()


def test_json_has_the_name_and_the_tags(reading: Reading) -> None:
    found = json.loads(json.dumps(progress_json(reading.progress)))
    assert (found["name"], found["tags"]) == (NAME, TAGS)


def test_lists_have_a_column_for_names_where_there_are_any(
    ledger: Ledger, run: Run, noon: ManualClock, capsys: Output
) -> None:
    list_runs(ledger, noon)
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.startswith("run  name ")
    assert heading.rstrip().endswith("tags")
    assert row.startswith(f"1    {NAME}  ")
    assert row.rstrip().endswith("region=north, team=[a]")


def test_dashboard_has_the_name(ledger: Ledger, run: Run, reading: Reading) -> None:
    shown: dict[str, Any] = run_json(run, reading, timeline(ledger, run))
    assert shown["shown"]["name"] == f"{NAME} · region=north, team=[a]"
    (totals,) = ledger.totals(1)
    outcome = outcome_of(reading.progress)
    assert totals_json(totals, outcome)["name"] == shown["shown"]["name"]


def test_report_has_the_name(ledger: Ledger, run: Run) -> None:
    page = as_html(make_report(Settings(), ledger, run))
    assert f'Run 1 "{NAME}" · region=north, team=[a] · rehearsal' in html.unescape(page)
    assert "<b>" not in page.partition("<body>")[2].partition("</header>")[0]


def test_comparison_has_both_names(ledger: Ledger, run: Run, capsys: Output) -> None:
    other = ledger.start_run(make.simulation(num_messages=100, tags={"team": "b"}), seed=7)
    show(compare(run, other, ledger), as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"name {NAME} -" in lines
    assert "tags.team [a] b" in lines


def test_an_urgent_run_is_told_by_it(ledger: Ledger, noon: ManualClock, capsys: Output) -> None:
    run = ledger.start_run(make.simulation(num_messages=100, urgent=True), seed=7)
    reading = Reader(ledger, run, clock=noon).read()
    assert "seed 7, urgent; senders" in "\n".join(summary_lines(reading.progress, "stopped"))
    assert progress_json(reading.progress)["urgent"] is True
    assert run_json(run, reading, timeline(ledger, run))["shown"]["name"] == "urgent"
    list_runs(ledger, noon)
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[-1] == "urgent"
    assert row.split()[-1] == "yes"
