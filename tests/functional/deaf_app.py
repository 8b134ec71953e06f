"""A worker of which one part stops when a file appears; the variable DEAF says which part."""

import os
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from sms_pipeline.celery import app
from sms_pipeline.worker import signs
from sms_pipeline.worker.consumer import GuardedConsumer
from sms_pipeline.worker.driver import SenderDriver
from sms_pipeline.worker.writer import LedgerWriter

__all__ = ["app"]

#: Tests need not wait a minute.
signs.LONGEST_TURN.update(dict.fromkeys(signs.Part, 3.0))

_STOP = Path("stop")


def _stop_in(owner: Any, name: str) -> None:
    method: Callable[..., Any] = getattr(owner, name)

    @wraps(method)
    def stopping(*arguments: Any, **options: Any) -> Any:
        if _STOP.exists():
            sleep_for_ever()
        return method(*arguments, **options)

    setattr(owner, name, stopping)


def sleep_for_ever() -> None:
    """What the last line of the worker names."""
    while threading.current_thread().is_alive():
        time.sleep(0.1)


match os.environ.get("DEAF"):
    case "main loop":
        _stop_in(GuardedConsumer, "_raise_if_cut_off")
    case "sender driver":
        _stop_in(SenderDriver, "_step")
    case "ledger writer":
        _stop_in(LedgerWriter, "_next_group")
