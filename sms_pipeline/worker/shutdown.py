"""Orderly shutdown of a worker process.

Celery's own warm shutdown stops the event loop before threads have ended, so their last
acknowledgements are never sent and their batches come back. Here the loop runs on while batches in
hand are finished.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

from celery.worker import state

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.counts import how_many
from sms_pipeline.core.errors import EXIT_FAILURE, EXIT_OK, ConfigError
from sms_pipeline.worker.process import Worker

log = logging.getLogger(__name__)

#: How long batches in hand may take to end by default: less than a container engine or an init
#: system waits before it kills.
DRAIN_SECONDS = 20.0
#: RabbitMQ closes the channel of a delivery held for 30 minutes.
MOST_DRAIN_SECONDS = 1_200.0
#: After a second signal the process ends within this time, whatever hangs.
HARD_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05
_BARRIER_SECONDS = 2.0


def require_drain(seconds: float) -> None:
    """Refuse a time that makes no sense, or that the broker would not wait.

    Raises:
        ConfigError: it is one.
    """
    if not 0 <= seconds <= MOST_DRAIN_SECONDS:
        raise ConfigError(
            f"option --drain: must be 0 to {MOST_DRAIN_SECONDS:.0f} seconds, got {seconds:g}"
        )


class Shutdown:
    """First SIGTERM or SIGINT: finish the batches in hand, then leave. Second: leave at once.

    What is not finished stays with the broker in both cases, which delivers it again.
    """

    def __init__(
        self,
        consumer: Any,
        worker: Worker,
        clock: Clock = MACHINE_CLOCK,
        drain: float = DRAIN_SECONDS,
    ) -> None:
        self._consumer = consumer
        self._worker = worker
        self._drain = drain
        self._clock = clock
        self._signals = 0

    def install(self) -> None:
        """Take over the signals; must be called in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Handlers run between any two bytecodes of the main thread: locks are for other threads.
        self._signals += 1
        work = self._finish if self._signals == 1 else self._leave_at_once
        threading.Thread(target=work, name="shutdown", daemon=True).start()

    def _finish(self) -> None:
        log.warning(
            "finishing the batches in hand, for at most %.0f s; a second signal ends at once",
            self._drain,
        )
        self._worker.stopping.set()
        if self._consumer.task_consumer:
            self._consumer.call_soon(self._consumer.task_consumer.cancel)
        until = self._clock.monotonic() + self._drain
        while state.reserved_requests and self._clock.monotonic() < until:
            self._clock.sleep(_POLL_SECONDS)
        if left := len(state.reserved_requests):
            log.warning("%s back to the broker", how_many(left, "batch goes", "batches go"))
        self._leave()

    def _leave(self) -> None:
        self._worker.abandon()
        # Acknowledgements are sent by the event loop: let it come to the end of its list.
        self._clock.sleep(_POLL_SECONDS)
        sent = threading.Event()
        self._consumer.call_soon(sent.set)
        sent.wait(_BARRIER_SECONDS)
        state.should_stop = EXIT_OK

    def _leave_at_once(self) -> None:
        log.warning("leaving at once; the batches in hand go back to the broker")
        self._leave()
        self._clock.sleep(HARD_STOP_SECONDS)
        os._exit(EXIT_FAILURE)
