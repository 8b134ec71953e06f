"""Processes that start at once: forked from one that has loaded the libraries already.

Loading Celery, NumPy and SQLAlchemy takes a processor more than a second, which is a third of a
short test. Only libraries are loaded beforehand, nothing of what is under test; what is forked is
a real process that runs its module as `python -m` would.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import FileIO, TextIOWrapper
from pathlib import Path
from typing import Any

#: What a Celery worker and the commands need; what they load beyond it, they load themselves.
LIBRARIES = (
    "celery.bin.celery",
    "celery.bin.worker",
    "celery.concurrency.thread",
    "celery.worker.consumer",
    "kombu.transport.pyamqp",
    "numpy",
    "orjson",
    "psycopg",
    "pydantic",
    "rich.live",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "yaml",
)

ROOT = Path(__file__).parents[2]


class Nursery:
    """Forks processes on request. Whoever asks for one must end it."""

    def __init__(self) -> None:
        """Start the process that others are forked from."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            env={name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C must not reach it.
        )

    def fork(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        log: Path,
    ) -> Child:
        """Run `python -m module arguments` in a process, and a group, of its own.

        Args:
            module: What to run.
            arguments: Its command line.
            cwd: Its current folder.
            environment: Its whole environment.
            log: Gets both output streams, appended.
        """
        request = {
            "module": module,
            "arguments": list(arguments),
            "cwd": str(cwd),
            "environment": dict(environment),
            "log": str(log),
        }
        return Child(self, int(self._ask(request)))

    def exit_code(self, pid: int) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        code = self._ask({"ended": pid})
        return None if code is None else int(code)

    def close(self) -> None:
        """End the process that others are forked from."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Child:
    """A forked process, with what `subprocess.Popen` would offer of it."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        """Stand for a process that was forked just now."""
        self.pid = pid
        self._nursery = nursery
        self._code: int | None = None

    def poll(self) -> int | None:
        """None while it runs; negative is the number of the signal that ended it."""
        if self._code is None:
            self._code = self._nursery.exit_code(self.pid)
        return self._code

    def send_signal(self, number: int) -> None:
        """Send it a signal; harmless when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _serve() -> dict[str, Any] | None:
    """Answer requests until there are no more (None), or return in a child with what to run."""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "ended" in request:
            answer = _exit_code(request["ended"])
        else:
            answer = os.fork()
            # By both sides: whoever is first, the group exists before anyone can signal it.
            os.setpgid(answer, answer)
            if not answer:
                return dict(request)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
    return None


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(request: Mapping[str, Any]) -> None:
    """Be the process that was asked for, up to the point where its module runs."""
    _redirect(request["log"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # As Python does for `-m`: the current folder, then PYTHONPATH. Ours was first until now.
    sys.path[:1] = [request["cwd"], *filter(None, paths)]
    sys.argv[1:] = request["arguments"]


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    sys.stdin = os.fdopen(0, closefd=False)
    # Unbuffered: what a killed process has printed is worth reading.
    sys.stdout = TextIOWrapper(FileIO(1, "w", closefd=False), write_through=True)


def _main() -> None:
    # Ended processes are asked for one by one; a signal in between must not end this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for library in LIBRARIES:
        import_module(library)
    request = _serve()
    if request is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _become(request)
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
