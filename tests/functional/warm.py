"""A process that has imported all that commands need, and forks for each command.

So a command takes milliseconds, and is a process of its own nevertheless: with its own folder,
variables, streams and exit code, and it can be killed. Run as a module it is that process; it reads
a command as a line of JSON and answers with one.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tests.functional.terminal import Result
from tests.services.worker import FOREIGN_VARIABLES

#: A command that takes longer hangs.
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.002
#: What a command may fill the memory with, bytes: less than what never ends would.
MAX_MEMORY = 4 * 2**30
#: The exit code of a command that was killed, because it did not end.
HUNG = -1


class Warm:
    """The process, as a test sees it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.functional.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={name: value for name, value in os.environ.items() if not _is_foreign(name)}
            | {"OPENBLAS_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self,
        folder: Path,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        program: str = "sms-pipeline",
    ) -> Result:
        """Run a command in `folder` to its end."""
        asked = {
            "program": program,
            "folder": str(folder),
            "arguments": list(arguments),
            "variables": dict(variables),
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Result(**json.loads(self._process.stdout.readline()))


def _is_foreign(name: str) -> bool:
    return name.startswith(FOREIGN_VARIABLES)


# The process itself


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _import_all()
    _share_memory()
    for line in sys.stdin:
        answers.write(json.dumps(_run(**json.loads(line))) + "\n")
        answers.flush()


def _share_memory() -> None:
    """Otherwise each child would copy what the collector of garbage touches."""
    gc.collect()
    gc.disable()
    gc.freeze()


def _import_all() -> None:
    """All but the app, which reads the variables when it is imported."""
    import celery.bin.worker
    import kombu.transport.memory
    import psycopg
    import tornado.web

    import sms_pipeline.cli.main
    import sms_pipeline.ledger.store
    import sms_pipeline.views.monitor
    import sms_pipeline.views.report.page

    del celery, kombu, psycopg, tornado, sms_pipeline


def _run(
    program: str, folder: str, arguments: list[str], variables: dict[str, str]
) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            _become(_entry(program), folder, [program, *arguments], variables, out, err)
        code = _await(child)
        return {"code": code, "out": _text(out), "err": _text(err)}


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))


def _await(child: int) -> int:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return HUNG


def _entry(program: str) -> Callable[[], object]:
    if program == "celery":
        from celery.__main__ import main as celery_main

        return celery_main
    from sms_pipeline.cli.main import main

    return main


def _become(
    entry: Callable[[], object],
    folder: str,
    arguments: list[str],
    variables: dict[str, str],
    out: Any,
    err: Any,
) -> NoReturn:
    """Be that command, in a process just forked, and end with its exit code."""
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
        os.chdir(folder)
        os.environ.update(variables)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.argv = arguments
        entry()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
