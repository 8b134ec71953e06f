"""Reads the counters of a run every second, and answers for /metrics and /healthz."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.listening import Answer
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import PipelineError
from sms_pipeline.ledger.following import readings
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.format import duration
from sms_pipeline.views.metrics import families
from sms_pipeline.views.metrics.families import Health
from sms_pipeline.views.reader import Reader, Reading

#: How often the ledger is read. Scrapes and health checks get the last reading, so they are
#: answered at once even if the database is slow.
READ_SECONDS = 1.0
#: Readings older than this are not shown.
STALE_SECONDS = 15.0

METRICS_PATH, HEALTH_PATH = "/metrics", "/healthz"
PATHS = (METRICS_PATH, HEALTH_PATH)
_TEXT = "text/plain; charset=utf-8"


class Exporter(Collector):
    """Shows a run (the latest, if none is named) to Prometheus and to health checks.

    Another server can mount it: call `start`, then `answer(path)` for each request, then `stop`.
    """

    def __init__(
        self,
        ledger: Ledger,
        run_id: int | None = None,
        clock: Clock = MACHINE_CLOCK,
    ) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._clock = clock
        self._reader: Reader | None = None
        self._reading: Reading | None = None
        self._read_at = clock.monotonic()
        self._error: str | None = None
        self._stopping = threading.Event()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def start(self) -> None:
        """Start to read every second, in a thread."""
        self.read()
        threading.Thread(target=self._run, name="metrics-reader", daemon=True).start()

    def stop(self) -> None:
        """Stop reading."""
        self._stopping.set()

    def _run(self) -> None:
        for _ in readings(self.read, READ_SECONDS, self._stopping.wait):
            pass

    def read(self) -> None:
        """Read the ledger once; an error is kept for the health check."""
        try:
            reader = self._current_reader()
            self._reading = reader.read() if reader else None
            self._error = None
        except PipelineError as error:
            self._error = str(error)
        except Exception as error:
            # A row that is not one of ours can raise anything; whoever watches must learn of it.
            self._error = f"the ledger holds what can't be read: {type(error).__name__}"
        self._read_at = self._clock.monotonic()

    def _current_reader(self) -> Reader | None:
        wanted = self._run_id or self._ledger.latest_run_id()
        if wanted is None:
            return None
        if self._reader is None or self._reader.run.id != wanted:
            run = self._ledger.run(wanted)
            self._reader = Reader(self._ledger, run, clock=self._clock, counters_only=True)
        return self._reader

    def health(self) -> Health:
        """Red when the ledger can't be read, or the run stands still."""
        if self._is_stale():
            return Health(False, f"the ledger did not answer for {duration(self._age)}")
        if self._error:
            return Health(False, self._error)
        reading = self._reading
        return families.health(reading) if reading else Health(True, "no run yet")

    def collect(self) -> Iterator[Metric]:
        """See `Collector`. While the ledger can't be read, there are no figures of a run."""
        health, reading = self.health(), self._reading
        readable = self._error is None and not self._is_stale()
        yield from families.health_metrics(health, readable)
        if reading and readable:
            yield from families.run_metrics(reading)

    def answer(self, path: str) -> Answer:
        """The response to a GET of `path`."""
        if path == METRICS_PATH:
            return Answer(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry))
        if path == HEALTH_PATH:
            ok, reason = self.health()
            status = HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
            return _text(status, f"{'ok' if ok else 'red'}: {reason}")
        return _text(HTTPStatus.NOT_FOUND, f"there are {' and '.join(PATHS)}")

    def _is_stale(self) -> bool:
        return self._age > STALE_SECONDS

    @property
    def _age(self) -> float:
        """Seconds since the ledger answered, or failed to."""
        return self._clock.monotonic() - self._read_at


def _text(status: HTTPStatus, line: str) -> Answer:
    return Answer(status, _TEXT, f"{line}\n".encode())
