"""A broker elsewhere and a ledger in a file here don't go together."""

from __future__ import annotations

import socket

import pytest

from sms_pipeline.config.places import doubt
from sms_pipeline.config.settings import Settings

FILE = "sqlite:///sms_pipeline.db"


@pytest.mark.parametrize(
    "broker_url",
    [
        "memory://localhost",
        "amqp://",
        "amqp://guest:secret@localhost:5672//",
        "amqp://127.0.0.1",
        "amqp://127.1.2.3/vhost",
        "amqp://[::1]:5672//",
        f"amqp://{socket.gethostname()}",
        "amqp://localhost;amqp://127.0.0.1:5673",
    ],
)
def test_broker_on_this_host_goes_with_a_file(broker_url: str) -> None:
    assert doubt(Settings(broker_url=broker_url, database_url=FILE)) is None


@pytest.mark.parametrize(
    ("broker_url", "host"),
    [
        ("amqp://user:secret@Broker.example:5672//", "broker.example"),
        ("amqp://10.0.0.7", "10.0.0.7"),
        ("amqps://localhost; amqp://user:secret@b", "b"),
    ],
)
def test_broker_elsewhere_does_not(broker_url: str, host: str) -> None:
    told = doubt(Settings(broker_url=broker_url, database_url=FILE))
    assert told is not None
    assert f"({host})" in told
    assert "SMS_DATABASE_URL=postgresql://" in told
    assert "secret" not in told


def test_database_server_goes_with_any_broker() -> None:
    settings = Settings(broker_url="amqp://elsewhere", database_url="postgresql://elsewhere/db")
    assert doubt(settings) is None
