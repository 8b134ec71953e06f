"""The trace tells each event of a run once, in order."""

from __future__ import annotations

import re

import pytest

from sms_pipeline.core.errors import ConfigError, LedgerUnavailableError
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views.format import clock
from sms_pipeline.views.trace import trace, trace_message
from tests.unit import make
from tests.unit.make import NOON, bitmap
from tests.unit.views.runs import Outages

Output = pytest.CaptureFixture[str]


def test_trace_is_in_the_order_of_events(ledger: Ledger, run: Run, capsys: Output) -> None:
    # Given a batch of two attempts, and a worker that was there all the time
    ledger.join("w1", [make.profile("fast", count=3)])
    ledger.record_batches(run.id, [make.row(run.id, size=100)])
    now = run.started_at + 60
    ledger.mark_published(run.id, [(0, now + 1)])
    first = make.settlement(
        run.id, messages=100, delivered=98, retried=2, remainder=bitmap(1, 2), settled_at=now + 2
    )
    last = make.settlement(run.id, 0, 1, messages=2, delivered=1, failed=1, settled_at=now + 3)
    ledger.settle([first, last])
    assert traced(ledger, run, capsys) == [
        "joined      3 senders of fast  (w1)",
        "dispatched  batch 0: messages 0-99 to fast",
        "settled     batch 0, attempt 1: 98 delivered, 0 failed  (fast, w1)",
        "retry       batch 0: 2 messages to attempt 2",
        "settled     batch 0, attempt 2: 1 delivered, 1 failed  (fast, w1)",
    ]


def test_what_workers_do_after_the_end_of_a_run_is_no_part_of_it(
    ledger: Ledger, run: Run, noon: ManualClock, capsys: Output
) -> None:
    def join(worker: str) -> None:
        noon.advance(10)
        ledger.join(worker, [make.profile("fast", count=3)])

    join("idle")
    ledger.leave("idle")
    join("own")
    began = [
        "joined      3 senders of fast  (idle)",
        "left        3 senders of fast  (idle)",
        "joined      3 senders of fast  (own)",
    ]
    assert traced(ledger, run, capsys) == began
    ended_at = noon.wall()
    ledger.settle([make.settlement(run.id, messages=100, delivered=100, settled_at=ended_at)])
    join("later")
    ledger.leave("own")
    assert traced(ledger, run, capsys) == [
        *began,
        "settled     batch 0, attempt 1: 100 delivered, 0 failed  (fast, w1)",
    ]


def traced(ledger: Ledger, run: Run, capsys: Output) -> list[str]:
    """The events of a run, without the times."""
    trace(ledger, run, follow=False)
    return [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]


def test_one_sender_is_no_plural(ledger: Ledger, run: Run, capsys: Output) -> None:
    ledger.join("w1", [make.profile("fast", count=1)])
    trace(ledger, run, follow=False)
    assert capsys.readouterr().out.endswith("joined      1 sender of fast  (w1)\n")


# One message


@pytest.fixture
def retried(ledger: Ledger, run: Run) -> Run:
    """A batch of ten messages, of which 1 and 2 were tried twice; 2 failed, and 3 expired."""
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.mark_published(run.id, [(0, NOON + 1)])
    ledger.settle([
        make.settlement(
            run.id, delivered=7, expired=1, expired_indexes=[3], retried=2,
            remainder=bitmap(1, 2), settled_at=NOON + 2,
        )
    ])  # fmt: skip
    return run


def told(ledger: Ledger, run: Run, index: int, capsys: Output) -> list[str]:
    """The lines on a message, without the times."""
    trace_message(ledger, run, index)
    return [re.sub(r"^[\d:.]+  ", "", line) for line in capsys.readouterr().out.splitlines()]


def test_a_message_has_every_attempt_at_it_with_time_and_worker(
    ledger: Ledger, retried: Run, capsys: Output
) -> None:
    last = make.settlement(
        retried.id, 0, 1, messages=2, delivered=1, failed=1, failed_indexes=[2], worker="w2",
        taken=bitmap(1, 2), settled_at=NOON + 3,
    )  # fmt: skip
    ledger.settle([last])
    trace_message(ledger, retried, 1)
    heading, *events = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Message 1 of run 1, to [\d-]+, in batch 0:", heading)
    assert events == [
        f"{clock(NOON + 1)}  dispatched to fast",
        f"{clock(NOON + 2)}  attempt 1: failed, to be retried  (fast, w1)",
        f"{clock(NOON + 3)}  attempt 2: delivered  (fast, w2)",
    ]
    assert told(ledger, retried, 2, capsys)[-1] == "attempt 2: failed  (fast, w2)"
    assert told(ledger, retried, 3, capsys)[2:] == ["attempt 1: expired  (fast, w1)"]


def test_a_message_that_has_not_come_to_its_end_says_so(
    ledger: Ledger, retried: Run, capsys: Output
) -> None:
    ledger.record_batches(retried.id, [make.row(retried.id, 1, first_index=10)])
    assert told(ledger, retried, 1, capsys)[-1] == "It is in flight: attempt 2 is not settled."
    assert told(ledger, retried, 10, capsys)[1:] == [
        "It is not published yet: attempt 1 is not settled."
    ]
    assert told(ledger, retried, 20, capsys) == ["Message 20 of run 1 is not dispatched yet."]


@pytest.mark.parametrize("index", [-1, 100])
def test_a_message_that_the_run_does_not_have_is_refused(
    ledger: Ledger, run: Run, index: int
) -> None:
    with pytest.raises(ConfigError) as caught:
        trace_message(ledger, run, index)
    assert str(caught.value) == f"run 1 has no message {index}; its messages are 0 to 99"


class Settles(ManualClock):
    """Whenever somebody sleeps, a batch is settled."""

    def __init__(self, ledger: Ledger, run: Run) -> None:
        super().__init__()
        self._ledger = ledger
        self._run = run

    def sleep(self, seconds: float) -> None:
        number = len(self.slept)
        super().sleep(seconds)
        settled = make.settlement(self._run.id, number, settled_at=NOON + number)
        self._ledger.settle([settled])


def batches(output: str) -> list[str]:
    return re.findall(r"batch (\d)", output)


@pytest.fixture
def short(ledger: Ledger) -> Run:
    """A run of three batches."""
    return ledger.start_run(make.simulation(num_messages=30), seed=1)


def test_trace_ends_with_the_run_and_shows_each_event_once(
    ledger: Ledger, short: Run, capsys: Output
) -> None:
    trace(ledger, short, follow=True, clock=Settles(ledger, short))
    assert batches(capsys.readouterr().out) == ["0", "1", "2"]


def test_who_follows_waits_for_the_ledger(
    ledger: Ledger, short: Run, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "snapshot", Outages(ledger.snapshot, 2))
    trace(ledger, short, follow=True, clock=Settles(ledger, short))
    out, err = capsys.readouterr()
    assert (batches(out), err) == (["0", "1", "2"], "away; waiting for it\n")


def test_who_does_not_follow_is_told_that_the_ledger_is_away(
    ledger: Ledger, short: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "snapshot", Outages(ledger.snapshot, 1))
    with pytest.raises(LedgerUnavailableError):
        trace(ledger, short, follow=False)
