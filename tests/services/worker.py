"""A real Celery worker in a process of its own."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.services.nursery import Nursery
from tests.services.processes import GuardedProcess
from tests.services.waiting import wait_until

#: Celery's own announcement, "celery@host ready.", logged at level INFO.
READY_LOG = " ready."

READY_SECONDS = 60.0
STOP_SECONDS = 30.0

#: The settings of whoever runs the tests must not reach a worker under test.
FOREIGN_VARIABLES = ("CELERY_", "SMS_")

_numbers = itertools.count(1)


class WorkerProcess:
    """`python -m celery -A sms_pipeline worker --profile NAME`, with its log in a file."""

    def __init__(
        self,
        profile: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        arguments: Sequence[str] = (),
        app: str = "sms_pipeline",
        cwd: Path | None = None,
        nursery: Nursery | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Prepare it; `start` starts it.

        Args:
            profile: The sender profile.
            folder: For the log, which all restarts share.
            environment: Added to ours, from which Celery's and our own settings are taken out.
            arguments: Further options of the worker, after the profile.
            app: What `-A` gets.
            cwd: The current folder; `folder` if not given.
            nursery: Where to fork it.
            prefix: What to put before the command, to run it on another host.
        """
        self.profile = profile
        self.name = f"worker-{profile}-{next(_numbers)}"
        self.log = folder / f"{self.name}.log"
        self._cwd = cwd or folder
        self._nursery = nursery
        self._environment = dict(environment or {})
        self._command = [*prefix, sys.executable, "-m", "celery", "-A", app, "worker"]
        self._command += ["--profile", profile, "--loglevel", "INFO", *arguments]
        self._process: GuardedProcess | None = None
        self._log_start = 0

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        try:
            self.start()
            self.ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill what still runs."""
        self.kill()

    @property
    def pid(self) -> int:
        """The process id of the latest start."""
        return self._started.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.running

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        return self._started.exit_code

    def start(self) -> None:
        """Start it, and do not wait."""
        assert not self.running, f"{self.name} runs already"
        self._log_start = len(self.logs())
        self._process = GuardedProcess(
            self._command,
            cwd=self._cwd,
            environment=_own_environment() | {"PYTHONUNBUFFERED": "1"} | self._environment,
            log=self.log,
            nursery=self._nursery,
        )

    def ready(self, timeout: float = READY_SECONDS) -> bool:
        """Wait until this start, not an earlier one, has announced that it is ready.

        Raises:
            AssertionError: It ended instead, or the time is up; the message has its log.
        """
        wait_until(self._is_ready, timeout, f"{self.name} is ready")
        return True

    def kill(self) -> None:
        """SIGKILL it and its children, and return when it is gone. Harmless if it is."""
        if self._process is not None:
            self._process.kill()

    def term(self) -> None:
        """SIGTERM it (a warm shutdown), and do not wait."""
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send a signal to the worker's main process."""
        self._started.signal(number)

    def pause(self) -> None:
        """Freeze it: its deliveries stay unacknowledged, its heartbeats stop."""
        self._started.pause()

    def resume(self) -> None:
        """Undo a pause; harmless without one."""
        self._started.resume()

    def wait(self, timeout: float = STOP_SECONDS) -> int:
        """Return the exit code once it has ended; AssertionError if it does not in time."""
        return self._started.wait(timeout)

    def restart(self, timeout: float = STOP_SECONDS) -> None:
        """Start again and wait until ready; if it runs, end it first (warm, then by force)."""
        if self._process is not None:
            self._process.end(signal.SIGTERM, timeout)
        self.start()
        self.ready()

    def logs(self) -> str:
        """All it has logged, over all starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def _started(self) -> GuardedProcess:
        assert self._process is not None, f"{self.name} was never started"
        return self._process

    def _is_ready(self) -> bool:
        code = self.exit_code
        assert code is None, f"{self.name} ended with {code}:\n{self._started.log_tail()}"
        return READY_LOG in self.logs()[self._log_start :]


def _own_environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_VARIABLES)
    }
