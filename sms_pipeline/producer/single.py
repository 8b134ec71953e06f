"""One SMS whose number and text the caller gives: a run with one message."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import ConfigError, LedgerUnavailableError
from sms_pipeline.core.liveness import present_workers
from sms_pipeline.core.messages import joined
from sms_pipeline.core.recipients import NUMBER_PATTERN
from sms_pipeline.core.records import BatchRow, Control, Run, WorkerRow
from sms_pipeline.core.simulation import MAX_TEXT_LENGTH, Simulation
from sms_pipeline.ledger.steering import cancel_unpublished
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.producer.dispatching import first_attempt
from sms_pipeline.producer.seed import draw_seed

log = logging.getLogger(__name__)

_NUMBER = re.compile(NUMBER_PATTERN)
_FIRST_BATCH = 0
#: A worker whose last sign of life is so much older than another's is gone. Heartbeats come about
#: every second, and the clocks of hosts may differ a little.
_SILENT_SECONDS = 10.0

#: Gives a batch to the broker; returns when that is confirmed, raises when it is not.
Publish = Callable[[Batch], object]


def send_one(
    ledger: Ledger,
    publish: Publish,
    simulation: Simulation,
    to: str,
    text: str,
    embedded: bool,
    clock: Clock = MACHINE_CLOCK,
) -> object:
    """Register a run of this one SMS and publish it; return what `publish` returned.

    The ledger keeps neither number nor text. So the run can't be dispatched again: if it can't be
    published, it is cancelled.

    Raises:
        ConfigError: the number or the text can't be sent; the message repeats neither.
        LedgerUnavailableError: the ledger can't be reached; nothing was published.
        Exception: whatever `publish` raised.
    """
    require_sms(to, text)
    single = simulation.model_copy(update={"num_messages": 1, "messages_from": "caller"})
    run = ledger.start_run(single, draw_seed(), embedded)
    profile = profile_for(single, ledger.workers())
    row = BatchRow(run.id, _FIRST_BATCH, profile, 0, 1, clock.wall())
    batch = first_attempt(ledger.id, run, row, clock.timeline, row.queued_at).model_copy(
        update={"to": to, "text": joined([text])}
    )
    try:
        ledger.record_batches(run.id, [row])
        published = publish(batch)
    except Exception:
        with _ledger_may_be_away(f"run {run.id} could not be cancelled"):
            _cancel(ledger, run)
        raise
    # An error here would tell the caller that it was not sent.
    with _ledger_may_be_away(f"that run {run.id} was published could not be noted"):
        ledger.mark_published(run.id, [(row.number, clock.wall())])
    return published


def require_sms(to: object, text: object) -> None:
    """Check a number and a text.

    Raises:
        ConfigError: one of them can't be sent.
    """
    if not (isinstance(to, str) and _NUMBER.fullmatch(to)):
        raise ConfigError("send_sms: the first argument must be a phone number, as 202-555-0100")
    if not (isinstance(text, str) and 0 < len(text) <= MAX_TEXT_LENGTH):
        raise ConfigError(f"send_sms: the text must be 1 to {MAX_TEXT_LENGTH} characters")


def profile_for(simulation: Simulation, workers: Iterable[WorkerRow]) -> str:
    """The first profile of the configuration that a worker is there for, or simply the first.

    A killed worker never signs off. It would take seconds to see whose heartbeat still changes, so
    it goes by when each last wrote one.
    """
    present = present_workers(workers)
    newest = max((worker.seen_at for worker in present), default=0.0)
    served = {worker.profile for worker in present if newest - worker.seen_at <= _SILENT_SECONDS}
    names = [sender.name for sender in simulation.senders]
    return next((name for name in names if name in served), names[0])


@contextmanager
def _ledger_may_be_away(what: str) -> Iterator[None]:
    try:
        yield
    except LedgerUnavailableError as error:
        log.warning("%s: %s", what, error)


def _cancel(ledger: Ledger, run: Run) -> None:
    ledger.control(run.id, Control.CANCELLED)
    cancel_unpublished(ledger, ledger.run(run.id))
