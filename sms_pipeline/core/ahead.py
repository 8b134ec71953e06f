"""What a run has in front of it, from a reading of its records. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from typing import NamedTuple

from sms_pipeline.core.bad_day import BadDay
from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.events import Event, Spell, spells_for, spells_of
from sms_pipeline.core.failover import profile_of
from sms_pipeline.core.liveness import SURVEY_SECONDS
from sms_pipeline.core.rates import Pace
from sms_pipeline.core.records import Control, Retrying, Snapshot, WorkerRow, mean_failure_rate
from sms_pipeline.core.remaining import Ahead, Part, Waiting, seconds_left
from sms_pipeline.core.retry import retry_delay
from sms_pipeline.core.run_state import RunState

#: The time left is reckoned anew after this part of it, and between these times (seconds); until
#: then it is what was told less what has passed. In a second much happens to a run of five.
_RECKONED_SHARE, LEAST_RECKONED, MOST_RECKONED = 0.05, 0.25, 1.0
#: The failure rate that is set counts as so many attempts; then those that were seen outweigh it.
_SET_ATTEMPTS = 100
#: Retries that are due within the same part of a second are one.
_GRAIN_SECONDS = 0.25
#: Senders that are watched for so long …
_WATCHED_SECONDS = 3.0
#: … and whose batches come in much less than that …
_LUMP_SECONDS = 1.5
#: … and that make less than this share of what they could, are held up by the machine.
_HELD_UP = 0.8


class Moment(NamedTuple):
    """Now."""

    #: On a clock that only moves forward.
    now: float
    #: Seconds since the epoch.
    wall: float


#: States in which a run gets on.
_MOVING = (RunState.RUNNING, RunState.CANCELLED)


class _Told(NamedTuple):
    """The time left, and at which moment's `now` it was reckoned."""

    seconds: float
    at: float


class TimeLeft:
    """How long a run will still take, as one reader tells it from reading to reading."""

    def __init__(self) -> None:
        self._told: _Told | None = None

    def tell(
        self,
        snapshot: Snapshot,
        state: RunState,
        online: Sequence[WorkerRow],
        retrying: Iterable[Retrying],
        pace: Pace,
        moment: Moment,
        origin: float | None = None,
    ) -> float | None:
        """Seconds until every message is at its end; None if that is not known or never happens.

        Args:
            snapshot: the counters.
            state: how the run stands.
            online: workers that are there.
            retrying: batches whose messages are retried; what is missing among them is due now.
            pace: how fast it went lately.
            moment: now.
            origin: when the first batch was dispatched, seconds since the epoch; None before that.
        """
        if snapshot.done:
            return 0.0
        if state not in _MOVING:
            self._told = None
            return None
        told = self._told
        if told is None or moment.now - told.at >= reckoned_after(told.seconds):
            ahead = ahead_of(snapshot, online, retrying, moment.wall, pace, origin)
            seconds = _within_hours(snapshot, seconds_left(ahead), moment.wall)
            self._told = told = None if seconds is None else _Told(seconds, moment.now)
        return None if told is None else max(told.seconds - (moment.now - told.at), 0.0)


def reckoned_after(told: float | None) -> float:
    """Seconds after which the time left that was told is reckoned anew."""
    if told is None:
        return MOST_RECKONED
    return min(max(told * _RECKONED_SHARE, LEAST_RECKONED), MOST_RECKONED)


def _within_hours(snapshot: Snapshot, seconds: float | None, wall: float) -> float | None:
    """How long so many seconds of a run take, if it has hours in which they must pass."""
    window = snapshot.simulation.window
    if seconds is None or window is None:
        return seconds
    return min(window.seconds_for(seconds, wall), _due_in(snapshot, wall))


