"""A reader knows what the counters say, what they do not say, and how long nothing moved."""

from __future__ import annotations

import pytest

from sms_pipeline.core.ahead import LEAST_RECKONED, MOST_RECKONED
from sms_pipeline.core.records import Run
from sms_pipeline.core.retry import retry_delay
from sms_pipeline.core.thresholds import State
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views import reader
from sms_pipeline.views.reader import STUCK_PERIOD_SECONDS, Reader, Reading
from tests.unit import make
from tests.unit.views.runs import deliver, run_with


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def states(reading: Reading) -> set[State]:
    return {one.state for one in reading.progress.thresholds}


def seen(reading: Reading) -> list[float | None]:
    return [one.seen for one in reading.progress.thresholds]


def test_idle_time_begins_anew_with_each_dispatch_and_settlement(
    ledger: Ledger, run: Run, clock: ManualClock
) -> None:
    watching = Reader(ledger, run, clock=clock)

    def idle_after(seconds: float) -> float:
        clock.advance(seconds)
        return watching.read().idle_seconds

    assert idle_after(5) == 0
    assert idle_after(5) == 5
    ledger.record_batches(run.id, [make.row(run.id)])
    assert idle_after(5) == 0
    assert idle_after(5) == 5
    ledger.settle([make.settlement(run.id, delivered=8, retried=2, remainder=make.bitmap(1, 2))])
    assert idle_after(5) == 0


def test_reading_is_of_one_moment(ledger: Ledger, run: Run, clock: ManualClock) -> None:
    deliver(ledger, run, 45)
    reading = Reader(ledger, run, clock=clock).read()
    assert reading.progress.counts == reading.snapshot.counts
    assert (reading.progress.counts.delivered, reading.progress.counts.failed) == (45, 5)


def test_who_is_online_is_known_after_a_while(
    ledger: Ledger, run: Run, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two workers, of which one's heart beats as time goes by
    for worker in ("alive", "dead"):
        ledger.join(worker, [make.profile("fast")])

    def sleep(seconds: float) -> None:
        clock.advance(seconds)
        ledger.beat("alive", round(clock.monotonic() * 100))

    monkeypatch.setattr(clock, "sleep", sleep)
    watching = Reader(ledger, run, clock=clock)
    assert (watching.read().decided, watching.read().online) == (False, ())
    reading = watching.read_decided()
    assert [worker.id for worker in reading.online] == ["alive"]
    assert clock.monotonic() == pytest.approx(2.5, abs=0.2)


def test_trusted_workers_are_online_at_once(ledger: Ledger, run: Run, clock: ManualClock) -> None:
    ledger.join("mine", [make.profile("fast")])
    reading = Reader(ledger, run, trusted=("mine",), clock=clock).read()
    assert (reading.decided, [worker.id for worker in reading.online]) == (True, ["mine"])


# What the counters do not tell


# While nobody is there to send, the time left is not known.
@pytest.mark.parametrize(("workers", "period"), [((), MOST_RECKONED), (("w1",), LEAST_RECKONED)])
def test_retries_are_looked_up_as_often_as_the_time_left_asks_for_it(
    ledger: Ledger,
    run: Run,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    workers: tuple[str, ...],
    period: float,
) -> None:
    for worker in workers:
        ledger.join(worker, run.simulation.senders)
    asked: list[float] = []
    retrying = ledger.retrying
    monkeypatch.setattr(
        ledger, "retrying", lambda *a: asked.append(clock.monotonic()) or retrying(*a)
    )
    policy, key = run.simulation.retry, (run.id, 0, 0)
    watching = Reader(ledger, run, trusted=("w1",), counters_only=True, clock=clock)
    ledger.record_batches(run.id, [make.row(run.id, size=run.total)])
    assert (watching.read().progress.next_retry_seconds, asked) == (None, [])
    ledger.settle([
        make.settlement(
            run.id, messages=run.total, delivered=run.total - 2, retried=2,
            remainder=make.bitmap(1, 2, size=run.total), settled_at=clock.wall(),
        )
    ])  # fmt: skip
    # Between two quarters of a second, where no rounding decides
    clock.advance(1 / 8)
    began = clock.monotonic()
    for quarters in range(8):
        found = watching.read().progress.next_retry_seconds
        left = retry_delay(policy, run.seed, key) - quarters / 4 - 1 / 8
        assert found == (pytest.approx(left, abs=1e-3) if left > 0 else None)
        clock.advance(1 / 4)
    assert asked[0] == began
    assert asked[-1] - asked[-2] == pytest.approx(period)


def test_old_batches_are_named(ledger: Ledger, run: Run) -> None:
    ledger.record_batches(run.id, [make.row(run.id)])
    warnings = Reader(ledger, run).read().progress.warnings
    assert any("dispatched long ago" in one for one in warnings)


def test_old_batches_are_not_looked_for_at_every_reading(
    ledger: Ledger, run: Run, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []
    monkeypatch.setattr(ledger, "stuck", lambda *_: looked.append(clock.monotonic()) or {})
    watching = Reader(ledger, run, clock=clock)
    for _ in range(22):
        watching.read()
        clock.advance(1)
    assert looked == [0, STUCK_PERIOD_SECONDS, 2 * STUCK_PERIOD_SECONDS]


def test_reader_tells_when_a_share_was_reached(ledger: Ledger) -> None:
    run = run_with(ledger, "reached 50% < 15s", "reached 51% < 15s")
    deliver(ledger, run, 50)
    watching = Reader(ledger, run)
    assert seen(watching.read()) == [pytest.approx(10), None]
    deliver(ledger, run, 50, number=1)
    assert seen(watching.read()) == [pytest.approx(10), pytest.approx(20)]
    assert [one.state for one in watching.read().progress.thresholds] == [
        State.PASSED,
        State.MISSED,
    ]


def test_reader_audits_at_the_end_and_only_then(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with(ledger, "lost == 0", "doubled == 0")
    audits: list[int] = []
    audit = reader.audit_ledger
    monkeypatch.setattr(reader, "audit_ledger", lambda *a: audits.append(1) or audit(*a))
    watching = Reader(ledger, run)
    deliver(ledger, run, 50)
    assert states(watching.read()) == {State.UNKNOWN}
    assert audits == []
    deliver(ledger, run, 50, number=1)
    for _ in range(2):
        assert states(watching.read()) == {State.PASSED}
    assert len(audits) == 1


def test_run_without_an_audited_threshold_is_not_audited(
    ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "audit_ledger", None)
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    assert Reader(ledger, run).read().progress.done


def test_who_wants_only_counters_pays_for_nothing_else(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with(ledger, "lost == 0", "reached 50% < 15s")
    for number in range(2):
        deliver(ledger, run, 50, number)
    monkeypatch.setattr(reader, "audit_ledger", None)
    monkeypatch.setattr(ledger, "stuck", None)
    monkeypatch.setattr(ledger, "delivered_at", None)
    assert Reader(ledger, run, counters_only=True).read().progress.done
