"""What happens when a vital part of a worker dies."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sms_pipeline.core.errors import EXIT_FAILURE

log = logging.getLogger(__name__)


@contextmanager
def fatal(role: str) -> Iterator[None]:
    """End the process if the block ends in an error: without this part it would only look alive."""
    try:
        yield
    except BaseException:
        log.critical("the %s died; the worker can't go on", role, exc_info=True)
        logging.shutdown()
        os._exit(EXIT_FAILURE)
