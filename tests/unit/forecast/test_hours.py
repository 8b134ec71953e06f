"""A run whose hours are over while it is on, on virtual time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from sms_pipeline.core.clock import Clock
from sms_pipeline.core.hours import Window
from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.records import Key, Run, Standing
from sms_pipeline.forecast.agenda import EPOCH
from sms_pipeline.forecast.rehearsal import rehearse
from sms_pipeline.forecast.setting import exact_setting
from sms_pipeline.forecast.standing import MemoryBooks
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing import memory_ledger
from tests.unit import make

#: What is left of its hours when the run begins, and how long it then waits, seconds.
LEFT, CLOSED = 20.0, 23 * 3_600.0
WINDOW = Window(hours="20:00-21:00", zone="UTC").behind(
    datetime(2026, 5, 4, 21, tzinfo=UTC).timestamp() - LEFT - EPOCH
)
#: A second a message, hardly random: who has begun when the hours are over ends a second later.
FAST = make.profile(count=100, mean_time=1.0, failure_rate=0.2, shape=1e4)


@pytest.mark.parametrize("workers", [None, 1])
@pytest.mark.parametrize("routing", ["adaptive", "static"])
def test_nothing_is_sent_outside_its_hours_and_all_is_counted(
    workers: int | None, routing: str
) -> None:
    simulation = make.simulation(
        num_messages=4_000, senders=(FAST,), routing=routing, window=WINDOW, batch_size=70
    )
    opened: list[tuple[Ledger, Run]] = []

    def opening(run: Run, present: Mapping[str, Sequence[SenderProfile]], clock: Clock) -> Ledger:
        ledger = memory_ledger(clock)
        stored = ledger.start_run(run.simulation, run.seed, run.embedded, run.started_at)
        for worker, profiles in present.items():
            ledger.join(worker, profiles)
        opened.append((ledger, stored))
        return ledger

    course = rehearse(exact_setting(simulation, workers), 1, opening)
    # Then it is settled before the hours are over, or begins when they do
    evening = [mark for mark in course.marks if mark.at < CLOSED]
    morning = [mark for mark in course.marks if mark.at >= CLOSED]
    assert all(mark.at < LEFT + 1.2 for mark in evening)
    assert all(mark.at > LEFT + CLOSED + 1 for mark in morning)
    # Senders had work until then: most of what they could do is done
    assert sum(mark.delivered for mark in evening) > 0.75 * FAST.capacity * LEFT * 0.8
    counts = course.snapshot.counts
    assert counts.delivered + counts.failed == 4_000
    # What was left unsent keeps its attempts
    assert counts.failed == pytest.approx(4_000 * 0.2**4, abs=8)
    report = audit_ledger(*opened[0])
    assert report.verdict == "proven", report.lines()


def test_what_waits_for_a_night_is_not_looked_at_every_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a run all of whose batches are with the broker when its hours are over
    simulation = make.simulation(
        num_messages=4_000, senders=(FAST,), routing="static", window=WINDOW, batch_size=100
    )
    asked: list[Key] = []
    standing = MemoryBooks.standing

    def counted(self: MemoryBooks, key: Key) -> Standing:
        asked.append(key)
        return standing(self, key)

    monkeypatch.setattr(MemoryBooks, "standing", counted)
    course = rehearse(exact_setting(simulation, 1), 1)
    assert course.seconds > CLOSED
    # Then each is looked at for its attempts, and twice more: before the night and after it
    assert len(asked) < len(course.marks) + 3 * 40
