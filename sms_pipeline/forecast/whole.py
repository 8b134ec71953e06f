"""From a thinned run back to the whole one. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from sms_pipeline.core.checks import parse
from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.progress import Findings, Progress, Tracker
from sms_pipeline.core.records import Snapshot, WorkerRow
from sms_pipeline.core.retry import RetryPolicy, full_pause
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.rehearsal import Course
from sms_pipeline.forecast.setting import Setting, work_seconds
from sms_pipeline.forecast.thinning import settling_seconds, shares_of

#: A round of retries happens if at least so many messages are expected to need it.
_LIKELY = 0.5


def with_tail(course: Course, simulation: Simulation) -> Course:
    """The run with the rounds of retries that too few simulated messages came to.

    With a thousand times as many messages, some fail a few times more. Each such round is a pause
    and a send time, after all else has ended.
    """
    shares, last = shares_of(simulation), simulation.num_messages * _last_share(simulation)
    seconds = max(
        _tail(
            last * shares[profile.name],
            _last_attempt(course, profile.name),
            profile,
            simulation.retry,
        )
        for profile in simulation.senders
    )
    due = math.inf if simulation.deadline is None else simulation.deadline
    ended_at = max(min(course.seconds + seconds, due), course.seconds)
    return replace(course, snapshot=replace(course.snapshot, settled_at=EPOCH + ended_at))


def _last_attempt(course: Course, profile: str) -> int:
    """The attempt with which a profile ended."""
    return next((mark.attempt for mark in reversed(course.marks) if mark.profile == profile), 0)


def _last_share(simulation: Simulation) -> float:
    """Which share of the messages, 0 to 1, may still be retried when the last are sent."""
    seconds = work_seconds(simulation, 1)
    return min(1.0, settling_seconds(simulation) / seconds) if seconds else 1.0


def _tail(messages: float, seen: int, profile: SenderProfile, retry: RetryPolicy) -> float:
    seconds, attempt = 0.0, seen
    while (
        retry.allows_after(attempt)
        and messages * profile.failure_rate ** (attempt + 1) >= _LIKELY
        and profile.failure_rate < 1
    ):
        seconds += full_pause(retry, attempt) + profile.mean_time
        attempt += 1
    return seconds


def progress_of(course: Course, setting: Setting, simulation: Simulation) -> Progress:
    """A simulated run as a view would show it, with the counts of `simulation`."""
    snapshot = _whole(course.snapshot, setting, simulation)
    tracker = Tracker(worker.id for worker in snapshot.workers)
    checks = [parse(one.check) for one in simulation.thresholds]
    reached = {
        check.messages(snapshot.total): course.reached_after(check.share)
        for check in checks
        if check.share
    }
    findings = Findings(
        reached_at={count: EPOCH + at for count, at in reached.items() if at is not None},
        lost=0,
        doubled=0,
    )
    return tracker.update(snapshot, course.seconds, EPOCH + course.seconds, findings)


def _whole(snapshot: Snapshot, setting: Setting, simulation: Simulation) -> Snapshot:
    profiles = {profile.name: profile for profile in simulation.senders}
    thinned = {profile.name: profile.count for profile in setting.simulation.senders}
    merged = setting.merged
    counts = [
        _grown(part, setting.factor, merged * profiles[part.profile].count / thinned[part.profile])
        for part in snapshot.profiles
    ]
    return replace(
        snapshot,
        total=simulation.num_messages,
        simulation=simulation,
        profiles=tuple(map(_ended, _made_up(counts, simulation.num_messages))),
        workers=tuple(
            _as_configured(f"{row.id}-{number}", row, profiles[row.profile], snapshot)
            for row in snapshot.workers
            for number in range(merged)
        ),
    )


def _grown(counts: ProfileCounts, factor: float, senders: float) -> ProfileCounts:
    """With `factor` times the messages, at `senders` times the senders."""
    return replace(
        counts,
        delivered=round(counts.delivered * factor),
        failed=round(counts.failed * factor),
        expired=round(counts.expired * factor),
        retried=round(counts.retried * factor),
        handed_in=round(counts.handed_in * factor),
        handed_away=round(counts.handed_away * factor),
        send_seconds=counts.send_seconds * senders,
        delivery_seconds=counts.delivery_seconds * factor,
        transit_seconds=counts.transit_seconds * factor,
        delivery_times={
            bucket: round(messages * factor) for bucket, messages in counts.delivery_times.items()
        },
        on_phone=counts.on_phone.times_as_many(factor),
    )


def _made_up(parts: Sequence[ProfileCounts], total: int) -> list[ProfileCounts]:
    """What rounding has taken from the sum goes to the largest part."""
    left = total - sum(part.finished for part in parts)
    largest = max(parts, key=lambda part: part.delivered)
    return [
        replace(part, delivered=part.delivered + left) if part is largest else part
        for part in parts
    ]


def _ended(counts: ProfileCounts) -> ProfileCounts:
    """Everything that was dispatched has come to its end."""
    return replace(
        counts,
        dispatched=counts.finished + counts.handed_away - counts.handed_in,
        first_attempts=counts.finished + counts.handed_away - counts.handed_in,
        attempts=counts.finished + counts.retried,
    )


def _as_configured(
    id: str, row: WorkerRow, profile: SenderProfile, snapshot: Snapshot
) -> WorkerRow:
    seen_at = snapshot.settled_at or EPOCH
    return WorkerRow.playing(profile, id, row.heartbeat, row.joined_at, seen_at)
