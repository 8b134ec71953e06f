"""Runs that were forecast: they are read like any other, but nothing of them ever happened."""

from __future__ import annotations

from contextlib import suppress

from sms_pipeline.core.errors import ConfigError, DamagedLedgerError
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import Timeline, timeline

#: So many of the latest forecasts are looked at.
_LATEST = 50


def require_sent(run: Run) -> None:
    """Refuse a forecast.

    Raises:
        ConfigError: it is one.
    """
    if run.simulation.is_forecast:
        raise ConfigError(
            f"run {run.id} is a forecast: no message of it was ever sent; "
            f"show it with: sms-pipeline report {run.id}"
        )


def foretold(ledger: Ledger, run: Run, bins: int) -> Timeline | None:
    """The course that the newest forecast of the same configuration has; None if there is none.

    Those that can't be read do not count.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    if run.simulation.is_forecast:
        return None
    for one in ledger.forecasts(_LATEST):
        if one.simulation.takes_as_long_as(run.simulation):
            # One that can't be read is as good as none: it hides nothing of the run.
            with suppress(DamagedLedgerError):
                return timeline(ledger, one, bins)
    return None
