"""A Celery worker in a thread of this process."""

from __future__ import annotations

import threading

from celery import Celery
from celery.worker import state

#: How long the consumer may take to return what it holds.
STOP_SECONDS = 10.0


class Consumption(threading.Thread):
    """A Celery worker in a thread."""

    def __init__(self, app: Celery, concurrency: int, name: str, ended: threading.Event) -> None:
        super().__init__(name="consumer", daemon=True)
        self._ended = ended
        state.should_stop = None
        # Tasks in pool threads find their app by default.
        app.set_default()
        self._controller = app.WorkController(
            hostname=name,
            pool_cls="threads",
            concurrency=concurrency,
            without_mingle=True,
            without_gossip=True,
        )

    def run(self) -> None:
        """Consume until `stop`; set `ended` then, and also when it ends by itself."""
        try:
            self._controller.start()
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Return to the broker what is not settled."""
        state.should_stop = 0
        self.join(STOP_SECONDS)
