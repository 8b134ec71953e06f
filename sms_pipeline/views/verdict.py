"""The audit of a run, with what the ledger alone can't know."""

from __future__ import annotations

import logging

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.records import Run
from sms_pipeline.errors import BrokerUnavailableError
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.following import online_workers
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import AuditResult

log = logging.getLogger(__name__)


def audit_run(settings: Settings, ledger: Ledger, run: Run) -> AuditResult:
    """Audit the run, and look at what the ledger can't know: who is online, dead letters."""
    report = audit_ledger(ledger, run)
    if report.in_flight and run.embedded and not online_workers(ledger):
        report = audit_ledger(ledger, run, lost=True)
    if not settings.embedded:
        report.dead_letters = _dead_letters(settings)
    return report


def _dead_letters(settings: Settings) -> int | None:
    """The audit is of the ledger; that it can't look into the broker does not spoil it."""
    publisher = Publisher(settings.broker_url, settings.queue_type)
    try:
        publisher.reach()
        return publisher.dead_letters()
    except BrokerUnavailableError as error:
        log.warning("dead letters not counted: %s", error)
        return None
