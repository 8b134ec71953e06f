"""A RabbitMQ of our own, until Ctrl-C: `make broker`.

It takes the RabbitMQ that is installed, as a private node in the folder `.rabbitmq`: no root, and
nothing of the system's own service is touched. Where there is none, Docker runs one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.services.processes import GuardedProcess, free_port
from tests.services.rabbitmq import LOOPBACK, SETTINGS, RabbitMQNode
from tests.services.waiting import wait_until

#: In the current folder. Messages outlive Ctrl-C there, as they do at any broker.
FOLDER = Path(".rabbitmq")
USUAL_PORT = 5672
#: As in docker-compose.yml.
IMAGE = "rabbitmq:3.13"
#: An image may have to be loaded first.
DOCKER_SECONDS = 600.0
DOCKER_STOP_SECONDS = 30.0
_LONG_SECONDS = 3_600.0
LOCK = "lock"
RUNS_ALREADY = (
    "A RabbitMQ of this folder is running: `make broker` or `make demo` in another terminal. Use "
    "that one, or end it with Ctrl-C."
)
NOTHING_TO_START = (
    "There is no RabbitMQ here, and no Docker. On Debian or Ubuntu: sudo make services. Elsewhere "
    "install Docker, or use a RabbitMQ that runs somewhere: "
    "export CELERY_BROKER_URL=amqp://USER:PASSWORD@HOST"
)


class StartError(Exception):
    """Something that is needed does not start."""


def main() -> None:
    """Start it, say what to export, and wait for Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), broker() as url:
        print(how_to_use(url), flush=True)
        while True:
            time.sleep(_LONG_SECONDS)


def how_to_use(url: str) -> str:
    """What to type in other terminals."""
    return (
        "RabbitMQ is ready; Ctrl-C ends it. In other terminals:\n"
        "  source .venv/bin/activate\n"
        f"  export CELERY_BROKER_URL={url}\n"
        "  celery -A sms_pipeline worker --profile fast\n"
        "  sms-pipeline produce -n 10000\n"
        "  sms-pipeline monitor"
    )


@contextmanager
def broker() -> Iterator[str]:
    """A broker during the block; its URL.

    Raises:
        StartError: it does not start.
    """
    way = way_to_start(RabbitMQNode.available() is None, shutil.which("docker"))
    if way is None:
        raise StartError(NOTHING_TO_START)
    folder = FOLDER.absolute()
    folder.mkdir(exist_ok=True)
    with _alone(folder):
        port = usual_port()
        print("Starting RabbitMQ …", file=sys.stderr, flush=True)
        with _node(folder, port) if way == "node" else _container(folder, port) as url:
            yield url


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two nodes would write into the same data."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(RUNS_ALREADY) from None
        yield


def way_to_start(node: bool, docker: str | None) -> str | None:
    """What is installed comes first: it starts in seconds."""
    if node:
        return "node"
    return "docker" if docker else None


def usual_port(port: int = USUAL_PORT) -> int:
    """That port, or another one if somebody listens there."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return free_port()
    return port


@contextmanager
def _node(folder: Path, port: int) -> Iterator[str]:
    node = RabbitMQNode(folder)
    node.port = port
    try:
        node.start()
        yield node.url
    finally:
        node.stop()


def docker_command(port: int) -> list[str]:
    """What starts a container that is gone when it ends."""
    (setting, milliseconds), *_ = SETTINGS.items()
    return [
        *("docker", "run", "--rm", "-p", f"{LOOPBACK}:{port}:{USUAL_PORT}"),
        *("-e", f"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-rabbit {setting} {milliseconds}", IMAGE),
    ]


@contextmanager
def _container(folder: Path, port: int) -> Iterator[str]:
    log = folder / "docker.log"
    started = GuardedProcess(docker_command(port), cwd=folder, environment=_plain(), log=log)
    try:
        wait_until(lambda: _is_ready(started), DOCKER_SECONDS, "RabbitMQ in Docker is ready")
        yield f"amqp://guest:guest@{LOOPBACK}:{port}//"
    finally:
        started.end(signal.SIGTERM, DOCKER_STOP_SECONDS)


def _is_ready(started: GuardedProcess) -> bool:
    if not started.running:
        raise StartError(f"Docker could not start RabbitMQ:\n{started.log_tail()}")
    return "Server startup complete" in started.log.read_text(errors="replace")


def _plain() -> Mapping[str, str]:
    return dict(os.environ)


if __name__ == "__main__":
    try:
        main()
    except (StartError, AssertionError) as error:
        sys.exit(f"Error: {error}")
