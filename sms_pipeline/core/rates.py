"""How fast a run goes, as one reader sees it from reading to reading. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

#: The rate "now" is taken over about this time.
RATE_SECONDS = 5.0
#: One rate of the history covers at least this time …
HISTORY_STEP_SECONDS = 1.0
#: … and so many of them are kept.
HISTORY_LENGTH = 60


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one reading showed; `could` is what the senders could have attempted until then."""

    at: float
    finished: int
    attempts: Mapping[str, int]
    could: Mapping[str, float]


class Pace:
    """Rate, recent rates, efficiency and the time since anything moved."""

    def __init__(self) -> None:
        self._readings: deque[_Reading] = deque()
        self._first: _Reading | None = None
        self._history: deque[float] = deque(maxlen=HISTORY_LENGTH)
        self._step: tuple[float, int] | None = None
        self._changed_at = 0.0

    def observe(
        self,
        now: float,
        finished: int,
        attempts: Mapping[str, int],
        capacities: Mapping[str, float],
    ) -> None:
        """Add a reading.

        Args:
            now: on any clock that only moves forward.
            finished: messages in a terminal state.
            attempts: attempts made by profile.
            capacities: messages a second that the online senders of each profile can attempt.
        """
        before = self._readings[-1] if self._readings else None
        if before is None or finished != before.finished:
            self._changed_at = now
        reading = _Reading(now, finished, dict(attempts), _could(before, now, capacities))
        self._first = self._first or reading
        self._readings.append(reading)
        while len(self._readings) > 2 and now - self._readings[1].at >= RATE_SECONDS:
            self._readings.popleft()
        self._remember(now, finished)

    @property
    def rate(self) -> float:
        """Messages a second that reached a terminal state, over the last `RATE_SECONDS`."""
        first, last = self._readings[0], self._readings[-1]
        return (last.finished - first.finished) / (last.at - first.at) if last.at > first.at else 0

    @property
    def history(self) -> tuple[float, ...]:
        """The rate of each of the last seconds, oldest first."""
        return tuple(self._history)

    @property
    def still_seconds(self) -> float:
        """Seconds since the number of finished messages was seen to change, or since the start."""
        return self._readings[-1].at - self._changed_at

    def efficiency(self, profile: str, over_all: bool) -> float | None:
        """Attempts settled, per attempt that the online senders could have made meanwhile.

        1 is a profile whose senders were never idle. Batches settle whole, so it may exceed 1 for
        a moment. None while no sender was seen online, and for senders that need no time.

        Args:
            profile: its name.
            over_all: over all the time watched, not only the last seconds.
        """
        last, first = self._readings[-1], self._first if over_all else self._readings[0]
        if first is None:
            return None
        could = last.could.get(profile, 0.0) - first.could.get(profile, 0.0)
        made = last.attempts.get(profile, 0) - first.attempts.get(profile, 0)
        return made / could if could > 0 and math.isfinite(could) else None

    def _remember(self, now: float, finished: int) -> None:
        at, before = self._step or (now, finished)
        self._step = (at, before)
        if now - at >= HISTORY_STEP_SECONDS:
            self._history.append((finished - before) / (now - at))
            self._step = (now, finished)


def _could(
    before: _Reading | None, now: float, capacities: Mapping[str, float]
) -> dict[str, float]:
    if before is None:
        return dict.fromkeys(capacities, 0.0)
    passed = now - before.at
    # A profile that nobody serves at the moment keeps what it could have attempted before.
    could = dict(before.could)
    for profile, capacity in capacities.items():
        could[profile] = could.get(profile, 0.0) + (capacity * passed if passed else 0.0)
    return could
