"""What happened in a run, in order, and to one message of it."""

from __future__ import annotations

from sqlalchemy import select

from sms_pipeline.core.errors import BadBatchError, DamagedLedgerError
from sms_pipeline.core.records import BatchRow, Settlement
from sms_pipeline.core.story import Attempt
from sms_pipeline.core.story import attempts_at as attempts_of_batch
from sms_pipeline.ledger import queries, schema
from sms_pipeline.ledger.mapping import to_batch, to_settlement
from sms_pipeline.ledger.store import Ledger


def dispatches_since(ledger: Ledger, run_id: int, after: float) -> list[BatchRow]:
    """Batches published after that time, in order.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    batch = schema.batches.c
    query = (
        select(schema.batches)
        .where(batch.run == run_id, batch.published_at > after)
        .order_by(batch.published_at, batch.number)
    )
    with ledger.reading() as connection:
        return [to_batch(row) for row in connection.execute(query)]


def settlements_since(ledger: Ledger, run_id: int, after: float) -> list[Settlement]:
    """Settlements recorded after that time, in order.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    settled = schema.settlements.c
    query = (
        select(schema.settlements)
        .where(settled.run == run_id, settled.settled_at > after)
        .order_by(settled.settled_at, settled.batch, settled.attempt)
    )
    with ledger.reading() as connection:
        return [to_settlement(row) for row in connection.execute(query)]


def attempts_at(ledger: Ledger, run_id: int, index: int) -> tuple[BatchRow | None, list[Attempt]]:
    """The batch that a message is in, and the settled attempts at it, in order.

    No batch: the message is not dispatched yet.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
        DamagedLedgerError: its records of the batch contradict one another.
    """
    with ledger.reading() as connection:
        row = connection.execute(queries.batch_of(run_id, index)).one_or_none()
        if row is None:
            return None, []
        batch = to_batch(row)
        chain = connection.execute(queries.chain(run_id, batch.number)).all()
        reason = connection.execute(queries.reason(run_id, index)).scalar()
    settlements = [to_settlement(settled) for settled in chain]
    try:
        return batch, list(attempts_of_batch(index, batch, settlements, reason))
    except BadBatchError as error:
        raise DamagedLedgerError(f"batch {batch.number} can't be read: {error}") from error
