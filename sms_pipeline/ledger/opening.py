"""Whether a ledger is away, and whether it helps to wait for it."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

from sms_pipeline.core.errors import DamagedLedgerError, LedgerUnavailableError
from sms_pipeline.ledger.database import sqlite_kind
from sms_pipeline.ledger.store import Ledger

#: Parts of what PostgreSQL says of a mistake. Before a connection exists, it has no codes for them.
_MISTAKES = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password")
#: What passes on SQLite: another process writes, or the disk is full.
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def may_pass(error: LedgerUnavailableError) -> bool:
    """Whether a ledger may be there later: its database is away, starts, or is busy.

    A wrong password, a file that can't be opened or a ledger of another version stay as they are.
    """
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return True
    if not isinstance(cause, OperationalError | InterfaceError):
        return isinstance(cause, DBAPIError) and cause.connection_invalidated
    if isinstance(cause.orig, sqlite3.Error):
        return sqlite_kind(cause.orig) in _PASSING
    return not any(mistake in str(cause.orig) for mistake in _MISTAKES)


def is_away(ledger: Ledger) -> bool:
    """Whether the database does not answer just now."""
    try:
        ledger.workers()
    except LedgerUnavailableError:
        return True
    except DamagedLedgerError:
        # It has answered.
        return False
    return False