def next_retry(snapshot: Snapshot, retrying: Iterable[Retrying], wall: float) -> float | None:
    """Seconds until the next message is tried again, if nothing else is left and none is due."""
    counts = snapshot.counts
    if counts.dispatched < snapshot.total or counts.backlog or not counts.retrying:
        return None
    soonest = min((due_at(snapshot, one) - wall for one in retrying), default=0.0)
    return soonest if soonest > 0 else None


def ahead_of(
    snapshot: Snapshot,
    online: Sequence[WorkerRow],
    retrying: Iterable[Retrying],
    wall: float,
    pace: Pace,
    origin: float | None = None,
) -> Ahead:
    """What is left of a run, and who is there to do it."""
    waits = _waits(snapshot, retrying, wall)
    events = spells_of(snapshot.simulation.events, wall if origin is None else origin)
    parts, adrift, is_usual = list[Part](), list[Part](), True
    served = {worker.profile for worker in online}
    may_take_over = _may_take_over(snapshot, served)
    for counts in snapshot.profiles:
        mine = [worker for worker in online if worker.profile == counts.profile]
        part = _part(snapshot, counts, mine, waits[counts.profile], pace.attempts_rate)
        if not mine and may_take_over:
            adrift.append(part)
            continue
        spells = spells_for(counts.profile, events)
        is_usual &= not _were_slow(part, spells, pace.attempts_seconds, wall)
        parts.append(_on_bad_day(part, spells, wall))
    # What an event keeps senders from is not the machine's fault.
    is_busy = _backlog_of(snapshot, served) > sum(worker.senders for worker in online)
    usage = _usage(parts, pace) if is_usual and is_busy else 1.0
    parts = [replace(part, rate=part.rate * usage) for part in parts]
    idle = not any(part.has_work for part in parts)
    return Ahead(
        undispatched=snapshot.total - snapshot.counts.dispatched,
        parts=tuple(_taking_over(parts, [one for part in adrift for one in part.waiting])),
        retry=snapshot.simulation.retry,
        due_in=_due_in(snapshot, wall),
        rate=snapshot.simulation.rate or math.inf,
        adrift=sum(part.untried for part in adrift),
        taken_after=_taken_after(snapshot, served, wall, idle),
    )


def _taken_after(snapshot: Snapshot, served: Set[str], wall: float, idle: bool) -> float:
    """How long workers that have nothing to do look on before they take over; 0 if they do.

    `idle` is whether those of the profiles that are served have nothing to do by now.
    """
    failover = snapshot.simulation.failover
    has_begun = any(
        counts.handed_away for counts in snapshot.profiles if counts.profile not in served
    )
    if failover is None or failover.unattended is None or has_begun:
        return 0.0
    since = (snapshot.settled_at or snapshot.started_at) if idle else wall
    return max(SURVEY_SECONDS + failover.unattended - max(wall - since, 0.0), 0.0)


def _may_take_over(snapshot: Snapshot, served: Set[str]) -> bool:
    """Whether there are workers for the messages of a profile that has none."""
    failover = snapshot.simulation.failover
    can_send = any(sender.name in served for sender in snapshot.simulation.senders)
    return can_send and failover is not None and failover.unattended is not None


def _taking_over(parts: list[Part], retries: Iterable[Waiting]) -> Iterator[Part]:
    """Profiles with their share of the retries of those that have no workers."""
    together = sum(part.rate for part in parts)
    for part in parts:
        share = part.rate / together if together else 1.0
        taken = [one._replace(messages=one.messages * share) for one in retries if share]
        yield replace(part, waiting=(*part.waiting, *taken))


def due_at(snapshot: Snapshot, one: Retrying) -> float:
    """When the pause of a retry is over, seconds since the epoch."""
    key = (snapshot.run, one.batch, one.attempt)
    return one.settled_at + retry_delay(snapshot.simulation.retry, snapshot.seed, key)


def _due_in(snapshot: Snapshot, wall: float) -> float:
    if snapshot.control is Control.CANCELLED:
        return 0.0
    deadline = snapshot.simulation.deadline
    return math.inf if deadline is None else max(snapshot.started_at + deadline - wall, 0.0)


