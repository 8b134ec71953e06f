"""Steering a run, and what is cancelled by whom."""

from __future__ import annotations

import pytest

from sms_pipeline.core.errors import LedgerUnavailableError, PipelineError
from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.records import BatchRow, Control, Run, Settled, Settlement
from sms_pipeline.core.routing import batches_in_hand
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.steering import (
    CANCEL_GROUP,
    CANCELLER,
    Abort,
    cancel_unpublished,
    claim_rest,
    in_hand,
    steer,
    unpublished,
)
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.trace import settlements_since
from sms_pipeline.ledger.verdict import Verdict
from sms_pipeline.testing.clock import ManualClock
from tests.unit import make
from tests.unit.ledger.stored import everything
from tests.unit.make import NOON, bitmap


def control_of(ledger: Ledger, run: Run) -> Control:
    return ledger.run(run.id).control


@pytest.fixture
def other(ledger: Ledger, run: Run) -> Run:
    """A later run, so that the latest one is not the one that is steered."""
    return ledger.start_run(make.simulation(num_messages=100), seed=8)


# By hand


def test_pause_and_continue(ledger: Ledger, run: Run, other: Run) -> None:
    said = steer(ledger, run, Control.PAUSED)
    assert said == f"Run {run.id} is paused: batches in hand are finished, the others wait."
    assert control_of(ledger, run) is Control.PAUSED
    assert steer(ledger, run, Control.RUNNING) == f"Run {run.id} goes on."
    assert control_of(ledger, run) is Control.RUNNING
    assert ledger.unsettled(run.id) == []


def test_pause_says_how_many_messages_are_finished_first(ledger: Ledger) -> None:
    # Given workers of two profiles, one of them not configured, and one that has left
    senders = (make.profile("fast"), make.profile("slow", mean_time=0.01))
    simulation = make.simulation(num_messages=20_000, senders=senders)
    small, large = (simulation.batch_size_for(one) for one in senders)
    assert small < large
    run = ledger.start_run(simulation, seed=1)
    for number, profile in enumerate(("fast", "slow", "guest", "left")):
        rows = [make.row(run.id, number, 5_000 * number, 5_000, profile=profile)]
        ledger.record_batches(run.id, rows)
    assert in_hand(ledger.snapshot(run)) == 0
    five, seven = make.profile("fast", count=5), make.profile("fast", count=7)
    guests = make.profile("guest", count=11)
    ledger.join("w1", [five])
    ledger.join("w2", [seven, guests])
    ledger.join("w3", [make.profile("left", count=99)])
    ledger.leave("w3")
    # When it is paused
    said = steer(ledger, run, Control.PAUSED)
    # Then what each worker takes in hand is counted, of the largest size where that is not known
    taken = sum(
        size * batches_in_hand(profile.count, profile.capacity, size)
        for profile, size in ((five, small), (seven, small), (guests, large))
    )
    assert said == (
        f"Run {run.id} is stopping: about {taken:,} messages in hand are finished first, "
        "the others wait."
    )


def test_no_more_is_in_hand_than_was_dispatched(ledger: Ledger, run: Run) -> None:
    ledger.record_batches(run.id, [make.row(run.id, n, 10 * n) for n in range(2)])
    ledger.settle([make.settlement(run.id)])
    ledger.join("w1", [make.profile("fast", count=50)])
    ledger.join("w2", [make.profile("slow", count=50)])
    assert in_hand(ledger.snapshot(run)) == 10


def test_cancel(ledger: Ledger, run: Run, other: Run) -> None:
    # Given a run with a published batch
    before = everything(ledger)["runs"][1]
    ledger.record_batches(run.id, [make.row(run.id, 0)])
    ledger.mark_published(run.id, [(0, NOON)])
    # When it is cancelled, twice
    said = [steer(ledger, run, Control.CANCELLED) for _ in range(2)]
    # Then it says what becomes of its messages
    assert said[0].startswith(f"Run {run.id} is cancelled: 90 messages never published; ")
    assert said[0].endswith("as workers receive it, what is being sent is finished.")
    assert said[1].startswith(f"Run {run.id} is cancelled: 0 messages never published; ")
    assert control_of(ledger, run) is Control.CANCELLED
    assert ledger.snapshot(run).counts.cancelled == 90
    # And the other run goes on
    assert everything(ledger)["runs"][1] == before
    assert ledger.snapshot(other).counts.cancelled == 0


def test_cancelling_an_interrupted_run_says_what_settles_the_rest(ledger: Ledger) -> None:
    # Given a run whose process is gone, with a published batch
    run = ledger.start_run(make.simulation(num_messages=100), seed=7, embedded=True)
    ledger.record_batches(run.id, [make.row(run.id, 0)])
    ledger.mark_published(run.id, [(0, NOON)])
    assert steer(ledger, run, Control.CANCELLED) == (
        f"Run {run.id} is cancelled: its process is gone; 10 messages still open, to be settled as "
        f"cancelled by sms-pipeline resume {run.id}."
    )
    # And while its worker is there, that settles it
    ledger.join("w1", [make.profile("fast")])
    assert "as workers receive it" in steer(ledger, run, Control.CANCELLED)


