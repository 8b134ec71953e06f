"""Fixtures for all tests. Nothing is started, and Celery not even imported, until it is asked for.

A service that is not installed skips the tests that need it, with the reason; with the
environment variable REQUIRE_SERVICES=1 (set where all must run) it fails them instead.
"""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sms_pipeline.views.dashboard import PACKAGES
from tests.services import chromium
from tests.services import wheel as wheels
from tests.services.nursery import Nursery
from tests.services.pgbouncer import PgBouncer
from tests.services.pgbouncer import running as running_pgbouncer
from tests.services.postgres import PostgresNode
from tests.services.postgres import running as running_postgres
from tests.services.rabbitmq import RabbitMQNode
from tests.services.worker import WorkerProcess


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """One RabbitMQ node for the session; tests use virtual hosts of their own (`broker_url`)."""
    require(RabbitMQNode.available())
    node = RabbitMQNode(tmp_path_factory.mktemp("rabbitmq"))
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.fixture
def broker_url(rabbitmq: RabbitMQNode) -> Iterator[str]:
    """A fresh virtual host on the session's node, deleted afterwards with its queues.

    The node is healed before and after: the test may kill, pause or starve it and leave it so.
    """
    rabbitmq.heal()
    vhost = _unique("test")
    yield rabbitmq.new_vhost(vhost)
    rabbitmq.heal()
    rabbitmq.delete_vhost(vhost)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresNode]:
    """One PostgreSQL server for the session; tests use databases of their own."""
    require(PostgresNode.available())
    with running_postgres() as node:
        yield node


@pytest.fixture
def postgres_url(postgres: PostgresNode) -> Iterator[str]:
    """An empty PostgreSQL database, dropped afterwards; the server is healed before and after."""
    postgres.start()
    name = _unique("test")
    yield postgres.new_database(name)
    postgres.start()
    postgres.drop_database(name)


@pytest.fixture
def pgbouncer(postgres: PostgresNode, request: pytest.FixtureRequest) -> Iterator[PgBouncer]:
    """A pooler in front of the session's PostgreSQL, in transaction pooling.

    More of its configuration by parametrizing it indirectly.
    """
    require(PgBouncer.available())
    with running_pgbouncer(postgres, further=getattr(request, "param", "")) as pooler:
        yield pooler


@pytest.fixture(scope="session")
def dashboard_packages() -> None:
    """The optional part that the dashboard needs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    require(f"not installed: {', '.join(missing)}; make test installs it" if missing else None)


@pytest.fixture(scope="module")
def chromium_browser(dashboard_packages: None) -> Iterator[Any]:
    """One browser for a module's tests, which open pages of their own.

    Not for the session: while it is open, no other test can run an event loop.
    """
    require(chromium.unavailable())
    with chromium.running() as browser:
        yield browser


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel."""
    if reason := wheels.unavailable():
        pytest.skip(reason)
    return wheels.build(tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where processes can be forked that would take long to load their libraries."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger that does not exist yet: an SQLite file, or an empty PostgreSQL database.

    SQLite unless the test says otherwise, for both:
    `@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)`.
    """
    kind = getattr(request, "param", "sqlite")
    if kind == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    assert kind == "sqlite", f"no such kind of database: {kind}"
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def start_worker(
    broker_url: str, database_url: str, tmp_path: Path
) -> Iterator[Callable[..., WorkerProcess]]:
    """Start real workers on this test's broker and ledger; they are killed after the test.

    `start_worker(profile, environment=None, wait=True, **options of WorkerProcess)` returns a
    `WorkerProcess`, ready unless `wait` is false.
    """
    workers: list[WorkerProcess] = []
    urls = {"CELERY_BROKER_URL": broker_url, "SMS_DATABASE_URL": database_url}

    def start(
        profile: str,
        environment: Mapping[str, str] | None = None,
        *,
        wait: bool = True,
        **options: Any,
    ) -> WorkerProcess:
        worker = WorkerProcess(profile, tmp_path, urls | dict(environment or {}), **options)
        workers.append(worker)
        worker.start()
        if wait:
            worker.ready()
        return worker

    yield start
    for worker in workers:
        worker.kill()


def require(reason: str | None) -> None:
    """Skip the test where `reason` says what is missing; fail it where all tests must run."""
    if reason is None:
        return
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _unique(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:12]}"