def _waits(
    snapshot: Snapshot, retrying: Iterable[Retrying], wall: float
) -> dict[str, Counter[tuple[int, float]]]:
    """By profile: how many messages wait for which attempt, due in how many seconds."""
    found = defaultdict[str, Counter[tuple[int, float]]](Counter)
    failover = snapshot.simulation.failover
    for one in retrying:
        due_in = max(due_at(snapshot, one) - wall, 0.0)
        due_in = round(due_in / _GRAIN_SECONDS) * _GRAIN_SECONDS
        profile = profile_of(one.home, one.attempt + 1, failover)
        found[profile][one.attempt + 1, due_in] += one.messages
    return found


def _part(
    snapshot: Snapshot,
    counts: ProfileCounts,
    mine: Sequence[WorkerRow],
    waits: Counter[tuple[int, float]],
    seen_rate: float,
) -> Part:
    senders = sum(worker.senders for worker in mine)
    capacity = sum(worker.capacity for worker in mine)
    endless = math.isinf(capacity)
    simulation = snapshot.simulation
    profile = next((one for one in simulation.senders if one.name == counts.profile), None)
    return Part(
        untried=counts.backlog,
        # Where sending takes no time, the machine alone decides.
        rate=seen_rate if endless else capacity,
        mean_time=0.0 if endless or not capacity else senders / capacity,
        shape=mine[0].shape if mine else 1.0,
        failure_rate=_failure_rate(counts, mean_failure_rate(mine), simulation.events),
        batch_size=simulation.batch_size_for(profile) if profile else 1,
        waiting=_waiting(counts.retrying, waits),
    )


def _waiting(retrying: int, waits: Counter[tuple[int, float]]) -> tuple[Waiting, ...]:
    """As many as the counters say; those of which nothing else is known are due."""
    if not retrying:
        return ()
    missing = retrying - waits.total()
    if missing > 0:
        waits[1, 0.0] += missing
    return tuple(Waiting(attempt, messages, at) for (attempt, at), messages in waits.items())


def _failure_rate(counts: ProfileCounts, as_set: float, events: Iterable[Event]) -> float:
    """As seen; before much is seen, as it is set. What was seen on a bad day tells nothing."""
    if any(one.failure_rate is not None and one.hits(counts.profile) for one in events):
        return as_set
    seen = counts.failed_attempts + _SET_ATTEMPTS * as_set
    return min(seen / (counts.attempts_made + _SET_ATTEMPTS), 1.0)


def _on_bad_day(part: Part, spells: Iterable[Spell], wall: float) -> Part:
    return replace(part, bad_day=BadDay.of(spells, wall, part.mean_time, part.shape))


def _were_slow(part: Part, spells: Iterable[Spell], seconds: float, wall: float) -> bool:
    """Whether an event kept senders from their work in the last seconds that were watched."""
    # What was settled first was sent before.
    seconds += _LUMP_SECONDS
    day = BadDay.of(spells, wall - seconds, part.mean_time, part.shape)
    return day.work(seconds) < seconds


def _backlog_of(snapshot: Snapshot, served: Set[str]) -> int:
    """Messages that wait for senders that are there."""
    return sum(counts.backlog for counts in snapshot.profiles if counts.profile in served)


def _usage(parts: Iterable[Part], pace: Pace) -> float:
    """Which share of what busy senders can do, 0 to 1, the machine lets them do."""
    active = [part for part in parts if part.rate]
    lumpy = any(part.mean_time + part.batch_size / part.rate > _LUMP_SECONDS for part in active)
    if not active or lumpy or pace.attempts_seconds < _WATCHED_SECONDS:
        return 1.0
    share = pace.attempts_rate / sum(part.rate for part in active)
    return share if 0 < share < _HELD_UP else 1.0
