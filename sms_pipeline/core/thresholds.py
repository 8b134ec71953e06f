"""Whether a run meets its thresholds, as far as can be told now. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from sms_pipeline.core import histogram
from sms_pipeline.core.checks import PERCENT, Check
from sms_pipeline.core.counts import Counts


class State(StrEnum):
    """How a check stands."""

    #: It holds as seen now.
    HOLDING = "holding"
    #: The run is done, and it held.
    PASSED = "passed"
    #: It can no longer hold, whatever happens.
    MISSED = "missed"
    #: It does not hold now, or nothing was seen yet; that can still change.
    UNKNOWN = "not yet known"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a run at one moment."""

    total: int
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    #: Seconds until so many messages were delivered, for those numbers that were looked up.
    reached: Mapping[int, float] = field(default_factory=dict)
    #: From the audit; None before it.
    lost: int | None = None
    doubled: int | None = None

    @property
    def left(self) -> int:
        """Messages that are not in a terminal state."""
        return self.total - self.counts.finished

    @property
    def done(self) -> bool:
        """Nothing can change any more."""
        return self.left <= 0


class Range(NamedTuple):
    """A value as seen now (None: nothing seen), and where it can still end."""

    seen: float | None
    low: float
    high: float

    @classmethod
    def final(cls, value: float | None) -> Range:
        """A value that can't change any more; what was never measured satisfies no check."""
        bound = math.nan if value is None else value
        return cls(value, bound, bound)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A check as it stands."""

    check: Check
    state: State
    seen: float | None
    #: Whether missing it ends the run.
    abort: bool = False

    @property
    def seen_text(self) -> str:
        """What was seen, in words and in the limit's own unit, or a smaller one."""
        return self.check.seen(self.seen)

    def at_the_end(self) -> Judgement:
        """Of a run that is done: passed, or else missed."""
        held = self.state in (State.HOLDING, State.PASSED)
        return replace(self, state=State.PASSED if held else State.MISSED)

    def to_json(self) -> dict[str, object]:
        """An entry of the field `thresholds`; shares are 0 to 1, times seconds."""
        seen = None if self.seen is None else round(self.seen, 6)
        return {"check": self.check.text, "state": self.state.value, "seen": seen}


def judge(check: Check, evidence: Evidence, abort: bool = False) -> Judgement:
    """How the check stands on this evidence."""
    value = _measure(check, evidence)
    return Judgement(check, _state(check, value), value.seen if value else None, abort)


def _state(check: Check, value: Range | None) -> State:
    if value is None:
        return State.UNKNOWN
    if not _can_hold(check, value):
        return State.MISSED
    if value.seen is not None and check.keeps(value.seen):
        return State.HOLDING
    return State.UNKNOWN


def _can_hold(check: Check, value: Range) -> bool:
    if check.comparison == "==":
        return value.low <= check.limit <= value.high
    best = value.low if check.comparison.startswith("<") else value.high
    return check.keeps(best)


# Measuring


def _measure(check: Check, evidence: Evidence) -> Range | None:
    """None: can't be known yet."""
    value = _MEASURES[check.metric](check, evidence)
    if value is None or not evidence.done:
        return value
    return Range.final(value.seen)


def _ended(check: Check, evidence: Evidence) -> Range:
    """Messages in one terminal state: they never get fewer, and what is left may join them."""
    return _growing(check, evidence, getattr(evidence.counts, check.metric))


def _without_receipt(check: Check, evidence: Evidence) -> Range:
    return _growing(check, evidence, evidence.counts.on_phone.missing)


def _growing(check: Check, evidence: Evidence, count: int) -> Range:
    whole = evidence.total if check.unit == "%" else 1
    return Range(count / whole, count / whole, (count + evidence.left) / whole)


def _failed_attempts(check: Check, evidence: Evidence) -> Range:
    if check.unit != "%":
        return Range(evidence.counts.failed_attempts, evidence.counts.failed_attempts, math.inf)
    return Range(evidence.counts.failure_rate, 0.0, 1.0)


def _mean_send(_check: Check, evidence: Evidence) -> Range:
    return Range(evidence.counts.mean_send, 0.0, math.inf)


def _mean_delivery(_check: Check, evidence: Evidence) -> Range:
    """At best all that is left takes no time."""
    counts = evidence.counts
    best = counts.delivery_seconds / max(counts.timed + evidence.left, 1)
    return Range(counts.mean_delivery, best, math.inf)


def _percentile(check: Check, evidence: Evidence) -> Range:
    counts = evidence.counts
    return _least_percentile(check, evidence, counts.delivery_times, counts.longest_delivery)


def _percentile_on_phone(check: Check, evidence: Evidence) -> Range:
    on_phone = evidence.counts.on_phone
    return _least_percentile(check, evidence, on_phone.times, on_phone.longest)


def _least_percentile(
    check: Check, evidence: Evidence, times: Mapping[int, int], longest: float
) -> Range:
    """At best all that is left falls into the first bucket, at worst into none."""
    share = int(check.metric.split()[0].removeprefix("p")) / PERCENT
    best = {**times, 0: times.get(0, 0) + max(evidence.left, 0)}
    return Range(
        histogram.percentile(times, share, longest),
        histogram.percentile(best, share, longest) or 0.0,
        math.inf,
    )


def _duration(_check: Check, evidence: Evidence) -> Range:
    return Range(evidence.seconds, evidence.seconds, math.inf)


def _average_rate(_check: Check, evidence: Evidence) -> Range:
    """At best all that is left ends now."""
    if not evidence.seconds:
        return Range(None, 0.0, math.inf)
    timed = evidence.counts.timed
    high = (timed + evidence.left) / evidence.seconds
    return Range(timed / evidence.seconds, 0.0, high)


def _reached(check: Check, evidence: Evidence) -> Range | None:
    needed = check.messages(evidence.total)
    if needed in evidence.reached:
        return Range.final(evidence.reached[needed])
    if evidence.counts.delivered >= needed:
        return None
    if evidence.counts.delivered + evidence.left < needed:
        return Range.final(None)
    return Range(None, evidence.seconds, math.inf)


def _audited(check: Check, evidence: Evidence) -> Range | None:
    count: int | None = getattr(evidence, check.metric)
    return None if count is None else Range.final(count)


_MEASURES: dict[str, Callable[[Check, Evidence], Range | None]] = {
    **dict.fromkeys(("delivered", "failed", "expired", "cancelled"), _ended),
    "failed attempts": _failed_attempts,
    "mean send": _mean_send,
    "mean delivery": _mean_delivery,
    **dict.fromkeys(("p50 delivery", "p95 delivery", "p99 delivery"), _percentile),
    **dict.fromkeys(("p50 on phone", "p95 on phone", "p99 on phone"), _percentile_on_phone),
    "without receipt": _without_receipt,
    "average rate": _average_rate,
    "duration": _duration,
    "reached": _reached,
    **dict.fromkeys(("lost", "doubled"), _audited),
}
