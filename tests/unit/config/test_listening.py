"""A small server has bounds, and keeps to them whatever fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection

import pytest

from sms_pipeline.config.address import Address
from sms_pipeline.config.listening import Answer, BoundedServer, QuietHandler


class Hello(QuietHandler):
    def answer(self, path: str) -> Answer:
        return Answer(HTTPStatus.OK, "text/plain", path.encode())


class Small(BoundedServer):
    name = "small"
    connections = 2
    seconds = 20.0


@pytest.fixture
def server() -> Iterator[Small]:
    made = Small(Address("127.0.0.1", 0), Hello)
    made.start()
    yield made
    made.stop()


def ask(server: Small) -> bytes:
    connection = HTTPConnection("127.0.0.1", server.address.port, timeout=20)
    try:
        connection.request("GET", "/path")
        return connection.getresponse().read()
    finally:
        connection.close()


def test_connections_for_which_there_was_no_thread_do_not_count(
    server: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(server.connections):
            with pytest.raises(ConnectionError):
                ask(server)
    assert ask(server) == b"/path"