def test_steering_an_interrupted_run_says_how_to_go_on(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=100), seed=7, embedded=True)
    # Once it is continued, that is
    assert steer(ledger, run, Control.PAUSED) == (
        f"Run {run.id} is paused. Its process is gone, so it will need sms-pipeline resume "
        f"{run.id}, too."
    )
    assert steer(ledger, run, Control.RUNNING) == (
        f"Run {run.id} is not paused. Its process is gone: go on with sms-pipeline resume {run.id}"
    )


@pytest.mark.parametrize("wanted", [Control.RUNNING, Control.PAUSED])
@pytest.mark.parametrize("in_flight", [False, True], ids=["ended", "in flight"])
def test_cancelled_is_final(
    ledger: Ledger, run: Run, other: Run, in_flight: bool, wanted: Control
) -> None:
    if in_flight:
        ledger.record_batches(run.id, [make.row(run.id)])
        ledger.mark_published(run.id, [(0, NOON)])
    steer(ledger, run, Control.CANCELLED)
    assert ledger.snapshot(run).done is not in_flight
    with pytest.raises(PipelineError, match=f"run {run.id} was cancelled; that is final"):
        steer(ledger, run, wanted)
    assert control_of(ledger, run) is Control.CANCELLED


@pytest.mark.parametrize("wanted", Control)
def test_run_that_has_ended_can_not_be_steered(
    ledger: Ledger, run: Run, other: Run, wanted: Control
) -> None:
    ledger.record_batches(run.id, [make.row(run.id, 0, 0, 100)])
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    before = everything(ledger)
    with pytest.raises(PipelineError, match=f"run {run.id} has ended; there is nothing to steer"):
        steer(ledger, run, wanted)
    assert everything(ledger) == before


def test_run_that_was_cancelled_to_its_end_can_not_be_cancelled(ledger: Ledger, run: Run) -> None:
    steer(ledger, run, Control.CANCELLED)
    with pytest.raises(PipelineError, match="has ended"):
        steer(ledger, run, Control.CANCELLED)


# What is cancelled


def test_unpublished_are_recorded_batches_the_broker_did_not_confirm(
    ledger: Ledger, run: Run, other: Run
) -> None:
    # Given batches that are confirmed or not, of which some have been attempted all the same
    rows = [make.row(run.id, n, 10 * n) for n in range(5)]
    ledger.record_batches(run.id, rows)
    ledger.record_batches(other.id, [make.row(other.id)])
    ledger.mark_published(run.id, [(1, NOON + 1)])
    ledger.settle([make.settlement(run.id, 3, delivered=8, retried=2, remainder=bitmap(0, 1))])
    ledger.settle([make.settlement(run.id, 4)])
    # Then those that no worker can have seen are left
    assert unpublished(ledger, run.id) == [rows[0], rows[2]]


def test_claimed_rest_is_one_batch_to_the_end(ledger: Ledger, run: Run, other: Run) -> None:
    ledger.record_batches(run.id, [make.row(run.id, 0, 0, 30)])
    clock = ManualClock(wall=NOON + 5)
    claim_rest(ledger, run, clock)
    clock.advance(1)
    claim_rest(ledger, run, clock)
    (_, rest) = (entry.row for entry in ledger.unsettled(run.id))
    assert rest == make.row(run.id, 1, 30, 70, profile="fast", queued_at=NOON + 5)
    assert (ledger.run(run.id).next_index, ledger.run(run.id).next_batch) == (100, 2)
    assert ledger.unsettled(other.id) == []


