"""A forecast as the records of a run, so that every view shows it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sms_pipeline.core.counts import Counts
from sms_pipeline.core.progress import ProfileProgress
from sms_pipeline.core.records import BatchRow, Run, Settlement
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.forecast.outlook import Outlook
from sms_pipeline.forecast.rehearsal import Mark

#: Stretches of time in each of which what a profile ended is one batch.
_STRETCHES = 400
#: Nobody looks at which messages of a forecast are retried.
_SOME = b"\x01"


def as_forecast(simulation: Simulation) -> Simulation:
    """The configuration of a run that was forecast."""
    return simulation.model_copy(update={"messages_from": "forecast"})


def records_of(outlook: Outlook, run: Run) -> tuple[list[BatchRow], list[Settlement]]:
    """Batches and settlements that come to what was forecast.

    Args:
        outlook: the forecast.
        run: the run that holds it.
    """
    steps = sorted(step for part in outlook.progress.profiles for step in _steps(outlook, part))
    firsts = accumulate((step.ended for step in steps), initial=0)
    rows, settlements = list[BatchRow](), list[Settlement]()
    for number, (step, first) in enumerate(zip(steps, firsts, strict=False)):
        at = run.started_at + step.at
        rows.append(BatchRow(run.id, number, step.profile, first, step.ended, at))
        worker = f"forecast-{number % (outlook.workers or 1) + 1}"
        settlements += _attempts(step, (run.id, number), worker, at)
    return rows, [*_with_times(settlements, outlook)]


class _Step(NamedTuple):
    """What a profile ended in a stretch of time. Counts are messages."""

    at: float
    profile: str
    delivered: int
    failed: int
    expired: int
    retried: int

    @property
    def ended(self) -> int:
        return self.delivered + self.failed + self.expired


def _steps(outlook: Outlook, part: ProfileProgress) -> Iterator[_Step]:
    """Those of a profile; they come to its counts."""
    counts, end = part.counts, outlook.progress.seconds
    if not counts.finished:
        return
    marks = [mark for mark in outlook.marks if mark.profile == part.name]
    ends = [*(end * number / _STRETCHES for number in range(1, _STRETCHES)), end]
    last = np.searchsorted([mark.at for mark in marks], ends, side="right")
    sums = {name: _sums(marks, last, counts, name) for name in ("delivered", "failed", "retried")}
    before = dict.fromkeys(sums, 0)
    for place, at in enumerate(ends):
        now = {name: column[place] for name, column in sums.items()}
        expired = counts.expired if place == _STRETCHES - 1 else 0
        step = _Step(
            at,
            part.name,
            now["delivered"] - before["delivered"],
            now["failed"] - before["failed"],
            expired,
            now["retried"] - before["retried"],
        )
        # Retries alone are no batch: they count with the next that ends something.
        if step.ended:
            yield step
            before = now


def _sums(marks: Sequence[Mark], last: NDArray[np.intp], counts: Counts, name: str) -> list[int]:
    """How many there were by the end of each stretch, as a part of all in the counts."""
    seen = [0, *accumulate(getattr(mark, name) for mark in marks)]
    total = getattr(counts, name)
    sums = [round(seen[place] / seen[-1] * total) if seen[-1] else 0 for place in last]
    return [*sums[:-1], total]


def _attempts(
    step: _Step, batch: tuple[int, int], worker: str, settled_at: float
) -> Iterator[Settlement]:
    """A first attempt at all messages of a step, and as many retries as there were."""
    messages, retries, attempt = step.ended, step.retried, 0
    delivered, failed = step.delivered, step.failed
    while messages:
        again = min(retries, messages)
        ends = messages - again
        good = min(delivered, ends)
        bad = min(failed, ends - good)
        yield Settlement(
            key=(*batch, attempt),
            profile=step.profile,
            worker=worker,
            messages=messages,
            delivered=good,
            failed=bad,
            expired=ends - good - bad,
            retried=again,
            send_seconds=0.0,
            delivery_seconds=0.0,
            transit_seconds=0.0,
            settled_at=settled_at,
            taken=_SOME if attempt else None,
            remainder=_SOME if again else None,
        )
        delivered, failed, retries = delivered - good, failed - bad, retries - again
        messages, attempt = again, attempt + 1


def _with_times(settlements: Sequence[Settlement], outlook: Outlook) -> Iterator[Settlement]:
    """The sums of a profile's times are in its last settlement."""
    last = {one.profile: one.key for one in settlements}
    counts = {part.name: part.counts for part in outlook.progress.profiles}
    for one in settlements:
        if one.key != last[one.profile]:
            yield one
            continue
        mine = counts[one.profile]
        yield replace(
            one,
            send_seconds=mine.send_seconds,
            delivery_seconds=mine.delivery_seconds,
            transit_seconds=mine.transit_seconds,
            delivery_times={bucket: n for bucket, n in mine.delivery_times.items() if n},
            longest_delivery=mine.longest_delivery,
            on_phone=mine.on_phone if mine.on_phone.delivered else None,
        )
