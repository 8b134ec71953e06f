"""Prints the messages themselves, for `run --echo`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from sms_pipeline.core.batch import Batch
from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.messages import SEPARATOR
from sms_pipeline.views.output import write


class Echo:
    """Prints each SMS with its outcome when its batch is settled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader_left = False

    def __call__(self, batch: Batch, outcomes: Outcomes) -> None:
        """See `SettledHook`."""
        may_retry = batch.retry.allows_after(batch.attempt)
        otherwise = "failed, to be retried" if may_retry else "failed"
        recipients, texts = batch.to.split(SEPARATOR), batch.text.split(SEPARATOR)
        rows: Sequence[tuple[Any, ...]] = list(
            zip(recipients, texts, outcomes.delivered.tolist(), strict=True)
        )
        with self._lock:
            if self._reader_left:
                return
            try:
                for to, text, delivered in rows:
                    write(f"{'delivered' if delivered else otherwise}: {to}  {text}")
            except BrokenPipeError:
                self._reader_left = True
