"""A terminal as a user has it: real commands, in one folder, with one environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.services.waiting import wait_until
from tests.services.worker import FOREIGN_VARIABLES

#: Far more than any command here needs; only a hang waits for it.
PATIENCE_SECONDS = 60.0

PIPELINE = (str(Path(sys.executable).parent / "sms-pipeline"),)
CELERY = (sys.executable, "-m", "celery", "-A", "sms_pipeline")


class Result(NamedTuple):
    """What a command that has ended left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The last line of its standard output."""
        last: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return last

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Every line of its standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


class Started:
    """A command that runs; its output goes to files, so that it can never block on a pipe."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        """Take charge of a process."""
        self.process = process
        self._out = out
        self._err = err

    @property
    def out(self) -> str:
        """What it has written to standard output so far."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text(errors="replace")

    def says(self, text: str) -> None:
        """Wait until it has written this, on either stream."""
        wait_until(
            lambda: text in self.out + self.err or self.process.poll() is not None,
            PATIENCE_SECONDS,
            f"the command says {text!r}",
        )
        assert text in self.out + self.err, f"it ended without {text!r}: {self.out}{self.err}"

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """SIGTERM, as from `kill` or a container engine."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = PATIENCE_SECONDS) -> Result:
        """Wait for its end; AssertionError if it does not end in time."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running: {self.out}{self.err}") from None
        return Result(code, self.out, self.err)

    def kill(self) -> None:
        """SIGKILL it with its children. Harmless if it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Terminal:
    """Runs commands in a folder; what still runs at the end is killed by `close`."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Only the settings of `environment` reach the commands, none of those around the tests."""
        self.folder = folder
        self.environment = dict(environment or {})
        self._started: list[Started] = []

    def run(
        self, *arguments: str, timeout: float = PATIENCE_SECONDS, **changes: str | None
    ) -> Result:
        """Run `sms-pipeline …` to its end; `changes` are variables, None takes one away."""
        return self.start(*arguments, **changes).wait(timeout)

    def start(
        self,
        *arguments: str,
        program: Sequence[str] = PIPELINE,
        cwd: Path | None = None,
        **changes: str | None,
    ) -> Started:
        """Start a command and do not wait for it."""
        number = len(self._started)
        out, err = (self.folder / f"command-{number}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*program, *arguments],
                cwd=cwd or self.folder,
                env=self.variables(changes),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=_heed_interrupts,  # noqa: PLW1509 - it takes no lock
            )
        started = Started(process, out, err)
        self._started.append(started)
        return started

    def close(self) -> None:
        """Kill what still runs."""
        for started in self._started:
            started.kill()

    def configure(self, **simulation: Any) -> Path:
        """Write a configuration file and make it the one that commands use."""
        path = self.folder / "simulation.yml"
        path.write_text(json.dumps(simulation))  # JSON is YAML.
        self.environment["SMS_CONFIG"] = str(path)
        return path

    def variables(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """The whole environment of a command."""
        own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_VARIABLES)}
        merged: dict[str, str | None] = {
            **own,
            "PYTHONUNBUFFERED": "1",
            **self.environment,
            **changes,
        }
        return {name: value for name, value in merged.items() if value is not None}


def _heed_interrupts() -> None:
    """A shell's background job ignores Ctrl-C and passes that on; a user's terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