def test_rest_is_claimed_although_a_producer_goes_on(
    ledger: Ledger, run: Run, other: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a producer that records a batch just before the rest is recorded, twice
    record, ahead = ledger.record_batches, iter(range(2))

    def later(run_id: int, rows: list[BatchRow]) -> bool:
        if next(ahead, None) is not None:
            now = ledger.run(run.id)
            record(run.id, [make.row(run.id, now.next_batch, now.next_index)])
        return record(run_id, rows)

    monkeypatch.setattr(ledger, "record_batches", later)
    # When the rest is claimed
    claim_rest(ledger, run)
    # Then it begins where the producer came to
    assert [(entry.row.first_index, entry.row.size) for entry in ledger.unsettled(run.id)] == [
        (0, 10),
        (10, 10),
        (20, 80),
    ]


@pytest.mark.usefixtures("rules_apart")
def test_cancel_settles_only_what_no_queue_has(ledger: Ledger, run: Run, other: Run) -> None:
    # Given a published batch, one that was recorded only, and eighty messages undispatched
    rows = [make.row(run.id, 0), make.row(run.id, 1, first_index=10, profile="slow")]
    ledger.record_batches(run.id, rows)
    ledger.mark_published(run.id, [(0, NOON)])

    # When the run is cancelled, twice
    clock = ManualClock(wall=NOON + 60)
    assert cancel_unpublished(ledger, run, clock) == 90
    assert cancel_unpublished(ledger, run, clock) == 0

    # Then each batch is settled as cancelled, in its profile, now
    assert settlements_since(ledger, run.id, 0) == [
        Settlement.cancellation((run.id, 1, 0), "slow", CANCELLER, 10, NOON + 60),
        Settlement.cancellation((run.id, 2, 0), "fast", CANCELLER, 80, NOON + 60),
    ]
    assert ledger.unsettled(run.id)[0].row.number == 0
    assert {row["queued_at"] for row in everything(ledger)["batches"]} == {NOON, NOON + 60}

    # And the published batch is left to a worker, and nothing contradicts
    report = audit_ledger(ledger, run)
    assert (report.cancelled, report.in_flight, report.undispatched) == (90, 10, 0)
    assert report.verdict is Verdict.UNFINISHED

    # And a producer that was about to dispatch finds nothing left
    assert not ledger.record_batches(run.id, [make.row(run.id, 2, first_index=20)])


def test_many_batches_are_cancelled_in_groups(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more batches than are cancelled in one transaction
    count = 2 * CANCEL_GROUP + 1
    run = ledger.start_run(make.simulation(num_messages=count + 7), seed=1)
    ledger.record_batches(run.id, [make.row(run.id, number, number, 1) for number in range(count)])
    settle, sizes = ledger.settle, list[int]()

    def measured(group: list[Settlement]) -> list[Settled]:
        sizes.append(len(group))
        return settle(group)

    monkeypatch.setattr(ledger, "settle", measured)
    # When all are cancelled
    assert cancel_unpublished(ledger, run) == count + 7
    # Then each was, once, and no transaction was long; the rest is one batch more
    assert sizes == [CANCEL_GROUP, CANCEL_GROUP, 2]
    assert ledger.snapshot(run).counts.cancelled == count + 7
    assert ledger.unsettled(run.id) == []


# By a threshold


@pytest.fixture
def watched(ledger: Ledger, other: Run) -> Run:
    """A run with thresholds, of which ten messages are published and failed."""
    thresholds = [
        {"check": "failed < 8%"},
        {"check": "failed < 9%", "abort": True},
        {"check": "failed < 50%", "abort": True},
    ]
    run = ledger.start_run(make.simulation(num_messages=100, thresholds=thresholds), seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id, delivered=0, failed=10, failed_indexes=range(10))])
    ledger.start_run(make.simulation(num_messages=100), seed=9)
    return run


def progress_of(ledger: Ledger, run: Run) -> Progress:
    return Tracker().update(ledger.snapshot(run), 0, NOON + 2)


def test_threshold_that_is_missed_cancels_the_run_once(ledger: Ledger, watched: Run) -> None:
    abort, progress = Abort(ledger, watched), progress_of(ledger, watched)
    # When the run is seen to miss one, and seen again
    said = [abort(progress) for _ in range(2)]
    # Then it says which, what was seen, and what is cancelled
    assert said[0] is not None
    assert said[0].startswith(
        f"threshold missed: failed < 9% (seen 10.00%). Run {watched.id} is cancelled: 90 messages "
    )
    assert said[1] is None
    assert control_of(ledger, watched) is Control.CANCELLED
    assert ledger.snapshot(watched).done
    # And it cancels that run only
    assert [one.run.control for one in ledger.totals(9)].count(Control.CANCELLED) == 1


def test_threshold_that_is_kept_cancels_nothing(ledger: Ledger, run: Run, watched: Run) -> None:
    kept = ledger.start_run(watched.simulation, seed=1)
    for one in (run, kept):
        assert Abort(ledger, one)(progress_of(ledger, one)) is None
        assert control_of(ledger, one) is Control.RUNNING


def test_run_that_has_ended_is_not_cancelled(ledger: Ledger, watched: Run) -> None:
    ledger.settle([make.settlement(watched.id, 1, messages=90, delivered=90)])
    assert Abort(ledger, watched)(progress_of(ledger, watched)) is None
    assert control_of(ledger, watched) is Control.RUNNING


def test_cancelling_is_tried_again_after_an_outage(
    ledger: Ledger, watched: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a ledger that is away just after the run was cancelled
    abort, settle, outages = Abort(ledger, watched), ledger.settle, iter(["away"])

    def failing(group: list[Settlement]) -> list[Settled]:
        if next(outages, None):
            raise LedgerUnavailableError("away")
        return settle(group)

    monkeypatch.setattr(ledger, "settle", failing)
    with pytest.raises(LedgerUnavailableError, match="away"):
        abort(progress_of(ledger, watched))
    # When the run is seen the next time
    said = abort(progress_of(ledger, watched))
    # Then what was never published is settled
    assert said is not None
    assert "90 messages never published" in said
    assert ledger.snapshot(watched).done


def test_run_that_is_cancelled_already_is_not_asked_again(
    ledger: Ledger, watched: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.control(watched.id, Control.CANCELLED)
    asked: list[object] = []
    monkeypatch.setattr(ledger, "control", lambda *arguments: asked.append(arguments))
    assert Abort(ledger, watched)(progress_of(ledger, watched)) is not None
    assert asked == []
