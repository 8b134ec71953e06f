"""TLS to the broker: whose certificate is accepted, and what a URL can change."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from sms_pipeline.broker.tls import tls_options
from sms_pipeline.config.brokers import checked_urls

HOST = "127.0.0.1"
PATIENCE_SECONDS = 10.0
#: What a client of AMQP says first.
HEADER = b"AMQP\x00\x00\x09\x01"
CHECKED = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "b"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (True, CHECKED),
        ({"ssl_ca_certs": "/ca"}, {**CHECKED, "ca_certs": "/ca"}),
        ({"ssl_check_hostname": True}, CHECKED),
        ({"ssl_check_hostname": False}, {"cert_reqs": ssl.CERT_REQUIRED}),
        ({"ssl_cert_reqs": ssl.CERT_NONE}, {"cert_reqs": ssl.CERT_NONE}),
        ({"server_hostname": "other"}, {**CHECKED, "server_hostname": "other"}),
        ({"server_hostname": None}, CHECKED),
    ],
)
def test_name_is_checked_unless_the_url_says_otherwise(asked: Any, told: dict[str, Any]) -> None:
    assert tls_options(asked, "b") == told


class Server:
    """Speaks TLS, and notes the first bytes of each client that it could agree with."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(PATIENCE_SECONDS)
                with (
                    suppress(OSError),
                    self._context.wrap_socket(client, server_side=True) as agreed,
                ):
                    self.heard.append(agreed.recv(len(HEADER)))

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the host `localhost`, by an authority that is itself; the key is beside it."""
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(file.with_suffix(".key")), "-out", str(file)]
    subprocess.run(["openssl", "req", *options, *names, *files], check=True, capture_output=True)
    return file


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    server = Server(certificate, certificate.with_suffix(".key"))
    yield server
    server.close()


def agrees(server: Server, connection: Connection) -> bool:
    """Whether a client agrees with the server on TLS; then it finds that it is no broker."""
    server.heard.clear()
    with suppress(OSError):
        connection.transport.establish_connection()
    return HEADER in server.heard


def to(url: str) -> Connection:
    """A connection that is not established."""
    return Connection(checked_urls(url), connect_timeout=PATIENCE_SECONDS)


def test_certificate_of_another_host_is_refused(server: Server, certificate: Path) -> None:
    own, other = f"amqps://localhost:{server.port}//", f"amqps://{HOST}:{server.port}//"
    trusted = f"?ssl_ca_certs={certificate}"
    assert agrees(server, to(own + trusted))
    assert not agrees(server, to(other + trusted))
    assert agrees(server, to(other + trusted + "&ssl_check_hostname=false"))
    # And of an authority that nobody knows
    assert not agrees(server, to(own))
    assert agrees(server, to(other + "?ssl_cert_reqs=none"))


def test_each_host_of_a_list_has_its_own_name(server: Server, certificate: Path) -> None:
    # Given a list whose first host has another name than its certificate
    option = f"?ssl_ca_certs={certificate}"
    other, own = (f"amqps://{host}:{server.port}//{option}" for host in (HOST, "localhost"))
    connection = to(f"{other};{own}")
    assert not agrees(server, connection)
    # Then the next one is talked to by its own, from a copy, too
    copy = connection.clone()
    for one in (connection, copy):
        one.switch(own)
        assert agrees(server, one)
