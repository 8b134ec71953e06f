"""pytest-celery's `celery_setup` on our own processes instead of containers.

A test module asks for it with `pytest_plugins = ["tests.services.cluster"]` and then has
`celery_setup` with one broker (the session's RabbitMQ node, a virtual host of its own) and one
real worker per name in the fixture `cluster_profiles`. `kill`, `restart`, `logs`,
`wait_for_log` and the other methods of pytest-celery's nodes act on these processes. The
fixtures named `cluster_...` are there to be overridden in the test module.

It works with pytest-celery's plugin loaded or switched off (`-p no:celery`). Importing it imports
Celery and makes pytest-celery's example app Celery's current app, as the plugin does: a test that
cares calls `set_current` on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from signal import SIGKILL, Signals
from typing import Any
from urllib.parse import unquote, urlsplit

import celery
import pytest
from pytest_celery import (
    CeleryBrokerCluster,
    CeleryTestBroker,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
)

# Fixtures: a plugin offers whatever stands in its namespace.
from pytest_celery.fixtures.backend import celery_backend_cluster_config
from pytest_celery.fixtures.broker import celery_broker_cluster_config
from pytest_celery.fixtures.setup import (
    celery_setup,
    celery_setup_app,
    celery_setup_config,
    celery_setup_name,
)
from pytest_celery.fixtures.worker import celery_worker_cluster_config

from tests.services.rabbitmq import RabbitMQNode
from tests.services.worker import WorkerProcess

__all__ = [
    "BrokerContainer",
    "LocalSetup",
    "WorkerContainer",
    "celery_backend_cluster",
    "celery_backend_cluster_config",
    "celery_broker_cluster",
    "celery_broker_cluster_config",
    "celery_setup",
    "celery_setup_app",
    "celery_setup_cls",
    "celery_setup_config",
    "celery_setup_name",
    "celery_worker_cluster",
    "celery_worker_cluster_config",
    "cluster_app",
    "cluster_arguments",
    "cluster_environment",
    "cluster_profiles",
]

#: What the nodes compare a container's status with.
RUNNING = "running"
EXITED = "exited"


class BrokerContainer:
    """What a broker node expects of a container, for one virtual host of a RabbitMQ node."""

    def __init__(self, node: RabbitMQNode, url: str) -> None:
        """Stand for a node that was started elsewhere, and that is stopped elsewhere."""
        self.node = node
        self.url = url
        self.name = "rabbitmq"
        self.id = self.name

    @property
    def celeryconfig(self) -> dict[str, Any]:
        """A fresh dict each time: pytest-celery writes into it."""
        return {
            "url": self.url,
            "host_url": self.url,
            "hostname": "127.0.0.1",
            "port": self.node.port,
            "vhost": unquote(urlsplit(self.url).path[1:]),
        }

    @property
    def status(self) -> str:
        """Docker's word for it."""
        return RUNNING if self.node.running else EXITED

    def ready(self) -> bool:
        """Wait until the broker answers; AssertionError if it does not."""
        self.node.wait_ready()
        return True

    def logs(self) -> str:
        """The node's own log, over all starts and virtual hosts."""
        files = sorted((self.node.folder / "log").glob("*.log"))
        return "".join(file.read_text(errors="replace") for file in files)

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send it a signal; SIGKILL returns when it is gone, others at once."""
        if _number(signal) == SIGKILL:
            self.node.kill()
        else:
            self.node.signal(_number(signal))

    def restart(self, timeout: float | None = None) -> None:
        """Start again, after shutting down if it runs; `timeout` is the node's own."""
        self.node.restart()

    def reload(self) -> None:
        """Nothing is cached."""

    def teardown(self) -> None:
        """Leave the node in order for the next test; it belongs to the session."""
        self.node.heal()


