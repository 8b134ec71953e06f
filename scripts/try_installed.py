"""Tries an installed sms-pipeline over RabbitMQ: `python -m scripts.try_installed BIN`.

A worker, a producer and the dashboard, each from the folder BIN of an environment that has nothing
of this folder. It takes the dashboard's extra, and a RabbitMQ that is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from scripts.demo import environment
from tests.services.processes import GuardedProcess
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until

MESSAGES = 200
PATIENCE_SECONDS = 60.0


def main() -> None:
    """Try it, in a folder that is gone afterwards."""
    folder = Path(sys.argv[1])
    if reason := RabbitMQNode.available():
        print(f"Worker and dashboard are not tried: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="sms-installed-") as name, ExitStack() as stack:
        node = RabbitMQNode(Path(name))
        stack.callback(node.stop)
        node.start()
        installed = Installed(folder, Path(name), node.url, stack)
        worker = ("celery", "-A", "sms_pipeline", "worker", "--loglevel", "INFO")
        installed.start("worker", *worker, "--profile", "fast")
        page = installed.start("dashboard", "sms-pipeline", "dashboard", "--port", "0")
        installed.run("produce", "-n", str(MESSAGES))
        wait_until(installed.is_done, PATIENCE_SECONDS, "the run is done")
        print(installed.run("audit").splitlines()[-1])
        address = page.log.read_text().partition("http://")[2].split()[0]
        with urllib.request.urlopen(f"http://{address}") as answer:
            if b"<html" not in answer.read():
                sys.exit(f"The dashboard answers with no page: {page.log_tail()}")
        print("The dashboard answers")


class Installed:
    """Its commands, in a folder of their own."""

    def __init__(self, folder: Path, place: Path, broker_url: str, stack: ExitStack) -> None:
        self._folder, self._place, self._stack = folder, place, stack
        ledger = {"SMS_DATABASE_URL": f"sqlite:///{place / 'ledger.db'}", "PYTHONUNBUFFERED": "1"}
        self._environment = environment(broker_url) | ledger

    def start(self, name: str, program: str, *arguments: str) -> GuardedProcess:
        """Start a program that goes on, and wait until it says that it is ready."""
        log = self._place / f"{name}.log"
        log.write_text("")
        command = [self._folder / program, *arguments]
        process = GuardedProcess(command, cwd=self._place, environment=self._environment, log=log)
        self._stack.callback(process.kill)
        said = (" ready.", "http://")
        wait_until(lambda: any(word in log.read_text() for word in said), PATIENCE_SECONDS, name)
        return process

    def run(self, *arguments: str) -> str:
        """What `sms-pipeline` prints."""
        return subprocess.run(
            [self._folder / "sms-pipeline", *arguments],
            cwd=self._place,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def is_done(self) -> bool:
        """Whether the run has ended."""
        (run,) = (json.loads(line) for line in self.run("runs", "--json").splitlines())
        return bool(run["done"])


if __name__ == "__main__":
    main()
