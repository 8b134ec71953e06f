"""Ends a worker of which a vital part does not come round any more: it would only look alive."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.errors import EXIT_FAILURE
from sms_pipeline.worker.signs import LONGEST_TURN, Part, SignsOfLife

log = logging.getLogger(__name__)

#: How often the watchdog looks.
LOOK_SECONDS = 1.0
#: How long the last line may take: whoever hangs may hang in writing to the log.
_LAST_WORDS_SECONDS = 2.0
#: The thread that each part is.
THREADS = {Part.LOOP: "MainThread", Part.DRIVER: "sender-driver", Part.WRITER: "ledger-writer"}

#: Whether a part has a reason to wait that lies outside this process.
Excuse = Callable[[], bool]


class Vigil:
    """Counts how long each part has been silent while this process could run. Pure.

    Silence is counted from one look to the next, never more than a look apart. So neither the time
    for which the process was stopped counts, nor that for which the machine was too busy to look.
    """

    def __init__(self, signs: SignsOfLife) -> None:
        self._signs = signs
        self._looked_at: float | None = None
        self._silent = dict.fromkeys(Part, 0.0)

    def look(self, now: float) -> tuple[Part, ...]:
        """The parts that have been silent for too long."""
        since_last = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        for part in Part:
            silence = self._signs.silence(part, now)
            if silence is None or silence <= since_last:
                self._silent[part] = 0.0
            else:
                self._silent[part] += min(since_last, LOOK_SECONDS)
        return tuple(part for part in Part if self._silent[part] >= LONGEST_TURN[part])


class Watchdog(threading.Thread):
    """Looks at the parts of this process's worker, every second until the process ends."""

    def __init__(
        self,
        signs: SignsOfLife,
        clock: Clock,
        excuses: Mapping[Part, Excuse],
        end: Callable[[Part], None] | None = None,
    ) -> None:
        """`excuses` may take long: as long as one of them does not answer, nothing is ended."""
        super().__init__(name="watchdog", daemon=True)
        self._signs = signs
        self._vigil = Vigil(signs)
        self._clock = clock
        self._excuses = excuses
        self._end = end or end_process
        #: Parts that had no excuse when they were last looked at.
        self._stuck: tuple[Part, ...] = ()

    def run(self) -> None:
        """Thread body."""
        while True:
            self.look()
            self._clock.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Look once; end what has no excuse at two looks, one after the other.

        What a part waits for may have answered just now, and the part is about to come round.
        """
        silent = self._vigil.look(self._clock.monotonic())
        stuck = tuple(part for part in silent if not self._is_excused(part))
        for part in stuck:
            if part in self._stuck:
                self._end(part)
        self._stuck = stuck

    def _is_excused(self, part: Part) -> bool:
        if part not in self._excuses:
            return False
        asked_at = self._clock.monotonic()
        # An answer that is long in coming excuses, too: it was waited for.
        is_away = self._excuses[part]() or self._clock.monotonic() - asked_at > LOOK_SECONDS
        if is_away:
            # For whoever asks after the health of this worker, too.
            self._signs.excuse(part, self._clock.monotonic())
        return is_away


def end_process(part: Part) -> None:
    """End the process with a line that says which part hangs, and where."""
    words = threading.Thread(target=_last_words, args=(part,))
    words.start()
    words.join(_LAST_WORDS_SECONDS)
    os._exit(EXIT_FAILURE)


def _last_words(part: Part) -> None:
    log.critical(
        "the %s has not come round for %.0f s%s; the worker ends, and its batches go to others",
        part,
        LONGEST_TURN[part],
        place_of(THREADS[part]),
    )
    logging.shutdown()


def place_of(thread: str) -> str:
    """Where a thread is just now, in words; nothing if there is no such thread."""
    frames = sys._current_frames()
    for one in threading.enumerate():
        if one.name == thread and one.ident in frames:
            code = frames[one.ident].f_code
            line = frames[one.ident].f_lineno
            return f" (in {code.co_name}, {Path(code.co_filename).name}:{line})"
    return ""
