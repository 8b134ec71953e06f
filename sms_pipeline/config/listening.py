"""A small HTTP server on an address of its own, with bounds: how many connections, and how long."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sms_pipeline.config.address import Address
from sms_pipeline.config.clock import MACHINE_CLOCK

#: How often a server looks for connections that last too long, and whether it should stop.
_POLL_SECONDS = 0.1


class Answer(NamedTuple):
    """An HTTP response, for any server."""

    status: int
    content_type: str
    body: bytes


class BoundedServer(socketserver.ThreadingTCPServer):
    """Answers each connection in a thread, of which there are only so many."""

    # Otherwise the port could not be used for a minute after a process has ended.
    allow_reuse_address = True
    daemon_threads = True
    #: Of its thread.
    name: str
    #: How many connections there may be at the same time; further ones are closed at once.
    connections: int
    #: A connection is closed after so long, whether it has sent a request or not.
    seconds: float

    def __init__(self, address: Address, handler: type[QuietHandler]) -> None:
        """Listen there; port 0 is a free one.

        Raises:
            OSError: nothing can, because another program does, for example.
        """
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        # Those that come while others are sent away are not kept waiting.
        self.request_queue_size = 2 * self.connections
        #: When each open connection is closed.
        self._until: dict[socket.socket, float] = {}
        super().__init__((address.host, address.port), handler)
        #: Where it listens.
        self.address = Address(address.host, self.server_address[1])

    def start(self) -> None:
        """Answer from now on, in a thread."""
        threading.Thread(
            target=self.serve_forever, args=(_POLL_SECONDS,), name=self.name, daemon=True
        ).start()

    def stop(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """See `socketserver.BaseServer.process_request`."""
        if len(self._until) >= self.connections:
            self.shutdown_request(request)
            return
        self._until[request] = MACHINE_CLOCK.monotonic() + self.seconds
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """See `socketserver.BaseServer`: how each connection ends, answered or not."""
        self._until.pop(request, None)
        super().close_request(request)

    def service_actions(self) -> None:
        """See `socketserver.BaseServer`: called between connections, and while there are none."""
        now = MACHINE_CLOCK.monotonic()
        for request in [one for one, until in list(self._until.items()) if until < now]:
            # Wakes its thread, which closes it.
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error of ours."""


class QuietHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, and logs nothing."""

    def answer(self, path: str) -> Answer:
        """What is told at `path`."""
        raise NotImplementedError

    def is_for_us(self) -> bool:
        """Whether this request may be answered."""
        return True

    def do_GET(self) -> None:
        """See `BaseHTTPRequestHandler`."""
        if not self.is_for_us():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        answer = self.answer(urlsplit(self.path).path)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 - the base class looks for this name

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""
