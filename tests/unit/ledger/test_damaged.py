"""A ledger in which something is missing, or something else than was written: it says so."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sms_pipeline.core.errors import DamagedLedgerError, LedgerUnavailableError, NoLedgerError
from sms_pipeline.core.failover import HandOver
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.columns import (
    LATEST_MOMENT,
    Bits,
    Choice,
    Flag,
    Moment,
    Number,
    Whole,
    Word,
)
from sms_pipeline.ledger.database import damage_of, reason, sqlite_kind
from sms_pipeline.ledger.reading import connect, require_file
from sms_pipeline.ledger.scan import Records
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import timeline
from tests.unit import make

# Values that are missing


def forget(connection: Connection, table: str, column: str) -> None:
    """Empty a column of a table, which must let that be."""
    for statement in (
        f"CREATE TABLE loose AS SELECT * FROM {table}",  # noqa: S608
        f"DROP TABLE {table}",
        f"ALTER TABLE loose RENAME TO {table}",
        f"UPDATE {table} SET {column} = NULL",  # noqa: S608
    ):
        connection.execute(text(statement))


@pytest.fixture
def complete(ledger: Ledger, run: Run) -> Run:
    """A run with a row in every table that is summed."""
    ledger.record_batches(run.id, [make.row(run.id)])
    on_phone = OnPhone(receipts=9, missing=1, seconds=20.0, longest=4.0, times={3: 9})
    hand_over = HandOver("fast", "slow", 1)
    ledger.settle([make.honest(run.id, on_phone=on_phone, handed_over=(hand_over,))])
    return run


@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("handed_over", name) for name in ("source", "target", "messages", "untried")),
        *(("dispatched", name) for name in ("profile", "messages")),
        ("counters", "profile"),
        ("delivery_times", "bucket"),
        ("receipt_counters", "profile"),
    ],
)
def test_counts_say_what_is_missing(ledger: Ledger, complete: Run, table: str, column: str) -> None:
    ledger.snapshot(complete)
    with ledger.writing() as connection:
        forget(connection, table, column)
    with pytest.raises(DamagedLedgerError, match=f"a row that can't be read: no {column}$"):
        ledger.snapshot(complete)


@pytest.mark.parametrize(
    ("table", "column"), [("batches", "queued_at"), ("settlements", "settled_at")]
)
def test_a_course_says_what_is_missing(
    ledger: Ledger, complete: Run, table: str, column: str
) -> None:
    timeline(ledger, complete)
    with ledger.writing() as connection:
        forget(connection, table, column)
    with pytest.raises(DamagedLedgerError, match=f"a row that can't be read: no {column}$"):
        timeline(ledger, complete)


def test_a_row_for_the_audit_says_what_is_missing(ledger: Ledger, complete: Run) -> None:
    with ledger.writing() as connection:
        forget(connection, "counters", "attempts")
        with pytest.raises(DamagedLedgerError, match=r"can't be read: no attempts$"):
            Records(connection, complete).counters()


@pytest.mark.parametrize("table", ["delivery_times", "receipt_times"])
def test_rows_that_are_there_twice_count_twice_in_the_audit(
    ledger: Ledger, complete: Run, table: str
) -> None:
    with ledger.writing() as connection:
        before = Records(connection, complete).counters()[0].timed, _on_phone(connection, complete)
        forget(connection, table, "worker")
        connection.execute(text(f"UPDATE {table} SET worker = 'w1'"))  # noqa: S608
        connection.execute(text(f"INSERT INTO {table} SELECT * FROM {table}"))  # noqa: S608
        after = Records(connection, complete).counters()[0].timed, _on_phone(connection, complete)
    is_receipts = table == "receipt_times"
    assert after == (before[0] * (1 + (not is_receipts)), before[1] * (1 + is_receipts))


def _on_phone(connection: Connection, run: Run) -> int:
    (one,) = Records(connection, run).receipt_counters().values()
    return sum(one.times.values())


# Values of another kind

SMALL = Whole(least=1, most=4)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (SMALL, 1, 1),
        (SMALL, 4, 4),
        (SMALL, Decimal(3), 3),
        (Whole(least=1, most=4, strict=False), 5, 5),
        (Number(), 2, 2.0),
        (Moment(), 0, 0.0),
        (Moment(), LATEST_MOMENT, LATEST_MOMENT),
        (Word(), "a", "a"),
        (Choice(("up", "down"), 4), "up", "up"),
        (Bits(), memoryview(b"a"), b"a"),
        (Flag(), 1, True),
    ],
)
def test_what_was_written_is_read(kind: Any, value: object, read: object) -> None:
    found = kind.result_processor(sqlite.dialect(), None)(value)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (SMALL, 0, "is 0, not a whole number"),
        (SMALL, 5, "is 5, not a whole number"),
        (SMALL, 2.0, "is 2.0, not a whole number"),
        (SMALL, Decimal("1.5"), "is 1.5, not a whole number"),
        (SMALL, Decimal("Infinity"), "is Infinity, not a whole number"),
        (Number(), "0791234567", "is text, not a number"),
        (Number(), float("inf"), "is inf, not a number"),
        (Moment(), -1, "is -1, not a moment"),
        (Moment(), 2 * LATEST_MOMENT, f"is {2 * LATEST_MOMENT}, not a moment"),
        (Word(), 7, "is 7, not a text"),
        (Choice(("up", "down"), 4), 7, "is 7, not one of up, down"),
        (Bits(), 7, "is 7, not binary"),
        (Flag(), 7, "is 7, not yes or no"),
    ],
)
def test_what_was_never_written_is_refused_by_its_value(
    kind: Any, value: object, said: str
) -> None:
    with pytest.raises(DamagedLedgerError) as refusal:
        kind.result_processor(sqlite.dialect(), None)(value)
    assert str(refusal.value) == f"the ledger has a row that can't be read: a column {said}"


# What a database says


def raised(cause: Exception) -> DatabaseError:
    return OperationalError("SELECT 1", None, cause)


def of_sqlite(said: str, code: int | None) -> sqlite3.Error:
    error = sqlite3.OperationalError(said)
    if code is not None:
        error.sqlite_errorcode = code
    return error


class OfPostgres(psycopg.Error):
    """An error with a code of the server."""

    def __init__(self, said: str, code: str) -> None:
        super().__init__(said)
        self.sqlstate = code


@pytest.mark.parametrize(
    ("cause", "damage"),
    [
        (of_sqlite("malformed\nmore", sqlite3.SQLITE_CORRUPT | 1 << 8), "malformed"),
        (of_sqlite("no such table: runs", None), "no such table: runs"),
        (of_sqlite("database is locked", sqlite3.SQLITE_BUSY), None),
        (of_sqlite("Could not decode to UTF-8 column 'a'", None), "a text in it is not UTF-8"),
        (OfPostgres("no relation\nLINE 1", "42P01"), "no relation"),
        (OfPostgres("too many clients", "53300"), None),
        (ValueError("no code"), None),
    ],
)
def test_damage_is_told_from_what_may_pass(cause: Exception, damage: str | None) -> None:
    assert damage_of(raised(cause)) == damage


@pytest.mark.parametrize(("code", "kind"), [(None, 0), (5, 5), (5 | 2 << 8, 5)])
def test_sqlite_says_what_kind_of_error_it_is(code: int | None, kind: int) -> None:
    assert sqlite_kind(of_sqlite("", code)) == kind


def noted(note: str) -> Exception:
    error = ValueError("said")
    error.add_note(note)
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (raised(ValueError("first\nsecond")), "reached: first"),
        (raised(ValueError()), "reached: ValueError"),
        (raised(noted("the disk is full")), "used now: the disk is full"),
        (PoolTimeoutError(), "reached: no answer on any connection"),
    ],
)
def test_a_ledger_that_is_away_says_why_in_a_line(error: Exception, said: str) -> None:
    assert reason("here", error) == f"the ledger here can't be {said}"


# What is not there


@pytest.mark.parametrize("name", ["none.db", "n" * 5_000])
def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    file = str(tmp_path / name)
    with pytest.raises(NoLedgerError) as refusal:
        require_file(file)
    assert str(refusal.value) == (
        f"the ledger has no run yet: there is no file {file}; start one with 'sms-pipeline run' "
        "or 'produce', or name another ledger with SMS_DATABASE_URL"
    )


def test_a_file_that_cant_be_read_is_refused_as_sqlite_does(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        connect(str(tmp_path / "no folder" / "none.db"), 0)


def test_tables_that_are_not_there_are_named_with_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    Path(str(make_url(url).database)).touch()
    with pytest.raises(NoLedgerError) as refusal:
        Ledger.open_to_read(url)
    assert str(refusal.value) == (
        "the ledger has no run yet, and no tables; start one with 'sms-pipeline run' or 'produce'"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM ledger_identity", "the ledger is damaged: it does not say which it is"),
        (
            "UPDATE ledger_identity SET schema_version = 999",
            "the ledger was made by another version of sms-pipeline (tables 999, expected ",
        ),
    ],
)
def test_a_ledger_of_another_kind_is_refused(
    ledger: Ledger, ledger_url: str, change: str, said: str
) -> None:
    with ledger.writing() as connection:
        connection.execute(text(change))
    with pytest.raises((DamagedLedgerError, LedgerUnavailableError)) as refusal:
        Ledger.open_to_read(ledger_url)
    assert str(refusal.value).startswith(said)
