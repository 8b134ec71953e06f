"""Runs that are started from the page: each is a command in a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sms_pipeline.config.settings import Settings
from sms_pipeline.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TERMINATED,
    EXIT_THRESHOLD,
    LedgerUnavailableError,
    PipelineError,
)
from sms_pipeline.core.records import WorkerRow
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.following import online_workers
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.format import exact_seconds

#: Runs that were started here and are still going on.
MAX_RUNNING = 4
#: Of those that have ended, so many are remembered.
MAX_ENDED = 100
#: A command registers its run in this time, or is stopped.
START_SECONDS = 60.0
#: How often the ledger is asked for the run.
_POLL_SECONDS = 0.2
#: When the dashboard ends, batches in hand are finished in this time.
STOP_SECONDS = 25.0
#: What is kept of what a command says, bytes: the end, where its error is.
_SAID_BYTES = 4_096
#: Variables that a command does not need.
_SECRETS = ("SMS_DASHBOARD_PASSWORD", "SMS_DASHBOARD_PASSWORD_FILE")
#: A run that missed a threshold went as it should; one that was stopped is interrupted anyway.
_ENDS = (EXIT_OK, EXIT_THRESHOLD, EXIT_INTERRUPTED, EXIT_TERMINATED)

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Launch:
    """A command that rehearses or dispatches a run."""

    process: Process
    #: Where it writes its errors.
    said: Path
    #: Whether workers send the run, and the command only dispatches it.
    dispatches: bool
    #: The number of its run; None until it is known.
    run: int | None = None

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.process.returncode is None

    @property
    def failure(self) -> str | None:
        """What it ended with; None if it goes on, or ended well."""
        if self.running or self.process.returncode in _ENDS:
            return None
        content = self.said.read_bytes()[-_SAID_BYTES:].decode(errors="replace")
        lines = content.strip().splitlines()
        return lines[-1].removeprefix("Error: ") if lines else f"code {self.process.returncode}"

    @property
    def farewell(self) -> str | None:
        """What is left to do when it was ended with the dashboard; None if nothing is."""
        if self.run is None or self.process.returncode in (EXIT_OK, EXIT_THRESHOLD):
            return None
        resume = f"sms-pipeline resume {self.run}"
        if self.dispatches:
            sent = "workers go on with what was dispatched"
            return f"Run {self.run}: {sent}. Dispatch the rest: {resume}"
        return f"Run {self.run}, which was started here, ends with it: {resume}"


class Launches:
    """Starts runs, and ends what goes on when the dashboard ends."""

    def __init__(self, ledger: Ledger, settings: Settings, command: Sequence[str]) -> None:
        """Start nothing yet.

        Args:
            ledger: where a run is seen once it has begun.
            settings: whether there is a broker.
            command: how to call `sms-pipeline`.
        """
        self._ledger = ledger
        self._settings = settings
        self._command = command
        self._folder = tempfile.TemporaryDirectory(prefix="sms-pipeline-")
        self._made = 0
        self._launches: list[Launch] = []
        self._one_at_a_time = asyncio.Lock()

    async def start(self, text: str, simulation: Simulation) -> int:
        """Start a run; returns its number.

        Args:
            text: the configuration, as it was written.
            simulation: what it says.

        Raises:
            PipelineError: too many go on, or the run could not be started.
        """
        async with self._one_at_a_time:
            if sum(launch.running for launch in self._launches) >= MAX_RUNNING:
                raise PipelineError(
                    f"{MAX_RUNNING} runs that were started here are still going on; wait for one"
                )
            self._forget()
            latest = await _aside(self._latest)
            launch = await self._launch(text, bool(await self.workers(simulation)))
            self._launches.append(launch)
            return await self._begun(launch, simulation, latest)

    async def workers(self, simulation: Simulation) -> list[WorkerRow]:
        """Those that would send a run; none: it is played in a process of its own.

        Raises:
            LedgerUnavailableError: the ledger can't be reached.
        """
        if self._settings.embedded:
            return []
        wanted = {sender.name for sender in simulation.senders}
        online = await _aside(partial(online_workers, self._ledger))
        rows = [worker.row for worker in online if worker.row.profile in wanted]
        return rows if {row.profile for row in rows} == wanted else []

    def failure(self, run: int) -> str | None:
        """What the command that was started here for this run ended with, if that was wrong."""
        return next((one.failure for one in self._launches if one.run == run), None)

    async def close(self) -> list[str]:
        """End what goes on, within `STOP_SECONDS`; says what is left to do."""
        running = [launch for launch in self._launches if launch.running]
        for launch in running:
            _signal(launch, signal.SIGTERM)
        ends = [asyncio.ensure_future(launch.process.wait()) for launch in running]
        if ends:
            await asyncio.wait(ends, timeout=STOP_SECONDS)
        for launch in running:
            _signal(launch, signal.SIGKILL)
        self._folder.cleanup()
        return [launch.farewell for launch in running if launch.farewell]

    async def _launch(self, text: str, dispatches: bool) -> Launch:
        self._made += 1
        file = Path(self._folder.name) / f"{self._made}.yml"
        file.write_text(text)
        said = file.with_suffix(".log")
        verb = ["produce", "--config", str(file)] if dispatches else ["run", str(file)]
        with said.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *verb,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=errors,
                env={name: value for name, value in os.environ.items() if name not in _SECRETS},
                # Ctrl-C in the terminal is for the dashboard, which then ends it.
                start_new_session=True,
            )
        return Launch(process, said, dispatches)

    async def _begun(self, launch: Launch, simulation: Simulation, latest: int) -> int:
        """Wait until the run is in the ledger."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    ended = not launch.running
                    launch.run = await _aside(partial(self._find, simulation, latest))
                    if launch.run is not None:
                        return launch.run
                    if ended:
                        raise PipelineError(launch.failure or "it ended before the run began")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise PipelineError(f"it did not begin within {exact_seconds(START_SECONDS)}") from None
        finally:
            if launch.run is None:
                _signal(launch, signal.SIGKILL)

    def _forget(self) -> None:
        ended = [launch for launch in self._launches if not launch.running]
        for launch in ended[:-MAX_ENDED]:
            self._launches.remove(launch)
            launch.said.unlink(missing_ok=True)

    def _latest(self) -> int:
        return self._ledger.page(1).oldest or 0

    def _find(self, simulation: Simulation, latest: int) -> int | None:
        """The first run after `latest` that was started with this, and is nobody else's."""
        taken = {launch.run for launch in self._launches}
        try:
            found = self._ledger.totals(MAX_RUNNING * 2)
        except LedgerUnavailableError:
            return None
        numbers = [
            totals.run.id
            for totals in found
            if totals.run.id > latest
            and totals.run.id not in taken
            and totals.simulation == simulation
        ]
        return min(numbers, default=None)


def _signal(launch: Launch, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        launch.process.send_signal(number)


async def _aside(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)
