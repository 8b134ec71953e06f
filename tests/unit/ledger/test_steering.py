"""Steering a run, and what is cancelled by whom."""

from __future__ import annotations

import pytest

from sms_pipeline.core.records import Control, Run
from sms_pipeline.errors import PipelineError
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.steering import cancel_unpublished, steer
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.unit import make
from tests.unit.make import NOON


def control_of(ledger: Ledger, run: Run) -> Control:
    return ledger.run(run.id).control


def test_pause_and_continue(ledger: Ledger, run: Run) -> None:
    assert f"Run {run.id} is paused" in steer(ledger, run, Control.PAUSED)
    assert control_of(ledger, run) is Control.PAUSED
    assert steer(ledger, run, Control.RUNNING) == f"Run {run.id} goes on."
    assert control_of(ledger, run) is Control.RUNNING


def test_cancelled_is_final(ledger: Ledger, run: Run) -> None:
    steer(ledger, run, Control.CANCELLED)
    for wanted in (Control.RUNNING, Control.PAUSED):
        with pytest.raises(PipelineError, match="final"):
            steer(ledger, run, wanted)
    assert control_of(ledger, run) is Control.CANCELLED


def test_cancel_settles_only_what_no_queue_has(ledger: Ledger, run: Run) -> None:
    # Given a published batch, one that was recorded only, and eighty messages undispatched
    ledger.record_batches(run.id, [make.row(run.id, 0), make.row(run.id, 1, first_index=10)])
    ledger.mark_published(run.id, [(0, NOON)])

    # When the run is cancelled, twice
    assert cancel_unpublished(ledger, run) == 90
    assert cancel_unpublished(ledger, run) == 0

    # Then the published batch is left to a worker, and nothing contradicts
    report = audit_ledger(ledger, run)
    assert (report.cancelled, report.in_flight, report.undispatched) == (90, 10, 0)
    assert report.verdict is Verdict.UNFINISHED

    # And a producer that was about to dispatch finds nothing left
    assert not ledger.record_batches(run.id, [make.row(run.id, 2, first_index=20)])
