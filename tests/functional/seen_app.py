"""A worker that writes down each batch that it plays: `celery -A tests.functional.seen_app …`."""

import json
import os
from pathlib import Path

from sms_pipeline.celery import app
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes, SimulatedGateway

__all__ = ["app"]

#: The folder for what was seen; each process writes a file of its own.
SEEN = "SEEN_FOLDER"

_attempt = SimulatedGateway.attempt


def _seen(gateway: SimulatedGateway, batch: Batch) -> Outcomes:
    line = json.dumps(
        [batch.number, batch.attempt, batch.positions().tolist(), batch.to, batch.text]
    )
    with (Path(os.environ[SEEN]) / str(os.getpid())).open("a") as file:
        file.write(line + "\n")
    return _attempt(gateway, batch)


SimulatedGateway.attempt = _seen  # type: ignore[method-assign]
