"""Reading needs no right to write, makes nothing, and says in a line what can't be read."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sms_pipeline.core.errors import DamagedLedgerError, NoLedgerError
from sms_pipeline.core.records import Run
from sms_pipeline.ledger import reading
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from tests.unit import make
from tests.unit.ledger import honest
from tests.unit.ledger.fakes import file_of

#: Who may do nothing.
NOBODY = 65_534


@pytest.fixture
def sealed(ledger: Ledger) -> tuple[Run, str]:
    """A run that has ended, and its seal."""
    run = honest.RUNS["retried"](ledger)
    report = audit_ledger(ledger, run)
    assert report.seal
    return run, report.seal


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Nothing in the folder, nor the folder, may be written to."""
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody may look into: pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="sms-tests-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    with pytest.raises(NoLedgerError) as caught:
        Ledger.open_to_read(f"sqlite:///{file}")
    assert "no run yet" in str(caught.value)
    assert str(file) in str(caught.value)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_database_without_tables_is_left_without(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE other (a)")
    content = file.read_bytes()
    with pytest.raises(NoLedgerError, match="no run yet, and no tables"):
        Ledger.open_to_read(f"sqlite:///{file}")
    assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["other.db"]


def test_reading_makes_no_file_and_changes_none(
    ledger: Ledger, ledger_url: str, sealed: tuple[Run, str]
) -> None:
    run, seal = sealed
    ledger.close()
    file = Path(file_of(ledger_url))
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    reader = Ledger.open_to_read(ledger_url)
    assert audit_ledger(reader, run).seal == seal
    reader.close()
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before


@pytest.mark.parametrize("is_sealed", [True, False])
def test_ledger_without_rights_is_audited(folder: Path, is_sealed: bool) -> None:
    # Given a run that has ended, in a folder that may only be read
    url = f"sqlite:///{folder / 'ledger.db'}"
    ledger = Ledger.open(url)
    run = honest.RUNS["retried"](ledger)
    seal = audit_ledger(ledger, run).seal if is_sealed else None
    ledger.close()
    with without_rights(folder):
        # When it is read
        reader = Ledger.open_to_read(url)
        report = audit_ledger(reader, reader.run())
        totals = reader.totals(1)
        failures = list(reader.failures(run.id))
        reader.close()
    # Then everything is there, and the seal is worked out where it is not recorded
    assert report.verdict is Verdict.PROVEN
    assert totals[0].done
    assert len(failures) == report.failed
    assert report.sealed is is_sealed
    assert report.seal == seal if is_sealed else len(report.seal or "") == 64


def test_ledger_is_read_while_somebody_writes_to_it(ledger: Ledger, ledger_url: str) -> None:
    reader = Ledger.open_to_read(ledger_url)
    run = ledger.start_run(make.simulation(), seed=1)
    assert reader.run().id == run.id


@pytest.mark.parametrize(
    ("log", "ways"),
    [
        (None, ["rw", "ro", "ro&immutable=1"]),
        (b"", ["rw", "ro", "ro&immutable=1"]),
        (b"x", ["rw", "ro"]),
    ],
)
def test_a_file_is_taken_for_unchanging_only_where_nobody_left_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: bytes | None, ways: list[str]
) -> None:
    # Given a file that can be opened in no way
    asked = []

    def refuse(uri: str, _timeout: float) -> None:
        asked.append(uri)
        raise sqlite3.OperationalError(f"refused the {len(asked)}. time")

    monkeypatch.setattr(reading, "_opened", refuse)
    file = tmp_path / "a b.db"
    if log is not None:
        Path(f"{file}-wal").write_bytes(log)
    # Then each way is tried that fits what is beside it, and the last one says why
    with pytest.raises(sqlite3.OperationalError, match=f"the {len(ways)}. time"):
        reading.connect(str(file), 1.0)
    at = f"file:{tmp_path}/a%20b.db"
    assert asked == [f"{at}?mode={way}" for way in ways]


def test_a_connection_waits_and_goes_from_thread_to_thread(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with closing(sqlite3.connect(file)):
        connection = reading.connect(str(file), 1.5)
    with ThreadPoolExecutor(1) as other:
        found = other.submit(lambda: connection.execute("PRAGMA busy_timeout").fetchone())
    connection.close()
    assert found.result() == (1_500,)


# What can't be read


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE runs SET simulation = '{'", "run 2 can't be read: its configuration is none"),
        ("UPDATE runs SET seed = 'x'", "runs.seed is text, not a whole number"),
        ("UPDATE runs SET started_at = 1e300", "runs.started_at is 1e+300, not a moment"),
        ("UPDATE counters SET delivered = 'x'", "counters.delivered is 0.0, not a whole number"),
        ("UPDATE runs SET control = x'80'", "runs.control is binary"),
        (
            "UPDATE runs SET simulation = CAST(x'80' AS TEXT)",
            "the ledger has a row that can't be read: a text in it is not UTF-8",
        ),
    ],
)
def test_run_that_cant_be_read_hides_no_other(
    ledger: Ledger, ledger_url: str, statement: str, said: str
) -> None:
    # Given three runs, the second of which can't be read
    for second in range(3):
        run = ledger.start_run(
            make.simulation(num_messages=10), seed=1, started_at=make.NOON + second
        )
        ledger.record_batches(run.id, [make.row(run.id)])
        ledger.settle([make.honest(run.id)])
    column = "id" if "runs" in statement else "run"
    with closing(sqlite3.connect(file_of(ledger_url))) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"{statement} WHERE {column} = 2")
        connection.commit()
    # When all are listed
    page = ledger.page(10)
    # Then the others are, and it is said what is wrong with that one
    assert [totals.run.id for totals in page.runs] == [3, 1]
    assert page.oldest == 1
    (bad,) = page.unreadable
    assert bad.run == 2
    assert said in bad.reason


def test_row_without_what_must_be_there(ledger: Ledger, ledger_url: str) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.honest(run.id)])
    with closing(sqlite3.connect(file_of(ledger_url))) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '')")
        connection.commit()
    with closing(sqlite3.connect(file_of(ledger_url))) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE settlements SET delivered = NULL")
        connection.commit()
    with pytest.raises(DamagedLedgerError, match="no delivered"):
        audit_ledger(Ledger.open_to_read(ledger_url), run)
