"""The sender bank: N serial senders as one vectorised schedule. Pure; the caller has the clock."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Hashable

import numpy as np

from sms_pipeline.core.submission import (
    PLAIN,
    Finished,
    Outage,
    Seconds,
    Senders,
    Submission,
    Terms,
)

#: How far ahead busy senders are looked for. Longer: larger steps; shorter: more searches.
HORIZON_SECONDS = 0.1
#: So few senders take messages faster one after another than as an array …
FEW = 64
#: … so many messages at a time.
_IN_TURN = 256


class SenderBank:
    """N senders, each handling one message at a time, fed from one first-in first-out line.

    Urgent messages have a line of their own in front of it.

    A message goes to the sender that is free first and starts at
    max(that sender's last finish, the message's arrival), whenever `step` is called: the schedule
    does not depend on how often that is. Durations are known when messages are submitted, so one
    array of "free at" times is the whole state of the senders. One that an outage stops is busy
    until the outage ends.

    The cost of a step must not grow with the number of senders. Idle ones are on a stack. Of the
    busy ones, only the few that become free before a horizon are looked at; once it is passed, all
    are searched for those that become free before the next one.
    """

    def __init__(self, senders: int, horizon: float = HORIZON_SECONDS, few: int = FEW) -> None:
        """
        The schedule depends neither on `horizon` nor on `few`.

        Args:
            senders: how many.
            horizon: how far ahead busy senders are looked for, seconds; where there are few, all
                are looked at.
            few: so many that are due take messages one after another.
        """
        self._horizon_seconds = math.inf if senders <= few else horizon
        self._few = few
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
        #: Outages to come, with when each begins here, and those that were seen to come.
        self._outages: list[tuple[float, Outage]] = []
        self._announced: set[Outage] = set()

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
        self,
        key: Hashable,
        arrival: float,
        durations: Seconds,
        give_up_at: float = math.inf,
        terms: Terms = PLAIN,
    ) -> Submission:
        """Put messages in line; `arrival` must not be before an earlier submission or step.

        Those that no sender can start by `give_up_at` are not sent. An outage is of the senders:
        it stops them for all submissions, as long as one that brought it waits in line.
        """
        submission = Submission(key, arrival, durations, give_up_at, terms)
        place = self._place(submission)
        self._line.insert(place, submission)
        self._someone_gives_up |= submission.give_up_at < math.inf
        for outage in terms.outages:
            self._announce(outage, arrival)
        return submission

    def _place(self, submission: Submission) -> int:
        """What is urgent goes behind what is urgent, too, and in front of all else."""
        if not submission.urgent:
            return len(self._line)
        # Senders that got free before it came have taken what waited then.
        if (before := math.nextafter(submission.arrival, -math.inf)) > self._stepped_to:
            self._pass_until(before)
        return sum(one.urgent for one in self._line)

    def _announce(self, outage: Outage, now: float) -> None:
        if outage.end > now and outage not in self._announced:
            self._announced.add(outage)
            heapq.heappush(self._outages, (max(outage.start, now), outage))

    def step(self, now: float) -> list[Finished]:
        """Start everything that can start by `now`; return the submissions ended by then."""
        self._pass_until(now)
        finished = []
        while self._playing and self._playing[0][0] <= now:
            finished.append(heapq.heappop(self._playing)[2].finished())
        return finished

    def _pass_until(self, now: float) -> None:
        while self._outages and self._outages[0][0] <= now:
            start, outage = heapq.heappop(self._outages)
            # What would start at its first moment does not.
            if (before := math.nextafter(start, -math.inf)) > self._stepped_to:
                self._play_until(before)
            self._begin(outage, start)
        self._play_until(now)

    def _begin(self, outage: Outage, now: float) -> None:
        """Keep the first senders busy until it ends; nobody, if it is of none that wait."""
        self._announced = {one for one in self._announced if one.end > now}
        if not any(outage in submission.outages for submission in self._line):
            self._announced.discard(outage)
            return
        stopped = math.floor(outage.share * self.senders + 0.5)
        self._free_at[:stopped] = np.maximum(self._free_at[:stopped], outage.end)
        self._is_idle[:stopped] = False
        idle = self._idle[: self._idle_count]
        idle = idle[idle >= stopped]
        self._idle[: len(idle)] = idle
        self._idle_count = len(idle)
        # Who is free before the horizon has changed.
        self._horizon = -math.inf

    def _play_until(self, now: float) -> None:
        # A step that comes late covers the time in short strides. In one stride of several seconds
        # each sender would end several messages, and all would be sorted again for every batch of
        # them: the step would take longer than it was late, and the next one would be later still.
        while self._line and self._stepped_to + self._horizon_seconds < now:
            self._advance(
                max(self._stepped_to + self._horizon_seconds, min(self.next_event(), now))
            )
        self._advance(now)

    def _advance(self, now: float) -> None:
        self._stepped_to = now
        self._start_due(now)
        if self._someone_gives_up:
            self._give_up_late(now)

    def next_end(self) -> float:
        """When the first submission ends whose messages have all started; infinity without one."""
        return self._playing[0][0] if self._playing else math.inf

    def sending_seconds(self) -> float:
        """How long the senders have with what waits of the first in line, if nothing stops them."""
        return float(self._line[0].occupies().sum()) / self.senders if self._line else 0.0

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
                start = self._start_in_turn if self._is_quick_in_turn(due) else self._start_head
                due = start(due, now)
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
        finish, free = head.ends(head.arrival, count)
        return self._start(chosen, head.arrival, finish, free, due, now)

    def _start_head(self, due: Senders, now: float) -> Senders:
        """Start messages of the first submission on `due` senders; return those still due.

        `due` is sorted by when the senders got free. Taking them in that order is right until one
        of them is free again before the next sender in order got free: there the order is made
        anew.
        """
        head = self._line[0]
        chosen = due[: head.waiting]
        free_at = self._free_at[chosen]
        start = np.maximum(free_at, head.arrival)
        in_time = int(np.searchsorted(start, head.give_up_at, side="right"))
        if not in_time:
            self._give_head_up(float(start[0]))
            return due
        finish, free = head.ends(start[:in_time], in_time)
        right = self._right_prefix(free_at[:in_time], free, head.arrival)
        return self._start(
            chosen[:right], start[:right], finish[:right], free[:right], due[right:], now
        )

    def _is_quick_in_turn(self, due: Senders) -> bool:
        return len(due) <= self._few and self._line[0].takes_as_long_at_any_time

    def _start_in_turn(self, due: Senders, now: float) -> Senders:
        """As `_start_head`, one message after another: no order is made anew."""
        head = self._line[0]
        # Sorted, so it is a heap.
        senders = list(zip(self._free_at[due].tolist(), due.tolist(), strict=True))
        arrival, latest = head.arrival, min(now, head.give_up_at)
        starts = []
        for seconds in head.occupies(_IN_TURN).tolist():
            start, sender = senders[0]
            if start < arrival:
                start = arrival
            if start > latest:
                break
            starts.append(start)
            heapq.heapreplace(senders, (start + seconds, sender))
        if not starts:
            self._give_head_up(max(senders[0][0], arrival))
            return due
        start_times = np.array(starts)
        head.start(start_times, head.ends(start_times, len(starts))[0])
        if not head.waiting:
            self._move_to_playing()
        return self._back_at(senders, now)

    def _back_at(self, senders: list[tuple[float, int]], now: float) -> Senders:
        """Note when senders get free again; return those that are free by `now`, in that order."""
        senders.sort()
        chosen = np.array([sender for _, sender in senders])
        free = np.array([free_at for free_at, _ in senders])
        self._free_at[chosen] = free
        again = int(np.searchsorted(free, now, side="right"))
        soon = int(np.searchsorted(free, self._horizon))
        self._near = np.concatenate((self._near, chosen[again:soon]))
        return chosen[:again]

    def _start(
        self,
        chosen: Senders,
        start: Seconds | float,
        finish: Seconds,
        free: Seconds,
        due: Senders,
        now: float,
    ) -> Senders:
        """Let `chosen` play messages of the first submission; those free again by `now` are due."""
        self._free_at[chosen] = free
        head = self._line[0]
        head.start(start, finish)
        if not head.waiting:
            self._move_to_playing()
        soon = free < self._horizon
        if not soon.any():
            return due
        again = free <= now
        self._near = np.concatenate((self._near, chosen[soon & ~again]))
        return self._in_order(np.concatenate((due, chosen[again]))) if again.any() else due

    def _rest(self, due: Senders) -> None:
        """Senders that found nothing to do are idle; where messages still wait, there are none."""
        end = self._idle_count + len(due)
        self._idle[self._idle_count : end] = due
        self._is_idle[due] = True
        self._idle_count = end

    @staticmethod
    def _right_prefix(free_at: Seconds, free_again: Seconds, arrival: float) -> int:
        earliest = np.minimum.accumulate(free_again[:-1])
        late = free_at[1:] > np.maximum(earliest, arrival)
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
