"""A worker that writes down each batch that it plays: `celery -A tests.functional.seen_app …`."""

import json
import os
from pathlib import Path

from sms_pipeline.celery import app
from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes, SimulatedGateway

__all__ = ["app"]

_attempt = SimulatedGateway.attempt


def _seen(gateway: SimulatedGateway, batch: Batch) -> Outcomes:
    line = json.dumps(
        [batch.number, batch.attempt, batch.positions().tolist(), batch.to, batch.text]
    )
    # Each process writes a file of its own.
    with (Path(os.environ["SEEN_FOLDER"]) / str(os.getpid())).open("a") as file:
        file.write(line + "\n")
    return _attempt(gateway, batch)


SimulatedGateway.attempt = _seen  # type: ignore[method-assign]
