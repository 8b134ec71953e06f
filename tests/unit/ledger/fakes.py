"""What stands for a database, and where a real one is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.dialects import postgresql


class Server:
    """Stands for an engine of PostgreSQL, and for its connections: keeps what it is told."""

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    url = make_url("postgresql+psycopg://user:secret@host/db")

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.said: list[str] = []

    def execution_options(self, **options: Any) -> Server:
        return Server(**{**self.options, **options})

    @contextmanager
    def begin(self) -> Iterator[Server]:
        yield self

    def execute(self, statement: Any, _rows: object) -> list[object]:
        assert isinstance(statement, postgresql.Insert)
        self.said.append(" ".join(str(statement.compile(dialect=self.dialect)).split()))
        return []


def file_of(url: str) -> str:
    """The file of an SQLite ledger."""
    return str(make_url(url).database)
