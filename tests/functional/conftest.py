"""A terminal without a broker, and one that shares broker and ledger with the test's workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from sms_pipeline.broker import topology
from tests.conftest import require
from tests.functional.terminal import Terminal
from tests.services.rabbitmq import RabbitMQNode


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """In an empty folder, with nothing set."""
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def shared_terminal(tmp_path: Path, broker_url: str, database_url: str) -> Iterator[Terminal]:
    """In an empty folder, with the broker and the ledger of this test's workers."""
    opened = Terminal(tmp_path, {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": database_url})
    yield opened
    opened.close()


@pytest.fixture
def own_node(tmp_path: Path) -> Iterator[RabbitMQNode]:
    """A broker of the test's own, not started."""
    require(RabbitMQNode.available())
    folder = tmp_path / "node"
    folder.mkdir()
    node = RabbitMQNode(folder)
    yield node
    node.stop()


@pytest.fixture
def node_of_names(own_node: RabbitMQNode) -> RabbitMQNode:
    """One that was killed just after a queue was made: it is there in name only.

    One queue alone: while a second is made, the first gets safe.
    """
    own_node.start()
    with Connection(own_node.url) as connection:
        topology.profile_queue("fast", topology.QUORUM)(connection.channel()).declare()
        own_node.kill(settle=False)
    own_node.start()
    return own_node
