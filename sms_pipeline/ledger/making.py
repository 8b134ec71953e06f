"""Making the tables of a ledger, and finding them."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, inspect, select, text

from sms_pipeline.core.errors import DamagedLedgerError, LedgerUnavailableError, NoLedgerError
from sms_pipeline.ledger import schema

#: Any fixed number: whoever holds it may create the tables.
_CREATE_LOCK = 7_436_219


def create_tables(connection: Connection) -> str:
    """Create what is missing; return the ledger's id. The caller holds a write transaction.

    Raises:
        LedgerUnavailableError: the tables are of another version.
    """
    from sqlalchemy.dialects.postgresql import insert as postgres_insert
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATE_LOCK})
    schema.metadata.create_all(connection)
    # `create_all` adds no index to a table that is there: a ledger may be older than this one.
    schema.settled_in_order.create(connection, checkfirst=True)
    insert = sqlite_insert if is_sqlite else postgres_insert
    fresh = {"row": 1, "id": uuid.uuid4().hex, "schema_version": schema.SCHEMA_VERSION}
    connection.execute(insert(schema.identity).on_conflict_do_nothing(), fresh)
    return _read_identity(connection)


def find_tables(connection: Connection) -> str:
    """The ledger's id, where nothing may be made.

    Raises:
        NoLedgerError: there are no tables.
        LedgerUnavailableError: they are of another version.
        DamagedLedgerError: there is none of the rows that every ledger has.
    """
    if not inspect(connection).has_table(schema.identity.name):
        raise NoLedgerError(
            "the ledger has no run yet, and no tables; start one with 'sms-pipeline run' or "
            "'produce'"
        )
    return _read_identity(connection)


def _read_identity(connection: Connection) -> str:
    row = connection.execute(select(schema.identity)).one_or_none()
    if row is None:
        raise DamagedLedgerError("the ledger is damaged: it does not say which it is")
    if row.schema_version != schema.SCHEMA_VERSION:
        raise LedgerUnavailableError(
            f"the ledger was made by another version of sms-pipeline (tables {row.schema_version},"
            f" expected {schema.SCHEMA_VERSION}); name another one with SMS_DATABASE_URL"
        )
    return str(row.id)
