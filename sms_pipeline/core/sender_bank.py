"""The sender bank: N serial senders as one vectorised schedule. Pure; the caller has the clock."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
Senders = NDArray[np.intp]

#: How far ahead busy senders are looked for. Longer: larger steps; shorter: more searches.
HORIZON_SECONDS = 0.1


class Finished(NamedTuple):
    """All messages of one submission have been played."""

    key: Hashable
    #: When each message ended, in the order submitted, on the caller's clock; NaN for those that
    #: were given up because no sender got to them in time.
    finish_times: Seconds


class Submission:
    """Messages that wait for senders, first come first served; `started` of them have one."""

    __slots__ = (
        "arrival",
        "durations",
        "finish_times",
        "give_up_at",
        "key",
        "last_finish",
        "size",
        "started",
        "told",
    )

    def __init__(
        self, key: Hashable, arrival: float, durations: Seconds, give_up_at: float
    ) -> None:
        self.key = key
        self.arrival = arrival
        self.give_up_at = give_up_at
        self.size = len(durations)
        # Messages that take no time keep no sender busy: the first free sender passes them all
        # at one moment, so they stand as one entry and cost one step, however many they are.
        self.durations = durations if durations.any() else durations[:1]
        self.finish_times = np.empty(len(self.durations))
        self.started = 0
        self.last_finish = -math.inf
        self.told: NDArray[np.bool_] | None = None

    def newly_ended(self, now: float) -> Senders:
        """Positions of the messages that ended by `now` and were not told before, ascending."""
        if self.told is None:
            self.told = np.zeros(self.size, np.bool_)
        if len(self.durations) != self.size:
            ended = np.full(self.size, bool(self.started) and self.finish_times[0] <= now)
        else:
            ended = np.zeros(self.size, np.bool_)
            ended[: self.started] = self.finish_times[: self.started] <= now
        fresh = np.flatnonzero(ended & ~self.told)
        self.told[fresh] = True
        return fresh

    @property
    def waiting(self) -> int:
        return len(self.durations) - self.started

    def start(self, finish_times: Seconds) -> None:
        end = self.started + len(finish_times)
        self.finish_times[self.started : end] = finish_times
        self.started = end
        self.last_finish = max(self.last_finish, float(finish_times.max()))

    def give_up(self, now: float) -> None:
        self.finish_times[self.started :] = math.nan
        self.started = len(self.durations)
        self.last_finish = max(self.last_finish, now)

    def finished(self) -> Finished:
        return Finished(self.key, np.broadcast_to(self.finish_times, self.size))


class SenderBank:
    """N senders, each handling one message at a time, fed from one first-in first-out line.

    A message goes to the sender that is free first and starts at
    max(that sender's last finish, the message's arrival), whenever `step` is called: the schedule
    does not depend on how often that is. Durations are known when messages are submitted, so one
    array of "free at" times is the whole state of the senders.

    The cost of a step must not grow with the number of senders. Idle ones are on a stack. Of the
    busy ones, only the few that become free before a horizon are looked at; once it is passed, all
    are searched for those that become free before the next one.
    """

    def __init__(self, senders: int, horizon: float = HORIZON_SECONDS) -> None:
        """
        Args:
            senders: how many.
            horizon: how far ahead busy senders are looked for, seconds; the schedule does not
                depend on it.
        """
        self._horizon_seconds = horizon
        self._free_at = np.full(senders, -math.inf)
        self._idle = np.arange(senders)
        self._idle_count = senders
        self._is_idle = np.ones(senders, np.bool_)
        self._near = np.empty(0, np.intp)
        self._horizon = -math.inf
        self._stepped_to = -math.inf
        self._line: deque[Submission] = deque()
        self._playing: list[tuple[float, int, Submission]] = []
        self._someone_gives_up = False
        self._submissions = 0

    @property
    def senders(self) -> int:
        """How many there are."""
        return len(self._free_at)

    @property
    def waiting(self) -> int:
        """Entries in line that no sender has started yet."""
        return sum(submission.waiting for submission in self._line)

    def busy(self, now: float) -> int:
        """Senders that are on a message at `now`."""
        return int(np.count_nonzero(self._free_at > now))

    def submit(
        self, key: Hashable, arrival: float, durations: Seconds, give_up_at: float = math.inf
    ) -> Submission:
        """Put messages in line; `arrival` must not be before an earlier submission or step.

        Those that no sender can start by `give_up_at` are not sent.
        """
        submission = Submission(key, arrival, durations, give_up_at)
        self._line.append(submission)
        self._someone_gives_up |= give_up_at < math.inf
        return submission

    def step(self, now: float) -> list[Finished]:
        """Start everything that can start by `now`; return the submissions ended by then."""
        # A step that comes late covers the time in short strides. In one stride of several seconds
        # each sender would end several messages, and all would be sorted again for every batch of
        # them: the step would take longer than it was late, and the next one would be later still.
        while self._line and self._stepped_to + self._horizon_seconds < now:
            self._advance(
                max(self._stepped_to + self._horizon_seconds, min(self.next_event(), now))
            )
        self._advance(now)
        finished = []
        while self._playing and self._playing[0][0] <= now:
            finished.append(heapq.heappop(self._playing)[2].finished())
        return finished

    def _advance(self, now: float) -> None:
        self._stepped_to = now
        self._start_due(now)
        if self._someone_gives_up:
            self._give_up_late(now)

    def next_end(self) -> float:
        """When the first submission ends whose messages have all started; infinity without one."""
        return self._playing[0][0] if self._playing else math.inf

    def next_event(self) -> float:
        """When a sender can take a waiting message or a submission ends; infinity when idle."""
        ends = self.next_end()
        if not self._line:
            return ends
        start = max(self._next_free(), self._line[0].arrival)
        if not self._someone_gives_up:
            return min(ends, start)
        return min(ends, start, *(submission.give_up_at for submission in self._line))

    def _next_free(self) -> float:
        if self._idle_count:
            return -math.inf
        busy = self._free_at[self._near] if len(self._near) else self._free_at
        return float(busy.min())

    def _start_due(self, now: float) -> None:
        if not self._line:
            return
        due = self._take_due(now)
        while self._line and self._line[0].arrival <= now:
            if self._idle_count:
                due = self._start_idle(due, now)
            elif len(due):
                due = self._start_head(due, now)
            else:
                break
        self._rest(due)

    def _take_due(self, now: float) -> Senders:
        """The busy senders that are free by `now`, in the order in which they got free."""
        if now >= self._horizon:
            self._horizon = now + self._horizon_seconds
            self._near = np.flatnonzero((self._free_at < self._horizon) & ~self._is_idle)
        is_due = self._free_at[self._near] <= now
        due, self._near = self._near[is_due], self._near[~is_due]
        return self._in_order(due)

    def _start_idle(self, due: Senders, now: float) -> Senders:
        """Start messages of the first submission on idle senders; return those due afterwards.

        They were idle before it arrived, so all are alike, and start at its arrival.
        """
        head = self._line[0]
        if head.arrival > head.give_up_at:
            self._give_head_up(head.arrival)
            return due
        count = min(self._idle_count, head.waiting)
        self._idle_count -= count
        chosen = self._idle[self._idle_count : self._idle_count + count].copy()
        self._is_idle[chosen] = False
        finish = head.arrival + head.durations[head.started : head.started + count]
        return self._start(chosen, finish, due, now)

    def _start_head(self, due: Senders, now: float) -> Senders:
        """Start messages of the first submission on `due` senders; return those still due.

        `due` is sorted by when the senders got free. Taking them in that order is right until one
        of the messages just started ends before the next sender in order got free: there the
        order is made anew.
        """
        head = self._line[0]
        chosen = due[: head.waiting]
        free_at = self._free_at[chosen]
        start = np.maximum(free_at, head.arrival)
        in_time = int(np.searchsorted(start, head.give_up_at, side="right"))
        if not in_time:
            self._give_head_up(float(start[0]))
            return due
        finish = start[:in_time] + head.durations[head.started : head.started + in_time]
        right = self._right_prefix(free_at[:in_time], finish, head.arrival)
        return self._start(chosen[:right], finish[:right], due[right:], now)

    def _start(self, chosen: Senders, finish: Seconds, due: Senders, now: float) -> Senders:
        """Let `chosen` play messages of the first submission; those that end by `now` are due."""
        self._free_at[chosen] = finish
        head = self._line[0]
        head.start(finish)
        if not head.waiting:
            self._move_to_playing()
        soon = finish < self._horizon
        if not soon.any():
            return due
        again = finish <= now
        self._near = np.concatenate((self._near, chosen[soon & ~again]))
        return self._in_order(np.concatenate((due, chosen[again]))) if again.any() else due

    def _rest(self, due: Senders) -> None:
        """Senders that found nothing to do are idle; where messages still wait, there are none."""
        end = self._idle_count + len(due)
        self._idle[self._idle_count : end] = due
        self._is_idle[due] = True
        self._idle_count = end

    @staticmethod
    def _right_prefix(free_at: Seconds, finish: Seconds, arrival: float) -> int:
        earliest_finish = np.minimum.accumulate(finish[:-1])
        late = free_at[1:] > np.maximum(earliest_finish, arrival)
        return int(late.argmax()) + 1 if late.any() else len(free_at)

    def _in_order(self, senders: Senders) -> Senders:
        return senders[np.argsort(self._free_at[senders])]

    def _give_head_up(self, at: float) -> None:
        self._line[0].give_up(at)
        self._move_to_playing()

    def _give_up_late(self, now: float) -> None:
        """Give up what still waits after its time: all that could start by then has started."""
        late = [submission for submission in self._line if submission.give_up_at <= now]
        self._line = deque(item for item in self._line if item.give_up_at > now)
        for submission in late:
            submission.give_up(submission.give_up_at)
            self._play(submission)
        self._someone_gives_up = any(item.give_up_at < math.inf for item in self._line)

    def _move_to_playing(self) -> None:
        self._play(self._line.popleft())

    def _play(self, submission: Submission) -> None:
        self._submissions += 1
        heapq.heappush(self._playing, (submission.last_finish, self._submissions, submission))
