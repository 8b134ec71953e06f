"""The points of a run's charts. The report and the dashboard draw the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from sms_pipeline.core import histogram
from sms_pipeline.core.counts import Counts, of_messages
from sms_pipeline.core.events import Event
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.ledger.timeline import Bin, Timeline
from sms_pipeline.views.format import (
    duration,
    event_text,
    exact_percent,
    message_time,
    percent,
    rate,
    round_time,
)
from sms_pipeline.views.percentiles import percentiles, percentiles_on_phone

#: Bins in a timeline: few enough to tell them apart on a phone.
BINS = 120
#: A profile settles about two batches a second, so rates over less time than this are noise …
RATE_SECONDS = 1.0
#: … but in a short run batches are smaller, and it has at least so many stretches.
LEAST_STRETCHES = 5
#: Tolerance of rounding, in stretches.
_ROUNDING = 1e-9

#: Names of what is drawn, as people read them.
DELIVERED, NOT_DELIVERED, ATTEMPTS = "delivered", "not delivered", "attempts"
REACHED, FORECAST = "reached", "forecast"
DELIVERY_TIMES, ON_PHONE = "delivery times", "on the phone"
#: Instead of a chart, and of its summary.
NOTHING_YET = "Nothing has been settled yet."


class Stretch(NamedTuple):
    """Messages per second over a stretch of time, in seconds from the start of the run."""

    start: float
    end: float
    delivered: float
    #: Failed, expired and cancelled.
    not_delivered: float
    attempts: float

    @property
    def rates(self) -> dict[str, float]:
        """The rates by name."""
        return {
            DELIVERED: self.delivered,
            NOT_DELIVERED: self.not_delivered,
            ATTEMPTS: self.attempts,
        }

    @property
    def text(self) -> str:
        """What a chart says about it."""
        rates = ", ".join(f"{name} {rate(value)}" for name, value in self.rates.items())
        return f"{duration(self.start)} to {duration(self.end)}: {rates}"


class Reach(NamedTuple):
    """The share of all messages, 0 to 1, that was delivered by a moment."""

    seconds: float
    share: float

    @property
    def text(self) -> str:
        """What a chart says about it."""
        return f"{duration(self.seconds)}: {percent(self.share)} {REACHED}"


class Mark(NamedTuple):
    """The moment at which a chosen share was reached."""

    seconds: float
    share: float

    @property
    def text(self) -> str:
        """What a chart says about it."""
        return f"{exact_percent(self.share)} after {duration(self.seconds)}"


class Bar(NamedTuple):
    """Messages whose delivery time was between two times, in seconds."""

    shortest: float
    longest: float
    messages: int
    #: Of all messages that have a delivery time, 0 to 1.
    share: float

    @property
    def text(self) -> str:
        """What a chart says about it."""
        longest = round_time(self.longest)
        is_first = self.shortest < histogram.SHORTEST
        times = f"up to {longest}" if is_first else f"{round_time(self.shortest)} to {longest}"
        return f"{times}: {of_messages(self.messages)} ({percent(self.share)})"


class Band(NamedTuple):
    """A time in which something went wrong, in seconds from the start of the run."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Course:
    """Everything that is drawn of one run; empty where nothing is known yet."""

    #: Now, or the end of the run, seconds after its start.
    end: float
    throughput: tuple[Stretch, ...]
    reach: tuple[Reach, ...]
    marks: tuple[Mark, ...]
    #: What was forecast for the same configuration, until `end`; empty if nothing was.
    foretold: tuple[Reach, ...]
    delivery_times: tuple[Bar, ...]
    #: Seconds, by name.
    percentiles: dict[str, float]
    #: Those that have begun.
    bands: tuple[Band, ...] = ()
    #: The share that was on the phone, where senders have delivery receipts; from the histogram, so
    #: it is straight within a bucket.
    on_phone: tuple[Reach, ...] = ()
    on_phone_times: tuple[Bar, ...] = ()
    #: Seconds, by name.
    on_phone_percentiles: dict[str, float] = field(default_factory=dict)


def throughput_summary(course: Course) -> str:
    """What the chart of the throughput shows, in words."""
    if not course.throughput:
        return NOTHING_YET
    best = max(course.throughput, key=lambda one: one.delivered)
    return (
        f"At most {rate(best.delivered)} delivered, {duration(best.start)} to {duration(best.end)} "
        f"after the start; {duration(course.end)} in all."
    )


def reach_summary(course: Course) -> str:
    """What the chart of the reach shows, in words."""
    if not course.reach:
        return NOTHING_YET
    marks = [mark.text for mark in course.marks]
    last = course.reach[-1]
    bands = [band.text for band in course.bands]
    phone = [f"{percent(point.share)} {ON_PHONE} by then" for point in course.on_phone[-1:]]
    return f"{'; '.join([*marks, last.text, *phone, *bands])}."


def delivery_times_summary(course: Course) -> str:
    """What the chart of the delivery times shows, in words."""
    if not course.delivery_times:
        return NOTHING_YET
    told = _histogram_summary(course.percentiles, course.delivery_times)
    if not course.on_phone_times:
        return f"{told}."
    phone = _histogram_summary(course.on_phone_percentiles, course.on_phone_times)
    return f"{told}. {ON_PHONE.capitalize()}: {phone}."


