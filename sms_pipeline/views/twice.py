"""Lists who may have got a message twice, though it was counted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import of_messages
from sms_pipeline.core.records import Run, Settlement, Steering
from sms_pipeline.core.twice import MaybeTwice, maybe_twice, vanished
from sms_pipeline.ledger.following import online_workers
from sms_pipeline.ledger.scan import Records
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.format import csv_line
from sms_pipeline.views.lists import recipient
from sms_pipeline.views.output import write

_HEADINGS = ("message", "to", "batch", "attempt", "why")


def list_maybe_twice(
    ledger: Ledger,
    run: Run,
    as_csv: bool,
    number_of: Callable[[int], str] | None = None,
    clock: Clock = MACHINE_CLOCK,
) -> None:
    """Print a line for each message and attempt that may have been sent twice.

    `number_of`: see `list_failures`; it is asked in ascending order but for repeated attempts.

    Raises:
        LedgerUnavailableError: the ledger can't be reached.
    """
    if as_csv:
        write(csv_line(_HEADINGS), newline=False)
    number, messages = number_of or partial(recipient, run), 0
    for found in _found(ledger, run, clock):
        for index in found.indexes:
            messages += 1
            to = number(index)
            if as_csv:
                cells = (index, to, found.batch.number, found.attempt, found.why)
                write(csv_line(cells), newline=False)
            else:
                write(f"message {index}  {to}  attempt {found.attempt}  {found.why}")
    if not as_csv:
        write(f"Run {run.id}: {of_messages(messages)} may have been sent twice.")


def _found(ledger: Ledger, run: Run, clock: Clock) -> Iterator[MaybeTwice]:
    online = [worker.row.id for worker in online_workers(ledger, clock)]
    everyone = ledger.all_workers()
    gone = [worker for worker in vanished(everyone, online) if worker.seen_at >= run.started_at]
    with ledger.reading() as connection:
        records = Records(connection, run)
        resumed_at = [step.at for step in records.steps() if step.what is Steering.RESUMED]
        if not gone and not resumed_at:
            return
        chains = _chains(records.settlements())
        number, chain = next(chains, (None, []))
        for batch in records.batches():
            mine = []
            if number == batch.number:
                mine = chain
                number, chain = next(chains, (None, []))
            yield from maybe_twice(batch, mine, gone, resumed_at, run.simulation.failover, everyone)


def _chains(
    settlements: Iterator[Settlement],
) -> Iterator[tuple[int | None, list[Settlement]]]:
    for number, chain in groupby(settlements, lambda settlement: settlement.key[1]):
        yield number, list(chain)
