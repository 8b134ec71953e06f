"""Serves what an exporter answers, on an address of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from sms_pipeline.config.address import Address
from sms_pipeline.config.listening import Answer, BoundedServer, QuietHandler
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.views.hosts import is_known_host, is_short_name
from sms_pipeline.views.metrics.exporter import Exporter

_REQUEST_SECONDS = 10.0


class _Server(BoundedServer):
    name = "metrics-server"
    connections = 32
    seconds = _REQUEST_SECONDS

    def __init__(self, address: Address, exporter: Exporter, names: Collection[str]) -> None:
        self.exporter = exporter
        self.names = {address.host, *names}
        super().__init__(address, _Handler)


class _Handler(QuietHandler):
    server: _Server
    timeout = _REQUEST_SECONDS

    def answer(self, path: str) -> Answer:
        """See `QuietHandler.answer`."""
        return self.server.exporter.answer(path)

    def is_for_us(self) -> bool:
        """Whether this may be answered; a request without `Host` comes from no browser."""
        host = self.headers.get("Host")
        return host is None or is_known_host(host, self.server.names) or is_short_name(host)


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
    server.start()
    try:
        yield server.address
    finally:
        server.stop()
        exporter.stop()
