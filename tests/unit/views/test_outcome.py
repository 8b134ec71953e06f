"""What came of a run is one line, and never looks better than it was."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from sms_pipeline.core.records import Run
from sms_pipeline.core.run_state import RunState
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views import outcome
from sms_pipeline.views.outcome import Outcome, Outcomes, Tone, final_outcome
from sms_pipeline.views.reader import Reader
from tests.unit import make
from tests.unit.views.runs import Outages, deliver, run_with

COUNTS = make.counts(delivered=90, failed=4, expired=5)


def of(**values: Any) -> Outcome:
    return Outcome(**{"state": RunState.DONE, "counts": COUNTS, "audit": Verdict.PROVEN, **values})


@pytest.mark.parametrize(
    ("values", "line", "tone"),
    [
        ({}, "Proven · 9 not reached", Tone.GOOD),
        (
            {"thresholds": 3, "passed": 3},
            "Proven · 3 of 3 thresholds passed · 9 not reached",
            Tone.GOOD,
        ),
        (
            {"thresholds": 3, "passed": 2, "missed": 1},
            "Proven · 2 of 3 thresholds passed · 9 not reached",
            Tone.BAD,
        ),
        (
            {"thresholds": 1, "missed": 1},
            "Proven · 0 of 1 threshold passed · 9 not reached",
            Tone.BAD,
        ),
        ({"audit": Verdict.BROKEN}, "Broken · 9 not reached", Tone.BAD),
        ({"audit": None}, "Not audited · 9 not reached", Tone.OPEN),
        (
            {"counts": make.counts(delivered=90, cancelled=10)},
            "Proven · 0 not reached · 10 cancelled",
            Tone.GOOD,
        ),
        ({"state": RunState.STALLED, "audit": None}, "Not finished · 9 not reached", Tone.OPEN),
        (
            {"state": RunState.RUNNING, "audit": None, "left": 16_075},
            "Not finished · 16,075 open · 9 not reached",
            Tone.OPEN,
        ),
        (
            {"state": RunState.RUNNING, "audit": None, "thresholds": 2, "missed": 1},
            "Not finished · 1 of 2 thresholds missed · 9 not reached",
            Tone.BAD,
        ),
    ],
)
def test_line_and_tone(values: dict[str, Any], line: str, tone: Tone) -> None:
    found = of(**values)
    assert (found.line, found.tone) == (line, tone)


@pytest.fixture
def ended(ledger: Ledger) -> Run:
    """A run that is done and missed one of two thresholds."""
    run = run_with(ledger, "failed < 5%", "delivered > 50%")
    for number in range(2):
        deliver(ledger, run, 45, number)
    return run


def test_a_run_that_is_done_is_audited_once(
    ledger: Ledger, ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    audits: list[int] = []
    audit = outcome.audit_ledger
    monkeypatch.setattr(outcome, "audit_ledger", lambda *a: audits.append(1) or audit(*a))
    outcomes = Outcomes(ledger)
    progress = Reader(ledger, ended).read().progress
    for _ in range(3):
        assert outcomes.of(progress).line == ("Proven · 1 of 2 thresholds passed · 10 not reached")
    (totals,) = ledger.totals(1)
    assert outcomes.listed(totals, RunState.DONE, audited=True) == outcomes.of(progress)
    assert audits == [1]


def test_a_run_under_way_is_not_audited(
    ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "audit_ledger", None)
    progress = Reader(ledger, run).read().progress
    assert Outcomes(ledger).of(progress).line == "Not finished · 100 open · 0 not reached"
    (totals,) = ledger.totals(1)
    listed = Outcomes(ledger).listed(totals, RunState.RUNNING, audited=True)
    assert listed.line == "Not finished · 100 open · 0 not reached"


def test_a_run_with_very_many_settlements_is_not_audited(
    ledger: Ledger, ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "MAX_SETTLEMENTS", 1)
    monkeypatch.setattr(outcome, "audit_ledger", None)
    progress = Reader(ledger, ended).read().progress
    assert Outcomes(ledger).of(progress).line.startswith("Not audited · 1 of 2 thresholds passed")
    (totals,) = ledger.totals(1)
    listed = Outcomes(ledger).listed(totals, RunState.DONE, audited=True)
    assert (listed.line, listed.tone) == ("Not audited · 10 not reached", Tone.OPEN)


def test_a_list_audits_only_where_it_may_and_then_remembers(ledger: Ledger, ended: Run) -> None:
    outcomes = Outcomes(ledger, ManualClock())
    (totals,) = ledger.totals(1)
    assert outcomes.listed(totals, RunState.DONE, audited=False).audit is None
    assert outcomes.listed(totals, RunState.DONE, audited=True).tone is Tone.BAD
    assert outcomes.listed(totals, RunState.DONE, audited=False).audit is Verdict.PROVEN


def test_a_summary_comes_also_when_the_ledger_is_away(
    ledger: Ledger, ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Reader(ledger, ended).read().progress
    assert final_outcome(ledger, None) is None
    monkeypatch.setattr(ledger, "totals", Outages(ledger.totals, 1))
    away = final_outcome(ledger, progress)
    assert away is not None
    assert away.line.startswith("Not audited · 1 of 2")
    known = final_outcome(ledger, progress)
    assert known is not None
    assert known.audit is Verdict.PROVEN


@pytest.mark.parametrize("most", [outcome.MAX_SETTLEMENTS, 1])
@pytest.mark.parametrize("damage", ["UPDATE runs SET seed = 'x'", "UPDATE seals SET seal = X'00'"])
def test_a_run_whose_records_cant_be_read_any_more_is_broken(
    ledger: Ledger, ended: Run, monkeypatch: pytest.MonkeyPatch, damage: str, most: int
) -> None:
    progress = Reader(ledger, ended).read().progress
    final_outcome(ledger, progress)
    monkeypatch.setattr(outcome, "MAX_SETTLEMENTS", most)
    with ledger.writing() as connection:
        # The rules of the tables would refuse it.
        connection.execute(text("PRAGMA ignore_check_constraints = ON"))
        connection.execute(text(damage))
    found = final_outcome(ledger, progress)
    assert found is not None
    assert found.audit is Verdict.BROKEN
