"""The thread that plays the sender banks on the real clock."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import StoppingError
from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.core.submission import PLAIN, Finished, Seconds, Submission, Terms
from sms_pipeline.worker.fatal import fatal
from sms_pipeline.worker.signs import Part, SignsOfLife

#: Shortest pause between two steps of the banks. Finish times do not depend on it.
TICK_SECONDS = 0.005
#: A step may take this share of the driver's time: large banks are stepped less often.
STEP_SHARE = 0.2
#: The driver steps at least this often, so that its heartbeat grows.
LONGEST_PAUSE_SECONDS = 0.5
#: … and this often while somebody wants to be told of every message.
WATCHED_PAUSE_SECONDS = 0.02

#: Told the positions of messages that have ended, and when all of the submission that have started
#: did, where that is asked for.
SentHook = Callable[[NDArray[np.intp], Seconds | None], None]


class SenderDriver(threading.Thread):
    """Plays the sender banks on the real clock, for the threads that wait in `play`."""

    def __init__(
        self, banks: dict[str, SenderBank], clock: Clock, signs: SignsOfLife | None = None
    ) -> None:
        super().__init__(name="sender-driver", daemon=True)
        self._banks = banks
        self._clock = clock
        self._signs = signs or SignsOfLife()
        self._waiting: dict[int, Future[Finished]] = {}
        self._watched: dict[int, tuple[Submission, SentHook]] = {}
        self._submissions = 0
        self._wake = threading.Condition()
        self._stopping = False
        #: Grows while this thread is alive.
        self.heartbeat = 0

    def play(
        self,
        profile: str,
        durations: Seconds,
        give_up_at: float = math.inf,
        on_sent: SentHook | None = None,
        terms: Terms = PLAIN,
    ) -> Finished:
        """Send messages that take `durations`; return when each ended, on the monotonic clock.

        Those that no sender could start by `give_up_at` are not sent. `on_sent` is told which
        messages have ended, soon after they have; it must return at once.

        Raises:
            StoppingError: the driver stopped before all had ended.
        """
        future: Future[Finished] = Future()
        with self._wake:
            if self._stopping:
                raise StoppingError("the worker is stopping")
            self._submissions += 1
            self._waiting[self._submissions] = future
            bank = self._banks[profile]
            submission = bank.submit(
                self._submissions, self._clock.monotonic(), durations, give_up_at, terms
            )
            if on_sent:
                self._watched[self._submissions] = (submission, on_sent)
            self._wake.notify()
        return future.result()

    def stop(self) -> None:
        """End the thread; whoever waits in `play` gets a `StoppingError`."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def run(self) -> None:
        """Thread body. The process ends with it: a worker without a driver only looks alive."""
        with fatal("sender driver"):
            self._run()

    def _run(self) -> None:
        with self._wake:
            while not self._stopping:
                self.heartbeat += 1
                began = self._clock.monotonic()
                self._signs.mark(Part.DRIVER, began)
                self._step(began)
                self._wake.wait(self._pause(began))
            self._signs.end(Part.DRIVER)
            for future in self._waiting.values():
                future.set_exception(StoppingError("the worker is stopping"))

    def _step(self, now: float) -> None:
        ended = [finished for bank in self._banks.values() for finished in bank.step(now)]
        for submission, on_sent in self._watched.values():
            if len(fresh := submission.newly_ended(now)):
                on_sent(fresh, submission.start_times)
        for finished in ended:
            self._watched.pop(finished.key, None)  # type: ignore[call-overload]
            self._waiting.pop(finished.key).set_result(finished)  # type: ignore[call-overload]

    def _pause(self, began: float) -> float:
        now = self._clock.monotonic()
        shortest = max(TICK_SECONDS, (now - began) / STEP_SHARE)
        event = min((bank.next_event() for bank in self._banks.values()), default=now)
        longest = WATCHED_PAUSE_SECONDS if self._watched else LONGEST_PAUSE_SECONDS
        return min(max(event - now, shortest), longest)
