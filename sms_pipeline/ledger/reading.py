"""A ledger that is only read: nothing is made, and nothing need be writable."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from sms_pipeline.core.errors import NoLedgerError

#: Ways to open a file that is there, by what they need: a folder in which SQLite can make its files
#: for readers; such files that are there already; nothing, as long as nobody writes.
_WAYS = ("mode=rw", "mode=ro", "mode=ro&immutable=1")
_ONLY_WITHOUT_WRITERS = _WAYS[-1]


def require_file(file: str) -> None:
    """Refuse an SQLite file that is not there.

    Raises:
        NoLedgerError: it is not.
    """
    if not _is_there(file):
        raise NoLedgerError(
            f"the ledger has no run yet: there is no file {file}; start one with "
            "'sms-pipeline run' or 'produce', or name another ledger with SMS_DATABASE_URL"
        )


def _is_there(file: str) -> bool:
    """Where one may not look, SQLite says so."""
    try:
        return Path(file).exists()
    except PermissionError:
        return True
    except OSError:  # No file can have such a name.
        return False


def connect(file: str, timeout: float) -> sqlite3.Connection:
    """Open an SQLite file as well as the rights to it allow; it is never made.

    Raises:
        sqlite3.Error: it can't be read at all.
    """
    refusals: list[sqlite3.Error] = []
    for way in _WAYS:
        if way == _ONLY_WITHOUT_WRITERS and _has_changes(file):
            break
        try:
            return _opened(f"file:{quote(file)}?{way}", timeout)
        except sqlite3.OperationalError as refused:
            refusals.append(refused)
    raise refusals[-1]


def _opened(uri: str, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, timeout=timeout, uri=True, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _has_changes(file: str) -> bool:
    """Whether a writer left something beside the file that must be read with it."""
    log = Path(f"{file}-wal")
    return log.exists() and log.stat().st_size > 0
