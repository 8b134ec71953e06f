"""How fast a run goes, as one reader sees it from reading to reading. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

#: The rate "now" is taken over about this time.
RATE_SECONDS = 5.0
#: One rate of the history covers at least this time …
HISTORY_STEP_SECONDS = 1.0
#: … and so many of them are kept.
HISTORY_LENGTH = 60


class _Reading(NamedTuple):
    """What one reading showed."""

    at: float
    finished: int
    attempts: int
    #: Since when so many messages were finished, as far as readings show.
    still_since: float


class Pace:
    """Rates, recent rates and the time since anything moved."""

    def __init__(self) -> None:
        self._readings: deque[_Reading] = deque()
        self._history: deque[float] = deque(maxlen=HISTORY_LENGTH)
        self._step: tuple[float, int] | None = None

    def observe(self, now: float, finished: int, attempts: int) -> None:
        """Add a reading.

        Args:
            now: on any clock that only moves forward.
            finished: messages in a terminal state.
            attempts: attempts made.
        """
        still_since = now
        if self._readings and self._readings[-1].finished == finished:
            still_since = self._readings[-1].still_since
        while len(self._readings) > 1 and now - self._readings[1].at >= RATE_SECONDS:
            self._readings.popleft()
        self._readings.append(_Reading(now, finished, attempts, still_since))
        self._remember(now, finished)

    @property
    def rate(self) -> float:
        """Messages a second that reached a terminal state, over the last `RATE_SECONDS`."""
        first, last = self._readings[0], self._readings[-1]
        return (last.finished - first.finished) / (last.at - first.at) if last.at > first.at else 0

    @property
    def attempts_rate(self) -> float:
        """Attempts a second that were settled, over `attempts_seconds`."""
        first, last = self._first_with_attempts, self._readings[-1]
        return (last.attempts - first.attempts) / (last.at - first.at) if last.at > first.at else 0

    @property
    def attempts_seconds(self) -> float:
        """The last `RATE_SECONDS`, or since attempts were first seen to be settled."""
        return self._readings[-1].at - self._first_with_attempts.at

    @property
    def _first_with_attempts(self) -> _Reading:
        """Before that nothing could be settled: senders had only begun."""
        return next((one for one in self._readings if one.attempts), self._readings[-1])

    @property
    def history(self) -> tuple[float, ...]:
        """The rate of each of the last seconds, oldest first."""
        return tuple(self._history)

    @property
    def still_seconds(self) -> float:
        """Seconds since the number of finished messages was seen to change, or since the start."""
        return self._readings[-1].at - self._readings[-1].still_since

    def _remember(self, now: float, finished: int) -> None:
        at, before = self._step or (now, finished)
        self._step = (at, before)
        if now - at >= HISTORY_STEP_SECONDS:
            self._history.append((finished - before) / (now - at))
            self._step = (now, finished)
