"""The benchmarks' arithmetic, and that the figures they publish are those they measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import tables, watching
from benchmarks.bank import LATE_SECONDS, Mark, Window, busy_seconds, seconds_inside
from benchmarks.harness import RESULTS, Record
from benchmarks.population import summary
from benchmarks.rehearsal import Result, Setting, Usage, efficiency
from benchmarks.scaling import cost
from benchmarks.stability import decay
from tests.unit import make


def test_the_readme_has_the_figures_of_the_results_files() -> None:
    text = tables.README.read_text()
    assert tables.rendered(text, RESULTS) == text
    front = tables.FRONT_PAGE.read_text()
    assert tables.rendered(front, RESULTS, tables.FRONT_LINES) == front


def test_a_table_without_results_says_so_and_rendering_twice_changes_nothing(
    tmp_path: Path,
) -> None:
    once = tables.rendered(tables.README.read_text(), tmp_path)
    assert once.count(tables.NOT_MEASURED) == len(tables.TABLES)
    assert tables.rendered(once, tmp_path) == once


def test_no_results_file_has_senders_that_work_more_than_all_the_time() -> None:
    found = [
        value
        for path in RESULTS.glob("*.json")
        for value in efficiencies(json.loads(path.read_text()))
    ]
    assert found
    assert max(found) <= 1


def efficiencies(content: Any) -> Iterator[float]:
    """Every one in it, however deep."""
    if isinstance(content, dict):
        if content.get("efficiency") is not None and not isinstance(content["efficiency"], dict):
            yield content["efficiency"]
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from efficiencies(part)


def test_no_results_file_has_a_rate_above_what_all_senders_can_do() -> None:
    rows = [
        row for path in RESULTS.glob("*.json") for row in rehearsals(json.loads(path.read_text()))
    ]
    assert rows
    assert all(row["rate"] <= Setting(**row["setting"]).capacity for row in rows)


def rehearsals(content: Any) -> Iterator[dict[str, Any]]:
    """Every result of a rehearsal in it."""
    if isinstance(content, dict):
        if {"setting", "rate"} <= content.keys():
            yield content
        for part in content.values():
            yield from rehearsals(part)


def test_efficiency_is_the_share_of_their_time_that_senders_spent_on_attempts() -> None:
    # Given two senders that were there for ten seconds, and six seconds of sending
    worker = make.worker(senders=2, joined_at=100.0, left_at=110.0)
    found = make.snapshot(make.counts(send_seconds=6.0), started_at=100.0, workers=(worker,))
    # Then until the end of the run that is six of twenty, and of eight seconds six of sixteen
    assert efficiency(found, 110.0) == pytest.approx(6 / 20)
    assert efficiency(found, 108.0) == pytest.approx(6 / 16)
    # And no more than all is an error of the records, not a figure
    with pytest.raises(AssertionError, match="were there for"):
        efficiency(found, 102.0)


def test_the_bank_gets_nothing_for_what_comes_late() -> None:
    marks = [Mark(50, 0.01), Mark(40, 0.2), Mark(1_000, LATE_SECONDS + 0.1)]
    assert busy_seconds(marks) == pytest.approx(90)
    assert busy_seconds([]) == 0


def test_of_a_message_counts_what_is_inside_the_window() -> None:
    # Given messages that end before it, across its start, inside, across its end, after it
    durations = np.array([1.0, 2.0, 1.0, 3.0, 1.0])
    ended_at = np.array([9.0, 11.0, 14.0, 22.0, 25.0])
    assert seconds_inside(Window(10.0, 20.0), durations, ended_at) == pytest.approx(1 + 1 + 1)


def result_of(setting: Setting, rate: float) -> Result:
    return Result(
        setting=setting,
        seconds=setting.messages / rate,
        rate=rate,
        efficiency=0.5,
        delivered=setting.messages,
        failed=0,
        retried=0,
        verdict="proven",
        ledger_bytes=100,
        usage={"worker": Usage(cpu_seconds=3.0, peak_mb=80.0)},
    )


def test_capacity_allows_for_failures_and_workers() -> None:
    setting = Setting(messages=10, senders=50, mean_time=0.5, failure_rate=0.2, workers=2)
    assert setting.capacity == pytest.approx(160)
    assert replace(setting, mean_time=0).capacity == math.inf


def test_cpu_is_for_a_million_messages() -> None:
    found = result_of(Setting(messages=2_000_000, senders=1), 1).to_json()
    assert found["cpu_seconds_per_million"] == {"worker": 1.5}


def test_costs_are_for_a_million_messages() -> None:
    found = cost(result_of(Setting(messages=2_000_000, senders=1), 1_000_000))
    assert found["cpu_seconds_per_million_in_all"] == pytest.approx(1.5)
    assert found["wall_seconds_per_million"] == pytest.approx(1)
    assert found["ledger_bytes_per_million"] == pytest.approx(50)


def test_decay_compares_the_halves_of_a_row_of_runs() -> None:
    found = decay([100.0, 98.0, 102.0, 90.0, 88.0, 95.0])
    assert found["loss"] == pytest.approx(0.1)
    assert found["spread"] == pytest.approx(102 / 88 - 1)


def test_the_cost_of_watching_is_the_middle_one_of_the_pairs() -> None:
    pairs = [
        {"unwatched": {"rate": 100.0}, "watched": {"rate": rate}} for rate in (99.0, 50.0, 96.0)
    ]
    assert watching.cost(pairs) == pytest.approx(0.04)


def test_a_results_file_grows_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "some.json"
    record = Record("some", path)
    record.add("rows", "first", {"rate": 1.0})
    assert rates(path) == {"first": 1.0}
    record.add("rows", "second", {"rate": 2.0})
    assert rates(path) == {"first": 1.0, "second": 2.0}


def rates(path: Path) -> dict[str, float]:
    return {title: row["rate"] for title, row in json.loads(path.read_text())["rows"].items()}


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A file with two rows of an earlier day."""
    path = tmp_path / "some.json"
    record = Record("some", path)
    for title in ("first", "second"):
        record.add("rows", title, {"rate": 1.0})
    content = json.loads(path.read_text())
    for row in content["rows"].values():
        row["at"] = 5.0
    path.write_text(json.dumps(content))
    return path


