"""Networks with broker and database, and a stage on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import require
from tests.functional.terminal import Terminal
from tests.hosts import network
from tests.hosts.network import Network
from tests.hosts.stage import Stage
from tests.services import postgres
from tests.services.postgres import PostgresNode
from tests.services.rabbitmq import RabbitMQNode


class Site(NamedTuple):
    """Hosts can be added to it."""

    network: Network
    broker: RabbitMQNode
    database: PostgresNode


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two networks, with a broker on one and a database on the other."""
    if reason := network.unavailable():
        pytest.skip(reason)
    require(RabbitMQNode.available() or PostgresNode.available())
    with Network() as made, postgres.running(address=made.database_address) as database:
        broker = RabbitMQNode(tmp_path_factory.mktemp("rabbitmq"), address=made.broker_address)
        try:
            broker.start()
            yield Site(made, broker, database)
        finally:
            broker.stop()


@pytest.fixture
def stage(site: Site, tmp_path: Path) -> Iterator[Stage]:
    """On a virtual host and a database of the site's."""
    name = f"test{abs(hash(tmp_path))}"
    environment = {
        "CELERY_BROKER_URL": site.broker.new_vhost(name),
        "SMS_DATABASE_URL": site.database.new_database(name),
    }
    opened = Stage(Terminal(tmp_path, environment))
    yield opened
    opened.close()
    site.broker.delete_vhost(name)
