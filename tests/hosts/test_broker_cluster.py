"""A cluster of three brokers that loses the leader of a queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.functional.terminal import Terminal
from tests.hosts.stage import HOST_RATE, Stage
from tests.services.rabbitmq import DEFAULT_VHOST, RabbitMQNode

NAMES = ("sms_one@localhost", "sms_two@localhost", "sms_three@localhost")
#: The longest time without a settlement.
GAP_SECONDS = 5.0
WATCHED_SECONDS = 20.0


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RabbitMQNode]]:
    """Three nodes that run."""
    require(RabbitMQNode.available())
    nodes: list[RabbitMQNode] = []
    try:
        for name in NAMES:
            folder = tmp_path_factory.mktemp("node")
            nodes.append(RabbitMQNode(folder, name=name, first=nodes[0] if nodes else None))
            nodes[-1].start()
        yield nodes
    finally:
        for node in reversed(nodes):
            node.stop()


@pytest.mark.hosts
@pytest.mark.timeout(300)
def test_the_leader_of_the_queue_is_killed(
    cluster: list[RabbitMQNode], tmp_path: Path, postgres_url: str
) -> None:
    total = int(HOST_RATE * 60)
    urls = ";".join(node.url_of(DEFAULT_VHOST) for node in cluster)
    stage = Stage(Terminal(tmp_path, {"CELERY_BROKER_URL": urls, "SMS_DATABASE_URL": postgres_url}))
    try:
        stage.configure(total)
        stage.worker_on(None, None)
        stage.produce()
        stage.await_finished(int(HOST_RATE * 6))
        # When the node that leads the queue is killed
        killed = leader_among(cluster)
        killed.kill()
        # Then settling stops for a moment at most
        assert stage.longest_gap(WATCHED_SECONDS) <= GAP_SECONDS
        # And what RabbitMQ 3.10 holds back while a node is away comes when it is there again
        killed.restart()
        stage.await_finished(total)
        stage.assert_proven(total)
    finally:
        stage.close()


def leader_among(cluster: list[RabbitMQNode]) -> RabbitMQNode:
    """The node that leads the profile's queue."""
    listed = cluster[0].ctl("list_queues", "name", "leader")
    leaders = dict(line.split() for line in listed.splitlines() if line.startswith("sms.carrier"))
    return next(node for node in cluster if node.name == leaders["sms.carrier"])
