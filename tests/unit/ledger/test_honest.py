"""Whatever a run goes through, nothing in its records contradicts."""

from __future__ import annotations

import pytest

from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.unit.ledger import honest

pytestmark = pytest.mark.checked


@pytest.mark.parametrize("name", honest.RUNS)
def test_run_that_was_really_made_is_proven(ledger: Ledger, name: str) -> None:
    run = honest.RUNS[name](ledger)
    report = audit_ledger(ledger, run)
    assert report.problems == []
    assert report.verdict is Verdict.PROVEN
    assert report.delivered < report.total or name == "until delivered"