def test_a_part_is_added_to_the_rows_that_a_file_has(measured: Path) -> None:
    record = Record("some", measured, only="second")
    record.add("rows", "second", {"rate": 2.0})
    record.add("plans", "second", {"rate": 3.0})
    assert rates(measured) == {"first": 1.0, "second": 2.0}
    content = json.loads(measured.read_text())
    assert content["plans"]["second"]["rate"] == 3.0
    # And each row says when it was measured
    first, second = (content["rows"][title] for title in ("first", "second"))
    assert first["at"] == 5.0 and second["at"] > 5.0
    assert len(second["load_average_after"]) == 3


def test_a_whole_benchmark_replaces_the_rows_that_a_file_has(measured: Path) -> None:
    Record("some", measured).add("rows", "third", {"rate": 2.0})
    assert rates(measured) == {"third": 2.0}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"benchmark": "other"}, "of the benchmark other"),
        ({"machine": {"cores": 64, "processor": "another"}}, "another machine"),
        ({"machine": 5}, "no results"),
    ],
)
def test_a_part_is_never_added_to_other_results(
    measured: Path, changes: dict[str, Any], why: str
) -> None:
    before = json.dumps(json.loads(measured.read_text()) | changes)
    measured.write_text(before)
    with pytest.raises(SystemExit, match=why):
        Record("some", measured, only="first")
    assert measured.read_text() == before


def test_a_part_is_never_added_to_what_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    with pytest.raises(SystemExit, match="no results"):
        Record("some", path, only="first")


def call(seconds: float, finished: int, cpu: float, memory: float) -> dict[str, Any]:
    first = {"seconds": 0, "finished": 0, "cpu_seconds": {"worker": 0}}
    samples = [{**first, "resident_mb": {"worker": memory}, "ledger_bytes": 1}]
    last = {"seconds": seconds, "finished": finished, "cpu_seconds": {"worker": cpu}}
    samples.append({**last, "resident_mb": {"worker": 50.0}, "ledger_bytes": 3_000})
    return {"samples": samples}


def test_a_run_in_several_calls_is_summed() -> None:
    found = summary([call(20, 600_000, 4, 90), call(20, 1_000_000, 2, 70)], 1_000_000)
    assert found["rate"] == pytest.approx(25_000)
    assert found["cpu_seconds_per_million"] == {"worker": pytest.approx(6)}
    assert found["peak_mb"] == {"worker": 90}


def test_figures_are_drawn_from_results_and_are_the_same_when_drawn_again(tmp_path: Path) -> None:
    from benchmarks import figures  # Here, for it loads matplotlib.

    points = {
        str(senders): {"rate": rate, "rate_per_sender": 1.0, "population_seconds": 1e6}
        for senders, rate in ((1, 1.0), (1_000, 990.0))
    }
    costs = {"cpu_seconds_per_million_in_all": 2.0, "wall_seconds_per_million": 2.0}
    scaling = dict.fromkeys(figures.CURVES, points) | {"messages": {"1000": costs}}
    setting = {"messages": 1_000_000}
    population = {"setting": setting, "calls": [call(9, 5, 1, 9), call(9, 8, 1, 9)]}
    (tmp_path / "scaling.json").write_text(json.dumps(scaling))
    (tmp_path / "population.json").write_text(json.dumps(population))
    once = figures.draw(tmp_path, tmp_path / "once")
    assert [path.stem for path in once] == list(figures.FIGURES)
    for path in figures.draw(tmp_path, tmp_path / "again"):
        assert path.read_bytes() == (tmp_path / "once" / path.name).read_bytes()
