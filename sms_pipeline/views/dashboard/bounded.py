"""An HTTP server that no number of silent clients can hold up."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.web import Application

#: Connections at the same time, in all and from one address; further ones are closed at once.
MAX_CONNECTIONS, MAX_OF_ONE_ADDRESS = 500, 100
#: A connection that sends no whole request in this time is closed.
IDLE_SECONDS = 20.0
#: So must the body of a request, once it has begun.
BODY_SECONDS = 10.0
#: Largest body of a request: all it can hold is a configuration, or a password and a token.
MAX_BODY_BYTES = 256 * 1024


class BoundedServer(HTTPServer):
    """Counts the connections of each address."""

    def initialize(self, application: Application) -> None:  # type: ignore[override]
        """See `HTTPServer.initialize`."""
        super().initialize(
            application,
            max_body_size=MAX_BODY_BYTES,
            idle_connection_timeout=IDLE_SECONDS,
            body_timeout=BODY_SECONDS,
        )
        self._open: Counter[str] = Counter()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """See `HTTPServer.handle_stream`."""
        if (
            self._open.total() >= MAX_CONNECTIONS
            or self._open[str(address[0])] >= MAX_OF_ONE_ADDRESS
        ):
            stream.close()
            return
        self._open[str(address[0])] += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: Any) -> None:
        """See `HTTPServer.on_close`."""
        super().on_close(server_conn)
        self._open -= Counter({str(server_conn.context.address[0]): 1})