def _histogram_summary(percentiles: Mapping[str, float], bars: Sequence[Bar]) -> str:
    named = [f"{name} {message_time(at)}" for name, at in percentiles.items()]
    most = max(bars, key=lambda bar: bar.share)
    return f"{', '.join(named)}; the largest bar: {most.text}"


def make_course(
    timeline: Timeline,
    seconds: float,
    counts: Counts,
    events: Sequence[Event] = (),
    foretold: Timeline | None = None,
) -> Course:
    """Make the points of a run.

    Args:
        timeline: the run in bins of time.
        seconds: from the start of the run to now, or to its end.
        counts: what its messages came to.
        events: what goes wrong in it.
        foretold: what was forecast for the same configuration, if anything was.
    """
    end = max(seconds, timeline.seconds)
    return Course(
        end=end,
        throughput=tuple(_throughput(timeline, end)) if timeline.bins else (),
        reach=tuple(_reach(timeline, end)) if timeline.bins else (),
        marks=tuple(
            Mark(at, share) for share, at in timeline.time_to_reach.items() if at is not None
        ),
        foretold=tuple(_foretold(foretold, end)) if foretold else (),
        delivery_times=tuple(_bars(counts.delivery_times)),
        percentiles=_known(percentiles(counts)),
        bands=tuple(_bands(timeline, end, events)),
        on_phone=tuple(_on_phone(counts.on_phone, timeline.total, end)),
        on_phone_times=tuple(_bars(counts.on_phone.times)),
        on_phone_percentiles=_known(percentiles_on_phone(counts)),
    )


def _known(times: Mapping[str, float | None]) -> dict[str, float]:
    return {name: at for name, at in times.items() if at is not None}


def _on_phone(known: OnPhone, total: int, end: float) -> Iterator[Reach]:
    """From 0 to `end`, though receipts may still come after that."""
    if not known.receipts:
        return
    buckets = sorted(bucket for bucket, messages in known.times.items() if messages)
    # Flat where a bucket is empty.
    ends = [at for bucket in buckets for at in histogram.bounds(bucket)]
    shares = [
        share / total
        for before, after in pairwise(accumulate((known.times[one] for one in buckets), initial=0))
        for share in (before, after)
    ]
    yield from _until(end, [Reach(0.0, 0.0), *map(Reach, ends, shares)])


def _bands(timeline: Timeline, end: float, events: Sequence[Event]) -> Iterator[Band]:
    for event in events:
        start, until = timeline.origin + event.at, timeline.origin + event.end
        if timeline.bins and start < end:
            times = f"{duration(start)} to {duration(until)}"
            yield Band(start, min(until, end), f"{times}: {event_text(event)}")


def _throughput(timeline: Timeline, end: float) -> list[Stretch]:
    """Stretches of at least `RATE_SECONDS`, or shorter ones of a short run, from 0 to `end`.

    The last one is longer when there is some time left over: as a stretch of its own it would look
    like a drop.
    """
    least = min(RATE_SECONDS, end / LEAST_STRETCHES)
    together = max(math.ceil(least / timeline.width - _ROUNDING), 1)
    width = together * timeline.width
    parts = [
        _sum(timeline.bins[first : first + together])
        for first in range(0, len(timeline.bins), together)
    ]
    passed = math.floor(end / width + _ROUNDING)
    whole = max(min(passed, len(parts)), 1)
    parts[whole - 1 :] = [_sum(parts[whole - 1 :])]
    stands_still = passed > whole
    last = whole * width if stands_still else max(end, timeline.width)
    ends = [*((number + 1) * width for number in range(whole - 1)), last]
    stretches = [
        _stretch(number * width, until, part)
        for number, (until, part) in enumerate(zip(ends, parts, strict=True))
    ]
    return [*stretches, _stretch(last, end, Bin())] if stands_still else stretches


def _stretch(start: float, end: float, part: Bin) -> Stretch:
    seconds = end - start
    not_delivered = part.failed + part.expired + part.cancelled
    return Stretch(
        start, end, part.delivered / seconds, not_delivered / seconds, part.attempts / seconds
    )


def _sum(bins: list[Bin] | tuple[Bin, ...]) -> Bin:
    return reduce(Bin.plus, bins)


def _reach(timeline: Timeline, end: float) -> list[Reach]:
    """From 0 to `end`, through every mark."""
    ends = [min((number + 1) * timeline.width, end) for number in range(len(timeline.bins))]
    shares = timeline.reached
    marks = [(at, share) for share, at in timeline.time_to_reach.items() if at is not None]
    points = {(0.0, 0.0), *zip(ends, shares, strict=True), *marks, (end, shares[-1])}
    return [Reach(*point) for point in sorted(points)]


def _foretold(foretold: Timeline, end: float) -> Iterator[Reach]:
    """Its curve from 0 to `end`, on which it stays where it ended before."""
    if not foretold.bins:
        return
    yield from _until(end, _reach(foretold, foretold.seconds))


def _until(end: float, points: Sequence[Reach]) -> Iterator[Reach]:
    at, shares = [point.seconds for point in points], [point.share for point in points]
    yield from (point for point in points if point.seconds < end)
    yield Reach(end, float(np.interp(end, at, shares)))


def _bars(counts: Mapping[int, int]) -> list[Bar]:
    total = sum(counts.values())
    return [
        Bar(
            histogram.upper_bound(bucket - 1),
            histogram.upper_bound(bucket),
            counts[bucket],
            counts[bucket] / total,
        )
        for bucket in sorted(counts)
        if counts[bucket]
    ]
