"""The page on faults tells of every run of this version, whenever it was made."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import digest, report
from tests.chaos.cases import CASES
from tests.chaos.checker import Findings
from tests.chaos.faults import Fault
from tests.chaos.scenario import Result

CALM = CASES[0]
GOOD = Result(6_000, Findings(sent_twice={1, 2}), [], recovery_seconds=0.5, seconds=9.0)
BAD = Result(6_000, Findings(lost={3}), ["1 messages lost"], recovery_seconds=1.5)


def _page(tmp_path: Path, *lines: report.Line) -> str:
    results, page = tmp_path / "results.jsonl", tmp_path / "faults.md"
    for line in lines:
        report.keep(line, results)
    report.write(report.read(results), page)
    return page.read_text() if page.exists() else ""


def _row_of_calm(page: str) -> str:
    return next(line for line in page.splitlines() if line.startswith("| calm |"))


def test_runs_of_several_invocations_are_added_up(tmp_path: Path) -> None:
    # Given a good run, a bad one, and one that did not come to its end
    _page(tmp_path, report.Line.of(CALM, 1, GOOD))
    _page(tmp_path, report.Line.of(CALM, 2, BAD))
    page = _page(tmp_path, report.Line.of_failure(CALM, 3, "nothing moved"))

    # Then the page has them all
    setting = CALM.setting.describe()
    cells = f"| calm | {setting} | 3 | 2 | 12,000 | 1 | 0 | 2 | 1.0 s | 1.5 s |"
    assert _row_of_calm(page) == cells
    assert "3 runs with 3 seeds, 2 of them failed." in page
    assert "12,000 messages: 1 lost, 0 doubled, 2 sent twice." in page


def test_versions_are_told_apart_and_failed_runs_named(tmp_path: Path) -> None:
    # Given a version that failed, and this one
    ours, theirs = report.Line.of(CALM, 1, GOOD), report.Line.of(CALM, 2, BAD)
    page = _page(tmp_path, replace(theirs, source="another"), ours)

    # Then each has a row of its own, and who failed is said
    assert f"| another | {report.machine()} | 1 | 1 | 6,000 | 1 | 0 | 0 |" in page
    assert f"| {report.source_digest()} | {report.machine()} | 1 | 0 | 6,000 | 0 | 0 | 2 |" in page
    assert "- calm, seed 2, another: 1 messages lost" in page


def test_a_change_of_a_view_leaves_the_version_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a copy of the package
    package = tmp_path / report.PACKAGE
    shutil.copytree(report.ROOT / report.PACKAGE, package)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    before = report.source_digest()

    # When every view changes, then it is the same version still
    for room in report.OTHER_ROOMS:
        for file in (package / room).rglob("*.py"):
            file.write_text("# changed")
    assert report.source_digest() == before

    # When anything else changes, then it is another one
    (package / "ledger" / "store.py").write_text("# changed")
    assert report.source_digest() != before


def test_the_page_tells_what_the_file_of_results_has(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    report.write(report.read(report.RESULTS), page)
    assert page.read_text() == digest.PAGE.read_text()


def test_cases_that_were_not_run_are_shown_as_such(tmp_path: Path) -> None:
    page = _page(tmp_path, report.Line.of(CALM, 1, GOOD))
    assert page.count(" | 0 | 0 | 0 | 0 | 0 | 0 | - | - |") == len(CASES) - 1


def test_the_front_page_has_the_sums_of_the_page_on_faults() -> None:
    front = digest.FRONT_PAGE.read_text()
    assert digest.renew(front, digest.PAGE.read_text()) == front


def test_every_fault_is_in_one_group_of_the_front_page() -> None:
    grouped = [fault for faults in digest.GROUPS.values() for fault in faults]
    assert sorted(grouped) == sorted(Fault)


def test_a_group_has_the_sums_of_its_cases(tmp_path: Path) -> None:
    page = _page(tmp_path, report.Line.of(CALM, 1, GOOD), report.Line.of(CALM, 2, BAD))
    assert "| nothing | 2 | 12,000 | 1 | 0 | 2 | 1.5 s |" in digest.short_table(page)
