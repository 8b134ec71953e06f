"""Child processes that cannot outlive the test process, and ports for them."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.services.nursery import Child, Nursery
from tests.services.waiting import wait_until

#: A killed process is gone as soon as the kernel gets to it: this is for very busy machines.
KILL_SECONDS = 10.0

#: How much of a log is worth showing in a failure.
LOG_TAIL_CHARACTERS = 2_000

#: Ends the group whose number is its first argument, once its standard input is closed: that is,
#: when the test process has died, however it died.
GUARD_SCRIPT = 'read -r _; kill -KILL "-$1"'

LOWEST_PORT = 20_000

#: Linux's default start of the ports given to outgoing connections.
DEFAULT_EPHEMERAL_START = 32_768

_ports_given: set[int] = set()


class GuardedProcess:
    """A process in a group of its own that dies with the test process.

    A small shell guards it: it reads from a pipe that only the test process holds, and kills the
    group when that pipe closes. Unlike a parent-death signal this does not depend on the *thread*
    that started the process, which chaos tests need.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        log: Path,
        user: str | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        """Start it.

        Args:
            arguments: The command.
            cwd: Its current folder.
            environment: Its whole environment, not additions to ours.
            log: Gets both output streams, appended.
            user: Run as this user and its group of the same name; needs root.
            nursery: Where to fork it, if it is a `python -m …` of our own interpreter.
        """
        self.log = log
        log.touch()
        command = [str(argument) for argument in arguments]
        self._process: subprocess.Popen[bytes] | Child
        if nursery is None:
            self._process = _open(command, cwd, environment, log, user)
        else:
            self._process = _fork(nursery, command, cwd, environment, log)
        self._guard: subprocess.Popen[bytes] | None = _start_guard(self.pid)

    @property
    def pid(self) -> int:
        """Also the number of the process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        code = self._process.poll()
        if code is not None:
            self._dismiss_guard()
        return code

    @property
    def running(self) -> bool:
        """Whether it has not ended; a paused process runs."""
        return self.exit_code is None

    def signal(self, number: int) -> None:
        """Send a signal to the process alone, not to its group."""
        self._process.send_signal(number)

    def pause(self) -> None:
        """Stop it in its tracks: its connections stay open and nobody answers on them."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo a pause; harmless without one."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the whole group, and return when the process is gone. Harmless if it is."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait(KILL_SECONDS)

    def end(self, number: int, timeout: float) -> None:
        """Ask with a signal, wait, and kill what has not ended by then."""
        if not self.running:
            return
        self.resume()
        self.signal(number)
        try:
            self.wait(timeout)
        except AssertionError:
            self.kill()

    def wait(self, timeout: float) -> int:
        """Return the exit code once it has ended; AssertionError if it does not in time."""
        wait_until(lambda: not self.running, timeout, f"process {self.pid} ends ({self.log.name})")
        code = self.exit_code
        assert code is not None
        return code

    def log_tail(self) -> str:
        """The end of the log, for failure messages."""
        return self.log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]

    def _dismiss_guard(self) -> None:
        """End the guard before the number of our group can belong to someone else."""
        if self._guard is None:
            return
        self._guard.kill()
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard = None


def _open(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path, user: str | None
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )


def _fork(
    nursery: Nursery, command: Sequence[str], cwd: Path, environment: Mapping[str, str], log: Path
) -> Child:
    interpreter, option, module, *arguments = command
    assert (interpreter, option) == (sys.executable, "-m"), f"not a Python module: {command}"
    return nursery.fork(module, arguments, cwd=cwd, environment=environment, log=log)


def _start_guard(group: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", GUARD_SCRIPT, "guard", str(group)],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C and a signal to the tests' group must not reach it.
    )


def free_port() -> int:
    """A loopback port that nobody listens on and that this process has not given out before.

    It lies below the ports of outgoing connections. A port from among those (what binding to
    port 0 gives) can be taken by any connection while a killed service is down, even by a client
    that tries to reach that service and so connects to itself.
    """
    candidates = range(LOWEST_PORT, _ephemeral_start())
    while True:
        port = random.choice(candidates)
        if port not in _ports_given and _can_bind(port):
            _ports_given.add(port)
            return port


def _ephemeral_start() -> int:
    with suppress(OSError):
        limits = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        if int(limits[0]) > LOWEST_PORT:
            return int(limits[0])
    return DEFAULT_EPHEMERAL_START


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def processes_with_environment(name: str, value: str) -> list[psutil.Process]:
    """Every living process that was started with this variable: what a service left behind."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(name) == value:
                found.append(process)
    return found