class WorkerContainer:
    """What a worker node expects of a container, for one worker process."""

    def __init__(self, process: WorkerProcess) -> None:
        """Stand for a worker that the cluster's fixture has started."""
        self.process = process
        self.name = process.name
        self.id = process.name

    @property
    def celeryconfig(self) -> dict[str, Any]:
        """Workers add nothing to the app's configuration."""
        return {}

    @property
    def status(self) -> str:
        """Docker's word for it."""
        return RUNNING if self.process.running else EXITED

    def ready(self) -> bool:
        """Wait for the latest start to be ready; AssertionError if it is not."""
        return self.process.ready()

    def logs(self) -> str:
        """All it has logged, over all starts."""
        return self.process.logs()

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send it a signal; SIGKILL returns when it is gone, others at once."""
        if _number(signal) == SIGKILL:
            self.process.kill()
        else:
            self.process.signal(_number(signal))

    def restart(self, timeout: float) -> None:
        """Start again and wait until ready, after ending it (warm, then by force) if it runs."""
        self.process.restart(timeout)

    def reload(self) -> None:
        """Nothing is cached."""

    def teardown(self) -> None:
        """Kill what still runs."""
        self.process.kill()

    def worker_name(self) -> str:
        """The profile: what tells two workers of a cluster apart."""
        return self.process.profile

    def worker_queue(self) -> str:
        """The queue of the profile."""
        return f"sms.{self.process.profile}"

    @staticmethod
    def log_level() -> str:
        """The level at which Celery announces that it is ready."""
        return "INFO"

    @staticmethod
    def version() -> str:
        """Celery's: the worker runs from the same environment as the tests."""
        return str(celery.__version__)


class LocalSetup(CeleryTestSetup):  # type: ignore[misc]  # pytest-celery ships no types.
    """A setup whose app does not become Celery's current one, which belongs to the tests."""

    @classmethod
    def create_setup_app(
        cls, celery_setup_config: dict[str, Any], celery_setup_app_name: str
    ) -> celery.Celery:
        """An app for sending tasks by name and for remote control; it knows the broker only."""
        app = celery.Celery(celery_setup_app_name, set_as_current=False)
        app.config_from_object(celery_setup_config)
        cls.update_app_config(app)
        return app


@pytest.fixture
def cluster_profiles() -> Sequence[str]:
    """One worker is started for each."""
    return ("fast",)


@pytest.fixture
def cluster_app() -> str:
    """What the workers get with `-A`."""
    return "sms_pipeline"


@pytest.fixture
def cluster_arguments() -> Sequence[str]:
    """Further options of every worker."""
    return ()


@pytest.fixture
def cluster_environment() -> Mapping[str, str]:
    """Further environment of every worker, beside the URLs of broker and database."""
    return {}


@pytest.fixture
def celery_setup_cls() -> type[CeleryTestSetup]:
    """Ours."""
    return LocalSetup


@pytest.fixture
def celery_broker_cluster(rabbitmq: RabbitMQNode, broker_url: str) -> Iterator[CeleryBrokerCluster]:
    """The session's node, a virtual host for this test."""
    container = BrokerContainer(rabbitmq, broker_url)
    yield CeleryBrokerCluster(CeleryTestBroker(container))
    container.teardown()


@pytest.fixture
def celery_backend_cluster() -> None:
    """No result backend: completion is read from the ledger."""


@pytest.fixture
def celery_worker_cluster(
    celery_broker_cluster: CeleryBrokerCluster,
    start_worker: Callable[..., WorkerProcess],
    cluster_profiles: Sequence[str],
    cluster_app: str,
    cluster_arguments: Sequence[str],
    cluster_environment: Mapping[str, str],
) -> CeleryWorkerCluster:
    """A worker per profile, all ready. They start side by side and are killed after the test."""
    workers = [
        start_worker(
            profile, cluster_environment, arguments=cluster_arguments, app=cluster_app, wait=False
        )
        for profile in cluster_profiles
    ]
    for worker in workers:
        worker.ready()
    nodes = [CeleryTestWorker(WorkerContainer(worker), app=None) for worker in workers]
    return CeleryWorkerCluster(*nodes)


def _number(signal: str | int) -> int:
    return Signals[signal] if isinstance(signal, str) else signal
