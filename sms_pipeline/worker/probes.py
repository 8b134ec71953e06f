"""Answers probes of a worker: at /live and /ready, or with a file that stays fresh."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from celery import signals

from sms_pipeline.config.address import Address, parse_address
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.listening import Answer, BoundedServer, QuietHandler
from sms_pipeline.config.reading import shown
from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.worker.health import Health, Vitals, examine
from sms_pipeline.worker.pipeline import installed
from sms_pipeline.worker.signs import Part, SignsOfLife

log = logging.getLogger(__name__)

OPTION = "--health"
#: Whether the worker's end would help, and whether it takes batches.
LIVE_PATH, READY_PATH = "/live", "/ready"
#: How often the file is written while the worker lives.
WRITE_SECONDS = 1.0
#: A client is sent away after this, whether it has sent a request or not.
REQUEST_SECONDS = 5.0
#: Clients that are answered at the same time; more are sent away.
MOST_CLIENTS = 16
_JSON = "application/json"

Examination = Callable[[], Health]


class Checkup:
    """Looks at the worker of this process, without asking broker or ledger anything."""

    def __init__(self, clock: Clock = MACHINE_CLOCK) -> None:
        self._clock = clock
        self._consumer: Any = None

    def meet(self, sender: Any, **_: Any) -> None:
        """Get to know Celery's consumer: the signal `worker_ready`."""
        self._consumer = sender

    def __call__(self) -> Health:
        """The health of the worker now."""
        parts, host = installed(), socket.gethostname()
        if parts is None:
            return examine(host, SignsOfLife(), self._clock.monotonic(), None)
        worker, now = parts.worker, self._clock.monotonic()
        vitals = Vitals(
            worker=worker.id,
            ledger_silence=worker.ledger_silence(),
            commit_age=worker.commit_age(),
            # A main loop that connects, or has not begun, gives no signs.
            is_consuming=self._is_connected() and worker.signs.silence(Part.LOOP, now) is not None,
            is_stopping=worker.stopping.is_set(),
        )
        return examine(host, worker.signs, now, vitals)

    def _is_connected(self) -> bool:
        connection = getattr(self._consumer, "connection", None)
        return bool(connection and connection.connected and self._consumer.task_consumer)


def answer_probes(where: str) -> str:
    """Tell the health of this process's worker from now on until it ends; return where.

    Args:
        where: `PORT` (on this machine only), `HOST:PORT`, or a file.

    Raises:
        ConfigError: nothing can listen there, or the file can't be written.
    """
    checkup = Checkup()
    place = place_of(where)
    answering = (
        HealthServer(place, checkup) if isinstance(place, Address) else HealthFile(place, checkup)
    )
    signals.worker_ready.connect(checkup.meet, weak=False)
    signals.worker_shutdown.connect(lambda **_: answering.stop(), weak=False)
    answering.start()
    return answering.place


def place_of(where: str) -> Address | Path:
    """An address, or else a file. A file whose name looks like an address needs a folder.

    Raises:
        ConfigError: it is neither.
    """
    _, colon, port = where.rpartition(":")
    if "/" not in where and (where.isdecimal() or (colon and port.isdecimal())):
        return parse_address(where, OPTION)
    if not where or where.endswith("/") or "\0" in where:
        raise ConfigError(f"option {OPTION}: must be PORT, HOST:PORT or FILE, got {where!r}")
    return Path(where)


class HealthServer(BoundedServer):
    """Answers at /live and /ready with 200 or 503, and with JSON that says why."""

    name = "health"
    connections = MOST_CLIENTS
    seconds = REQUEST_SECONDS

    def __init__(self, address: Address, examination: Examination) -> None:
        self.examination = examination
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            raise ConfigError(
                f"option {OPTION}: can't listen on {address}: {error.strerror or error}"
            ) from error
        #: Where it can be asked.
        self.place = f"http://{self.address}{LIVE_PATH}"


class _Handler(QuietHandler):
    server: HealthServer
    timeout = REQUEST_SECONDS

    def answer(self, path: str) -> Answer:
        """See `QuietHandler.answer`."""
        status, told = _answer(path, self.server.examination)
        return Answer(status, _JSON, _line(told).encode())


def _answer(path: str, examination: Examination) -> tuple[HTTPStatus, dict[str, Any]]:
    if path not in (LIVE_PATH, READY_PATH):
        return HTTPStatus.NOT_FOUND, {"paths": [LIVE_PATH, READY_PATH]}
    health = examination()
    ok = health.live if path == LIVE_PATH else health.ready
    return (HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE), health.told


def _line(told: dict[str, Any]) -> str:
    return f"{json.dumps(told)}\n"


class HealthFile(threading.Thread):
    """Writes a file every second while the worker is alive; it is gone once the worker has ended.

    So a file that is old, or missing, stands for a worker that is not alive. What is in it says
    whether the worker is ready.
    """

    def __init__(self, file: Path, examination: Examination) -> None:
        super().__init__(name="health", daemon=True)
        #: Where to look.
        self.place = shown(file)
        self._file = file
        # Whoever reads must never find half a file.
        self._next = file.with_name(f".{file.name}.{os.getpid()}")
        self._examination = examination
        self._stopping = threading.Event()
        self._failed = False
        if file.is_symlink() or (file.exists() and not file.is_file()):
            # It would be replaced: /dev/null, too.
            raise ConfigError(f"option {OPTION}: {shown(file)} is there, and is not a file")
        try:
            self._write()
        except OSError as error:
            raise ConfigError(
                f"option {OPTION}: can't write {shown(file)}: {error.strerror or error}"
            ) from error

    def run(self) -> None:
        """Thread body."""
        while not self._stopping.wait(WRITE_SECONDS):
            try:
                self._write()
                self._failed = False
            except OSError as error:
                self._tell_once(error)

    def stop(self) -> None:
        """Write no more, and take the file away."""
        self._stopping.set()
        if self.is_alive():
            self.join(WRITE_SECONDS)
        with suppress(OSError):
            self._file.unlink()

    def _write(self) -> None:
        health = self._examination()
        if not health.live:
            return
        try:
            self._next.write_text(_line(health.told))
            self._next.replace(self._file)
        except OSError:
            self._next.unlink(missing_ok=True)
            raise

    def _tell_once(self, error: OSError) -> None:
        if not self._failed:
            log.error("health: can't write %s: %s", self.place, error.strerror or error)
        self._failed = True
