"""Two runs beside each other on the page, and the trend over many."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest

from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views.compare import compare, figure_rows, setting_rows
from sms_pipeline.views.dashboard import board
from sms_pipeline.views.dashboard.board import Board
from tests.unit import make
from tests.unit.make import NOON
from tests.unit.views.browser import Browser


def finish(ledger: Ledger, name: str, seconds: float) -> Run:
    """A run of ten messages that took so long."""
    run = ledger.start_run(make.simulation(num_messages=10, name=name), seed=1)
    ledger.record_batches(run.id, [make.row(run.id)])
    settled = {"settled_at": NOON + seconds, "delivery_times": {80: 10}}
    ledger.settle([make.settlement(run.id, **settled)])
    return run


def test_two_runs_have_the_figures_of_the_command(browser: Browser, ledger: Ledger) -> None:
    first, second = finish(ledger, "slow", 20.0), finish(ledger, "fast", 5.0)
    shown = browser.json(f"/api/compare/{first.id}/{second.id}")
    made = compare(first, second, ledger)
    assert shown["figures"] == [list(row) for row in figure_rows(made)]
    assert shown["settings"] == [list(row) for row in setting_rows(made)]
    assert ["name", "slow", "fast"] in shown["settings"]
    assert shown["titles"] == [f'Run {first.id} "slow"', f'Run {second.id} "fast"']


def test_curves_over_one_another_share_their_axes(browser: Browser, ledger: Ledger) -> None:
    first, second = finish(ledger, "slow", 20.0), finish(ledger, "fast", 5.0)
    charts = browser.json(f"/api/compare/{first.id}/{second.id}")["charts"]
    assert set(charts) == {"reach", "throughput", "delivery-times"}
    for chart in charts.values():
        low, high = chart["across"]["range"]
        for line in chart["lines"]:
            assert len(line["x"]) == len(line["y"]) == len(line["texts"])
            assert low <= line["x"][0] <= line["x"][-1] <= high
            assert max(line["y"]) <= chart["up"]["range"][1]
    assert [line["y"][-1] for line in charts["delivery-times"]["lines"]] == [1.0, 1.0]


def test_a_run_of_which_nothing_is_known_is_compared_without_curves(
    browser: Browser, ledger: Ledger, run: Run
) -> None:
    other = finish(ledger, "done", 5.0)
    shown = browser.json(f"/api/compare/{run.id}/{other.id}")
    assert shown["charts"] == {}
    assert any(f"Run {run.id} is not done" in note for note in shown["notes"])


@pytest.mark.parametrize("path", ["/compare/1/99", "/api/compare/99/1"])
def test_runs_that_are_not_there_are_not_compared(browser: Browser, run: Run, path: str) -> None:
    assert browser.ask(path).code == HTTPStatus.NOT_FOUND


def test_trends_are_those_of_runs_that_are_done_oldest_first(
    browser: Browser, ledger: Ledger, run: Run
) -> None:
    first, second = finish(ledger, "slow", 20.0), finish(ledger, "fast", 5.0)
    runs = browser.json("/api/trends")["runs"]
    assert [(one["run"], one["name"]) for one in runs] == [(first.id, "slow"), (second.id, "fast")]
    assert [one["texts"]["rate"] for one in runs] == ["0.5/s", "2.0/s"]
    shown = browser.json(f"/api/runs/{first.id}")
    assert runs[0]["texts"]["rate"] == shown["shown"]["texts"]["rate"]
    assert runs[0]["values"]["p95"] == pytest.approx(shown["p95_delivery_seconds"], abs=1e-6)


def test_a_run_that_is_done_is_read_once_for_its_trend(
    ledger: Ledger, noon: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(ledger, "one", 5.0)
    read: list[Run] = []
    snapshot = ledger.snapshot
    monkeypatch.setattr(ledger, "snapshot", lambda run: read.append(run) or snapshot(run))

    async def look() -> None:
        for _ in range(3):
            noon.advance(3_600)
            await opened.trends()

    opened = Board(ledger, noon)
    asyncio.run(look())
    opened.close()
    assert len(read) == 1


def test_only_so_many_comparisons_are_kept(
    ledger: Ledger, noon: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "MAX_PAIRS", 2)
    runs = [finish(ledger, f"run {number}", 5.0) for number in range(4)]

    async def look() -> None:
        for run in runs:
            await opened.comparison(runs[0].id, run.id)

    opened = Board(ledger, noon)
    asyncio.run(look())
    opened.close()
    assert len(opened._pairs) == 2
