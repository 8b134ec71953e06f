"""A ledger that is gone with the process."""

from __future__ import annotations

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.ledger.database import memory_engine
from sms_pipeline.ledger.store import Ledger


def memory_ledger(clock: Clock = MACHINE_CLOCK) -> Ledger:
    """An empty ledger: the real code over SQLite, without a file. Threads may share it."""
    return Ledger(memory_engine(), clock)
