"""The tables of a ledger: the same for every version, made once, and refused when of another."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from sqlalchemy import MetaData, create_mock_engine, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from sms_pipeline.core.errors import LedgerUnavailableError
from sms_pipeline.ledger import schema
from sms_pipeline.ledger.database import open_engine
from sms_pipeline.ledger.making import create_tables
from sms_pipeline.ledger.store import Ledger
from tests.unit.ledger.stored import everything

FOLDER = Path(__file__).parent


def imported_anew() -> ModuleType:
    """The module once more, beside the one in use: it makes its tables while it is imported."""
    spec = spec_from_file_location(schema.__name__, schema.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def statements(metadata: MetaData) -> str:
    """What makes the tables in PostgreSQL."""
    dialect = postgresql.dialect()
    made: list[Any] = []
    for _, table in sorted(metadata.tables.items()):
        made += [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]
    lines = [str(one.compile(dialect=dialect)).strip().replace(" \n", "\n") for one in made]
    return ";\n\n".join(lines).replace("\t", "    ") + ";\n"


def test_tables_of_a_version_never_change() -> None:
    # Who changes them raises the version, so that a ledger with the old ones is refused
    fresh = imported_anew()
    file = FOLDER / f"tables_of_version_{fresh.SCHEMA_VERSION}.sql"
    assert statements(fresh.runs.metadata) == file.read_text()


def test_ledger_keeps_its_id(ledger: Ledger, ledger_url: str) -> None:
    assert Ledger.open(ledger_url).id == ledger.id


def test_ledgers_differ(ledger: Ledger, tmp_path: Path) -> None:
    assert Ledger.open(f"sqlite:///{tmp_path / 'other.db'}").id != ledger.id


def test_ledger_that_is_opened_again_is_as_it_was(ledger: Ledger, ledger_url: str) -> None:
    before = everything(ledger)
    Ledger.open(ledger_url).close()
    assert everything(ledger) == before
    assert before["ledger_identity"] == [
        {"row": 1, "id": ledger.id, "schema_version": schema.SCHEMA_VERSION}
    ]


def test_ledger_of_another_version_is_refused(
    ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = schema.SCHEMA_VERSION
    monkeypatch.setattr("sms_pipeline.ledger.schema.SCHEMA_VERSION", 99)
    with pytest.raises(LedgerUnavailableError) as caught:
        Ledger.open(ledger_url)
    assert f"of sms-pipeline (tables {made}, expected 99)" in str(caught.value)
    assert "name another one with SMS_DATABASE_URL" in str(caught.value)


def test_ledger_of_the_first_version_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    # Given a ledger with the tables of version 1
    file = tmp_path / "old.db"
    with closing(sqlite3.connect(file)) as old:
        old.executescript((FOLDER / "tables_of_version_1.sql").read_text())
        old.execute("INSERT INTO ledger_identity VALUES (1, 'old', 1)")
        old.commit()
        before = list(old.iterdump())
    # When it is opened
    with pytest.raises(LedgerUnavailableError) as caught:
        Ledger.open(f"sqlite:///{file}")
    # Then it is told what to do, and nothing was added
    assert str(caught.value) == (
        "the ledger was made by another version of sms-pipeline (tables 1, "
        f"expected {schema.SCHEMA_VERSION}); name another one with SMS_DATABASE_URL"
    )
    with closing(sqlite3.connect(file)) as old:
        assert list(old.iterdump()) == before


# The index


def plan(ledger: Ledger, statement: str) -> str:
    with ledger.reading() as connection:
        rows = connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"))
        return " ".join(row[3] for row in rows)


def test_the_last_seconds_of_a_run_are_read_by_an_index(ledger: Ledger) -> None:
    found = plan(ledger, "SELECT sum(delivered) FROM settlements WHERE run = 1 AND settled_at >= 2")
    assert "settlements_in_order (run=? AND settled_at>?)" in found


def test_ledger_that_is_older_than_the_index_is_given_it(ledger: Ledger, ledger_url: str) -> None:
    engine = open_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX settlements_in_order"))
    assert inspect(engine).get_indexes("settlements") == []
    Ledger.open(ledger_url).close()
    (index,) = inspect(engine).get_indexes("settlements")
    assert index["column_names"] == ["run", "settled_at"]


# PostgreSQL


class Identity(NamedTuple):
    row: int
    id: str
    schema_version: int


class Answers:
    """What a server answers to whatever it is asked."""

    def one_or_none(self) -> Identity:
        return Identity(1, "there before", schema.SCHEMA_VERSION)


def test_processes_that_start_at_once_make_the_tables_of_postgresql_one_after_the_other() -> None:
    # Given a server that keeps what it is told
    said: list[tuple[str, Any]] = []

    def execute(statement: Any, values: Any = None) -> Answers:
        said.append((str(statement.compile(dialect=server.dialect)).strip(), values))
        return Answers()

    server = create_mock_engine("postgresql+psycopg://", execute)

    # When tables are made on it
    assert create_tables(server) == "there before"  # type: ignore[arg-type]

    # Then a lock comes before all else, the index is made where it is missing, and the id of
    # whoever was first stands
    lock, values = said[0]
    assert lock == "SELECT pg_advisory_xact_lock(%(lock)s)"
    assert list(values) == ["lock"]
    assert sum(statement.startswith("CREATE TABLE") for statement, _ in said) == 18
    assert any("INDEX settlements_in_order" in statement for statement, _ in said)
    insert, values = said[-2]
    assert insert.startswith("INSERT INTO ledger_identity (row, id, schema_version)")
    assert insert.endswith("ON CONFLICT DO NOTHING")
    assert (values["row"], values["schema_version"]) == (1, schema.SCHEMA_VERSION)
    assert 0 < len(values["id"]) <= 64
