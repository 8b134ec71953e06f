"""The end of a worker that has lost a part of itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sms_pipeline.errors import EXIT_FAILURE

log = logging.getLogger(__name__)


@contextmanager
def fatal(role: str) -> Iterator[None]:
    """End the process if the block ends in an error: without `role` it would only look alive."""
    try:
        yield
    except BaseException:
        log.critical("%s died; the worker can't go on", role, exc_info=True)
        logging.shutdown()
        os._exit(EXIT_FAILURE)
