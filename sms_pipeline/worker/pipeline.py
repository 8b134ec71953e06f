"""What the tasks of this process work with."""

from __future__ import annotations

from typing import NamedTuple

from sms_pipeline.broker.publisher import Publisher
from sms_pipeline.config.files import load_simulation
from sms_pipeline.config.settings import load_settings
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.worker.process import Worker
from sms_pipeline.worker.shutdown import DRAIN_SECONDS


class Pipeline(NamedTuple):
    """Both ends of a worker process: where batches are settled, and where remainders go."""

    worker: Worker
    publisher: Publisher
    #: How long a shutdown waits for the batches in hand, seconds.
    drain: float = DRAIN_SECONDS
    #: Batches of each queue that are taken in hand; None: of all queues, one for each thread.
    prefetch: int | None = None


_installed: list[Pipeline] = []


def install(parts: Pipeline) -> None:
    """Make `parts` what this process's tasks use."""
    _installed[:] = [parts]


def installed() -> Pipeline | None:
    """What `install` was called with last, if it was."""
    return _installed[0] if _installed else None


def restore(before: Pipeline | None) -> None:
    """Make what `installed` returned the one again."""
    _installed[:] = [before] if before else []


def pipeline() -> Pipeline:
    """What is installed; in eager mode it is made at first use, with every profile."""
    if not _installed:
        settings = load_settings()
        simulation = load_simulation(settings.config)
        worker = Worker(Ledger.open(settings.database_url), simulation.senders)
        worker.start()
        install(Pipeline(worker, Publisher(settings.broker_url, settings.queue_type)))
    return _installed[0]


def stop() -> None:
    """Stop the worker that is installed, if one is."""
    for parts in _installed:
        parts.worker.stop()
