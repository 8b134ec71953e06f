"""What a configuration that somebody is writing means, and how a run of it would go.

A process of its own answers, one request a line: a few lines of YAML, or a large run, can take
longer than a server may be held up, and only a process can be stopped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.config.files import read_simulation
from sms_pipeline.core.counts import of_messages
from sms_pipeline.core.errors import ConfigError, PipelineError
from sms_pipeline.core.playable import require_playable
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.outlook import look_ahead
from sms_pipeline.forecast.setting import begun_at
from sms_pipeline.views.lines import headline
from sms_pipeline.views.outlook import outlook_json, outlook_lines
from sms_pipeline.views.output import write

#: What errors call the text.
NAME = "configuration"
#: Runs that are under way come first.
_NICE = 10


def check(text: str) -> dict[str, Any]:
    """Whether the text is a configuration, by the rules of the command line."""
    try:
        simulation = _read(text)
    except ConfigError as error:
        return {"problem": str(error)}
    return {
        "problem": None,
        "simulation": simulation.model_dump_json(),
        "means": f"{of_messages(simulation.num_messages)}; {headline(simulation)}.",
    }


def forecast(text: str, workers: int | None) -> dict[str, Any]:
    """The same figures as those of the command `forecast`, without what holds the run up.

    Args:
        text: the configuration.
        workers: processes of each profile, on RabbitMQ; None: all in one.
    """
    try:
        outlook = look_ahead(begun_at(_read(text), MACHINE_CLOCK.wall()), workers)
    except PipelineError as error:
        return {"problem": str(error)}
    return {"problem": None, "lines": outlook_lines(outlook, ()), **outlook_json(outlook, ())}


def _read(text: str) -> Simulation:
    simulation = read_simulation(text, NAME)
    if simulation.recipients:
        # Whoever sees the page may see none of this machine's files.
        raise ConfigError(f"{NAME}: recipients: start a run to a file from a terminal")
    try:
        require_playable(simulation)
    except ConfigError as error:
        raise ConfigError(f"{NAME}: {error}") from error
    return simulation


_QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {"check": check, "forecast": forecast}


def main() -> None:
    """Answer until nobody asks any more: the server ends, or closes the pipe."""
    os.nice(_NICE)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _QUESTIONS[asked.pop("question")](**asked)
        write(json.dumps(answer))


if __name__ == "__main__":
    main()
