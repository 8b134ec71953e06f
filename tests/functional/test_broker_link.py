"""Connections to a real broker bear a link that is down for a few seconds."""

from __future__ import annotations

import runpy
import socket
from pathlib import Path

import pytest
from kombu import Connection

import sms_pipeline
from sms_pipeline.broker.publisher import Publisher

#: py-amqp's own limit is 1,000.
BORNE_MS = 10_000
CONFIGURATION = Path(sms_pipeline.__file__).with_name("celeryconfig.py")


def limit_of(connection: Connection) -> int:
    """How long the kernel waits until what was sent is acknowledged, ms."""
    sock: socket.socket = connection.connection.transport.sock
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_publisher_does_not_lose_its_connection_by_a_blip(broker_url: str) -> None:
    with Publisher(broker_url, "quorum").producer() as producer:
        connection = producer.__connection__
        connection.ensure_connection()
        assert limit_of(connection) == BORNE_MS
        connection.release()


def test_worker_does_not_return_its_batches_for_a_blip(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", broker_url)
    options = runpy.run_path(str(CONFIGURATION))["broker_transport_options"]
    with Connection(broker_url, transport_options=options) as connection:
        connection.connect()
        assert limit_of(connection) == BORNE_MS
