"""A producer at work while another thread watches."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sms_pipeline.core.errors import StoppingError
from sms_pipeline.producer.producer import Producer


class Dispatch(threading.Thread):
    """A producer in a thread; keeps the error, if any, for the main thread to report."""

    def __init__(
        self, producer: Producer, work: Callable[[Producer], None], ended: threading.Event
    ) -> None:
        super().__init__(name="producer", daemon=True)
        self.producer = producer
        self.error: BaseException | None = None
        self._work = work
        self._ended = ended

    def run(self) -> None:
        """Thread body; sets `ended` when the work ends in an error."""
        try:
            self._work(self.producer)
        except StoppingError:
            pass
        except BaseException as error:
            self.error = error
            self._ended.set()
