"""Serves what an exporter answers, on an address of its own."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from sms_pipeline.config.address import Address
from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.errors import ConfigError
from sms_pipeline.views.hosts import is_known_host, is_short_name
from sms_pipeline.views.metrics.exporter import Exporter

#: A connection is closed after so long, whether it has sent a request or not.
REQUEST_SECONDS = 10.0
#: How often the server looks for such connections, and whether it should stop.
POLL_SECONDS = 0.1
#: Connections at the same time, each with a thread; further ones are closed at once.
MAX_CONNECTIONS = 32


class _Server(socketserver.ThreadingTCPServer):
    # Otherwise the port could not be used for a minute after a monitor has ended.
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: Address, exporter: Exporter, names: Collection[str]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.exporter = exporter
        self.names = {address.host, *names}
        #: When each open connection is closed.
        self._until: dict[socket.socket, float] = {}
        super().__init__((address.host, address.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """See `socketserver.BaseServer.process_request`."""
        if len(self._until) >= MAX_CONNECTIONS:
            self.shutdown_request(request)
            return
        self._until[request] = MACHINE_CLOCK.monotonic() + REQUEST_SECONDS
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See `socketserver.ThreadingMixIn`."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._until[request]

    def service_actions(self) -> None:
        """See `socketserver.BaseServer`: called between connections, and while there are none."""
        now = MACHINE_CLOCK.monotonic()
        for request in [one for one, until in list(self._until.items()) if until < now]:
            # Wakes its thread, which closes it.
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """See `BaseHTTPRequestHandler`."""
        if not self._is_for_us():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        answer = self.server.exporter.answer(urlsplit(self.path).path)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 - the base class looks for this name

    def _is_for_us(self) -> bool:
        """Whether this may be answered; a request without `Host` comes from no browser."""
        host = self.headers.get("Host")
        return host is None or is_known_host(host, self.server.names) or is_short_name(host)

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""


@contextmanager
def serving(exporter: Exporter, address: Address, names: Collection[str] = ()) -> Iterator[Address]:
    """Answer on `address` (port 0: a free one) while the block runs; yields where that is.

    Args:
        exporter: what answers.
        address: where to listen.
        names: names of this machine, besides addresses and names without a domain.

    Raises:
        ConfigError: nothing can listen there, because another program does, for example.
    """
    try:
        server = _Server(address, exporter, names)
    except OSError as error:
        raise ConfigError(f"can't listen on {address}: {error.strerror or error}") from error
    exporter.start()
    threading.Thread(
        target=server.serve_forever, args=(POLL_SECONDS,), name="metrics-server", daemon=True
    ).start()
    try:
        yield Address(address.host, server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        exporter.stop()
