"""The audit of a run, with what only the broker and the workers know."""

from __future__ import annotations

import logging

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.errors import BrokerUnavailableError
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.following import online_workers
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import AuditResult

log = logging.getLogger(__name__)


def audit_run(settings: Settings, ledger: Ledger, run: Run) -> AuditResult:
    """Audit the run; also check who is online, and count dead letters."""
    report = audit_ledger(ledger, run)
    if report.forecast:
        return report
    if report.in_flight and run.embedded and not online_workers(ledger):
        report = audit_ledger(ledger, run, lost=True)
    if not settings.embedded:
        report.dead_letters = _dead_letters(settings)
    return report


def _dead_letters(settings: Settings) -> int | None:
    """None if the broker can't be reached: the audit itself needs only the ledger."""
    publisher = Publisher(settings.broker_url, settings.queue_type)
    try:
        publisher.reach()
        return publisher.dead_letters()
    except BrokerUnavailableError as error:
        log.warning("dead letters not counted: %s", error)
        return None
