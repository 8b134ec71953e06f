"""What the page for starting runs asks for: is it right, how will it go, start it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sms_pipeline.config.reading import read_text
from sms_pipeline.config.settings import Settings
from sms_pipeline.core.errors import ConfigError, PipelineError
from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation, parse_simulation
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.configuration import configuration_yaml
from sms_pipeline.views.dashboard.beside import Beside
from sms_pipeline.views.dashboard.launches import Launches
from sms_pipeline.views.sending import fewest, other_senders

CHECK_SECONDS, FORECAST_SECONDS = 10.0, 60.0


class Starter:
    """Checks configurations, forecasts runs of them, and starts them. For one event loop."""

    def __init__(self, ledger: Ledger, settings: Settings, command: Sequence[str]) -> None:
        """See `Launches`."""
        self.file = settings.config
        self._launches = Launches(ledger, settings, command)
        # Who is typing need not wait for somebody's forecast.
        self._checks, self._forecasts = Beside(CHECK_SECONDS), Beside(FORECAST_SECONDS)

    def text(self, run: Run | None = None, from_file: bool = False) -> str:
        """A configuration to begin with: of a run, of the file that is set, or the built-in one.

        Raises:
            ConfigError: the file can't be read, or the run's numbers are not in the ledger.
        """
        if from_file and self.file:
            return read_text(self.file, "SMS_CONFIG")
        if run:
            _require_from(run, "seed")
            return configuration_yaml(run.simulation)
        simulation = Simulation()
        return f"num_messages: {simulation.num_messages}\n{configuration_yaml(simulation)}"

    async def check(self, text: str) -> dict[str, Any]:
        """What is wrong with a configuration, or else what it means.

        Raises:
            PipelineError: it takes too long, or can't be worked out.
        """
        answer = await self._checks.ask("check", text=text)
        return {key: value for key, value in answer.items() if key != "simulation"}

    async def forecast(self, text: str) -> dict[str, Any]:
        """How a run of it would go, and who would send it.

        Raises:
            ConfigError: it is wrong.
            PipelineError: it takes too long, or can't be worked out.
            LedgerUnavailableError: the ledger can't be reached.
        """
        simulation = await self._read(text)
        rows = await self._launches.workers(simulation)
        answer = await self._forecasts.ask("forecast", text=text, workers=fewest(rows))
        if answer["problem"]:
            raise PipelineError(answer["problem"])
        answer["lines"] += other_senders(simulation, rows)
        return answer

    async def start(self, text: str) -> dict[str, Any]:
        """Start a run.

        Raises:
            ConfigError: the configuration is wrong.
            PipelineError: the run can't be started.
        """
        return {"run": await self._launches.start(text, await self._read(text))}

    async def again(self, run: Run) -> dict[str, Any]:
        """Start a run like another one; if that went to a file, to the very same.

        Raises:
            ConfigError: its numbers are not in the ledger, nor in a file.
            PipelineError: the run can't be started.
        """
        _require_from(run, "seed", "recipients")
        simulation = run.simulation
        if simulation.recipients:
            pinned = {"recipients": simulation.recipients.pinned}
            simulation = simulation.model_copy(update=pinned)
        return {"run": await self._launches.start(configuration_yaml(simulation), simulation)}

    def failure(self, run: int) -> str | None:
        """What went wrong with a run that was started here."""
        return self._launches.failure(run)

    async def close(self) -> list[str]:
        """End what goes on; says what is left to do."""
        await self._checks.close()
        await self._forecasts.close()
        return await self._launches.close()

    async def _read(self, text: str) -> Simulation:
        answer = await self._checks.ask("check", text=text)
        if answer["problem"]:
            raise ConfigError(answer["problem"])
        return parse_simulation(answer["simulation"])


def _require_from(run: Run, *places: str) -> None:
    """Its numbers must come from one of these.

    Raises:
        ConfigError: they do not.
    """
    if run.simulation.messages_from in places:
        return
    if run.simulation.messages_from == "recipients":
        raise ConfigError(
            f"run {run.id} went to a file: from here it can only be run again as it was; start a "
            "changed one from a terminal"
        )
    if run.simulation.is_measurement:
        raise ConfigError(
            f"run {run.id} measured a machine; do it again with: sms-pipeline measure"
        )
    raise ConfigError(
        f"run {run.id} sent to numbers that the ledger does not hold; start it anew from a terminal"
    )
