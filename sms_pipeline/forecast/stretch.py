"""The middle of a run that was left out, put back in. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from sms_pipeline.core import histogram
from sms_pipeline.core.counts import ProfileCounts
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.rehearsal import Course, Mark

#: The middle of a simulated run, as shares of its messages.
_FROM, _TO = 0.35, 0.65
#: The first numbers of a mark are counts.
_COUNTS = 3
#: What is put in is settled in so many steps for each profile.
_STEPS = 200


def rate_of(course: Course) -> float:
    """Messages a second that came to their end in the middle of a run: the slope of a line."""
    marks = course.marks
    ended = np.array(list(accumulate(mark.ended for mark in marks)))
    at = np.array([mark.at for mark in marks])
    middle = (ended >= _FROM * ended[-1]) & (ended <= _TO * ended[-1])
    slope, _ = np.polyfit(at[middle], ended[middle], 1)
    return float(slope)


def stretched(course: Course, left_out: int, rate: float) -> Course:
    """The run with `left_out` more messages in its middle, ended at `rate` a second."""
    marks = _middle(course.marks)
    # It is put in where the middle is half over.
    gap = _Gap(marks[len(marks) // 2].at, left_out / rate)
    share = left_out / sum(mark.ended for mark in marks)
    added = [mark for name in _names(course) for mark in gap.filled(name, marks, share)]
    snapshot = course.snapshot
    later = (mark._replace(at=gap.later(mark.at)) for mark in course.marks)
    return replace(
        course,
        snapshot=replace(
            snapshot,
            total=snapshot.total + left_out,
            profiles=tuple(gap.widened(part, added) for part in snapshot.profiles),
            settled_at=EPOCH + gap.later(course.seconds),
        ),
        marks=tuple(sorted([*later, *added])),
    )


def _names(course: Course) -> list[str]:
    return [part.profile for part in course.snapshot.profiles]


def _middle(marks: Sequence[Mark]) -> list[Mark]:
    ended = list(accumulate(mark.ended for mark in marks))
    low, high = _FROM * ended[-1], _TO * ended[-1]
    return [mark for mark, sofar in zip(marks, ended, strict=True) if low <= sofar <= high]


@dataclass(frozen=True, slots=True)
class _Gap:
    """A time that is put into a run."""

    #: Seconds after the start …
    at: float
    #: … for so long.
    seconds: float

    def later(self, moment: float) -> float:
        """A moment of the simulated run in the whole run."""
        return moment if moment <= self.at else moment + self.seconds

    def filled(self, profile: str, middle: Sequence[Mark], share: float) -> Iterator[Mark]:
        """What a profile settles meanwhile: `share` times what it settled in the middle."""
        mine = [mark for mark in middle if mark.profile == profile]
        if not mine:
            return
        sums = [
            share * sum(values) for values in zip(*(mark.numbers for mark in mine), strict=True)
        ]
        before = [0.0] * len(sums)
        for step in range(1, _STEPS + 1):
            now = [round(value * step / _STEPS) for value in sums[:_COUNTS]]
            now += [value * step / _STEPS for value in sums[_COUNTS:]]
            more = [new - old for new, old in zip(now, before, strict=True)]
            yield Mark(self.at + self.seconds * step / _STEPS, profile, 0, *more)
            before = now

    def widened(self, counts: ProfileCounts, added: Sequence[Mark]) -> ProfileCounts:
        """The sums of a profile, with what was added."""
        mine = [mark for mark in added if mark.profile == counts.profile]
        ended = sum(mark.ended for mark in mine)
        delivered = sum(mark.delivered for mark in mine)
        times, more_seconds = self._widened_times(counts.delivery_times, ended)
        return replace(
            counts,
            delivered=counts.delivered + delivered,
            failed=counts.failed + sum(mark.failed for mark in mine),
            retried=counts.retried + sum(mark.retried for mark in mine),
            send_seconds=counts.send_seconds + sum(mark.send_seconds for mark in mine),
            transit_seconds=counts.transit_seconds + sum(mark.transit_seconds for mark in mine),
            delivery_seconds=counts.delivery_seconds + more_seconds,
            longest_delivery=self.later(counts.longest_delivery),
            delivery_times=times,
            on_phone=self._widened_receipts(counts, delivered),
        )

    def _widened_receipts(self, counts: ProfileCounts, delivered: int) -> OnPhone:
        """As many messages come to the phone as are delivered, but so much later."""
        on_phone, sent_at = counts.on_phone, counts.mean_delivery
        if not on_phone.delivered or sent_at is None:
            return on_phone
        missing = round(delivered * on_phone.missing / on_phone.delivered)
        lag = 0.0 if on_phone.mean is None else on_phone.mean - sent_at
        there = replace(self, at=self.at + lag)
        times, more_seconds = there._widened_times(on_phone.times, delivered - missing)
        return OnPhone(
            receipts=sum(times.values()),
            missing=on_phone.missing + missing,
            seconds=on_phone.seconds + more_seconds,
            longest=self.later(on_phone.longest),
            times=times,
        )

    def _widened_times(self, counts: dict[int, int], added: float) -> tuple[dict[int, int], float]:
        """A histogram with so many more, evenly spread over the gap; how much its sum grows."""
        before, after = self._split(counts)
        times = Counter[int]()
        times.update(before)
        times.update(histogram.spread(added, self.at, self.at + self.seconds))
        for bucket, messages in after.items():
            if messages:
                low, high = (self.seconds + bound for bound in histogram.bounds(bucket))
                times.update(histogram.spread(messages, max(low, self.at + self.seconds), high))
        more_seconds = self.seconds * sum(after.values()) + added * (self.at + self.seconds / 2)
        return {bucket: round(number) for bucket, number in times.items()}, more_seconds

    def _split(self, counts: dict[int, int]) -> tuple[dict[int, float], dict[int, float]]:
        """Delivery times before the gap and after it; those of its bucket are evenly spread."""
        before, after = {}, {}
        for bucket, messages in counts.items():
            low, high = histogram.bounds(bucket)
            share = min(max((self.at - low) / (high - low), 0.0), 1.0)
            before[bucket], after[bucket] = messages * share, messages * (1 - share)
        return before, after
