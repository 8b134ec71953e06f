"""Whatever stands in a column of a ledger: each view shows something, or says in a line why not."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sms_pipeline.config.clock import MachineClock
from sms_pipeline.core.errors import (
    EXIT_BROKEN,
    EXIT_OK,
    EXIT_UNFINISHED,
    DamagedLedgerError,
    PipelineError,
)
from sms_pipeline.core.records import Control
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.dashboard.board import Board
from sms_pipeline.views.metrics.exporter import METRICS_PATH, Exporter
from tests.unit.cli.commands import invoke
from tests.unit.ledger import honest

#: What no ledger writes, in SQL. SQLite takes each of them in any column.
VALUES = (
    "'x'",
    "NULL",
    "-1",
    "0",
    "2147483648",
    "9223372036854775807",
    "1e300",
    "9e999",
    "0.5",
    "CAST(X'ff' AS TEXT)",
    "X'00ff'",
    "char(27) || '[31m'",
    "253402300799.0",
)
#: A view of a run with so few messages is short, whatever its numbers say.
LONGEST_OUTPUT = 300_000

View = Callable[[str], None]


def command(*arguments: str) -> View:
    """A command that reads."""

    def show(url: str) -> None:
        result = invoke(*arguments, SMS_DATABASE_URL=url)
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        # A ledger of another version, or without that run, is a mistake of the user.
        is_mistaken = any(words in result.stderr for words in ("another version", "has no run"))
        fitting = (EXIT_OK, EXIT_BROKEN, EXIT_UNFINISHED)
        assert result.exit_code in fitting or is_mistaken, result.output
        # A list may have begun when it comes to the row.
        assert len(result.stderr.splitlines()) <= 1, result.stderr
        assert result.stdout or result.stderr
        assert len(result.stdout) < LONGEST_OUTPUT
        assert "\x1b" not in result.output or "html" in arguments

    return show


def metrics(url: str) -> None:
    """The exporter: one line if there are no figures."""
    with closing(Ledger.open_to_read(url)) as ledger:
        exporter = Exporter(ledger, 2)
        exporter.read()
        exporter.answer(METRICS_PATH)
        assert "\n" not in exporter.health().reason


def board(run: int | None) -> View:
    """The figures of the dashboard: of a run, or the list."""

    async def read(ledger: Ledger) -> None:
        shown = Board(ledger)
        try:
            figures = await (shown.runs() if run is None else shown.run(run))
        finally:
            shown.close()
        json.dumps(figures, allow_nan=False)

    def show(url: str) -> None:
        with closing(Ledger.open_to_read(url)) as ledger:
            asyncio.run(read(ledger))

    return show


VIEWS: tuple[View, ...] = (
    command("audit", "1"),
    command("report", "1", "--format", "html"),
    command("runs"),
    command("senders"),
    command("failures", "1"),
    command("trace", "1"),
    command("trace", "1", "--message", "0"),
    command("compare", "1", "2", "--json"),
    command("monitor", "2", "--once"),
    metrics,
    board(None),
    board(2),
)


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ledger whose tables take anything, with a run that has ended and one that goes on."""
    file = tmp_path_factory.mktemp("loose") / "ledger.db"
    with closing(Ledger.open(f"sqlite:///{file}")) as ledger:
        honest.delivered_twice(ledger)
        made = honest.Rehearsal(ledger, deadline=600)
        made.dispatch()
        made.join()
        made.work_off(most=4)
        for wanted in (Control.PAUSED, Control.RUNNING):
            made.steer(wanted)
        made.stop()
    with closing(sqlite3.connect(file)) as connection:
        for table in tables(connection):
            connection.execute(f"CREATE TABLE loose AS SELECT * FROM {table}")  # noqa: S608
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE loose RENAME TO {table}")
        connection.execute("UPDATE workers SET left_at = NULL WHERE rowid = 1")
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    return file.read_bytes()


def tables(connection: sqlite3.Connection) -> list[str]:
    """Of a ledger."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    return [name for (name,) in connection.execute(query)]


def damages(content: bytes) -> Iterator[str]:
    """Each column with each value, in its first row."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        for table in tables(connection):
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})"):
                for value in VALUES:
                    yield f'UPDATE {table} SET "{column}" = {value} WHERE rowid = 1'  # noqa: S608


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes at once: whether a worker is online takes seconds to tell."""
    passed = [0.0]
    now = MachineClock.monotonic

    def sleep(_: MachineClock, seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(MachineClock, "sleep", sleep)
    monkeypatch.setattr(MachineClock, "monotonic", lambda clock: now(clock) + passed[0])


def test_ledger_without_damage_is_shown_by_all(loose: bytes, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(loose)
    for view in VIEWS:
        view(f"sqlite:///{tmp_path / 'ledger.db'}")


#: Of the pairs of a column and a value, one in so many is tried, another one of each column.
SHARE = 4
#: Each takes some seconds, on a busy machine a minute.
PARTS = 4


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_value_in_a_ledger_upsets_a_view(loose: bytes, tmp_path: Path, part: int) -> None:
    upset: list[str] = []
    for number, damage in enumerate(damages(loose)):
        if number % SHARE or number // SHARE % PARTS != part:
            continue
        file = tmp_path / f"{number}.db"
        file.write_bytes(loose)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(damage)
            connection.commit()
        # Each value of a column is shown to another view.
        view = (number + number // len(VALUES)) % len(VIEWS)
        try:
            VIEWS[view](f"sqlite:///{file}")
        except PipelineError as error:
            assert "\n" not in str(error)
        except Exception as error:
            upset.append(f"{damage}: view {view}: {error!r}")
        file.unlink()
    assert not upset, "\n".join(upset)


@pytest.mark.parametrize(
    ("damage", "view"),
    [
        ("UPDATE steps SET at = NULL", board(2)),
        ("UPDATE batches SET queued_at = NULL", board(2)),
        ("UPDATE batches SET size = 9223372036854775807", command("compare", "1", "2")),
        ("UPDATE batches SET size = 2147483648", command("trace", "1", "--message", "0")),
        ("UPDATE counters SET profile = NULL", command("report", "1", "--format", "html")),
        ("UPDATE counters SET transit_seconds = NULL", command("report", "1", "--format", "html")),
        ("UPDATE delivery_times SET bucket = NULL", command("report", "1", "--format", "html")),
    ],
)
def test_what_once_was_a_traceback_is_a_line(
    loose: bytes, tmp_path: Path, damage: str, view: View
) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(loose)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"{damage} WHERE rowid = 1 OR run = 2")
        connection.commit()
    with suppress(DamagedLedgerError):
        view(f"sqlite:///{file}")
