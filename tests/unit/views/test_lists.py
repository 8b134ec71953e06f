"""Lists of what the ledger holds: runs, senders, failures."""

from __future__ import annotations

import csv
import io
import re

import pytest

from sms_pipeline.core.hosts import worker_id
from sms_pipeline.core.messages import SEPARATOR, make_columns
from sms_pipeline.core.records import Control, Run
from sms_pipeline.core.run_state import RunState, state_of
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views import lists
from sms_pipeline.views.format import moment
from sms_pipeline.views.lists import list_failures, list_runs, list_senders
from sms_pipeline.views.reader import Reader
from tests.unit import make
from tests.unit.make import NOON

Output = pytest.CaptureFixture[str]


@pytest.fixture
def with_failures(ledger: Ledger, run: Run) -> Run:
    failing = make.settlement(
        run.id, delivered=7, failed=2, expired=1, failed_indexes=[3, 7], expired_indexes=[5]
    )
    ledger.settle([failing])
    return run


def test_runs_are_listed_with_their_state_and_verdict(
    ledger: Ledger, run: Run, noon: ManualClock, capsys: Output
) -> None:
    done = ledger.start_run(make.simulation(num_messages=10), seed=42)
    ledger.settle([make.settlement(run.id), make.settlement(done.id, delivered=9, failed=1)])
    list_runs(ledger, noon)
    heading, first, second = (
        re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines()
    )
    assert heading[0] == "run"
    assert (first[0], first[2:]) == (
        str(run.id),
        ["100", "10", "0", "running 10.0%", "Not finished · 0 not reached", "7"],
    )
    assert (second[0], second[2:]) == (
        str(done.id),
        ["10", "9", "1", "done", "Broken · 1 not reached", "42"],
    )


def test_runs_that_stand_still_are_listed_with_what_gets_them_going(
    ledger: Ledger, run: Run, noon: ManualClock, capsys: Output
) -> None:
    # Given runs that wait for a worker, a producer or their process, and one that is paused
    waits = ledger.start_run(make.simulation(), seed=1)
    ledger.record_batches(waits.id, [make.row(waits.id, profile="slow", queued_at=NOON)])
    gone = ledger.start_run(make.simulation(), seed=2, embedded=True)
    paused = ledger.start_run(make.simulation(), seed=3)
    ledger.control(paused.id, Control.PAUSED)
    noon.advance(3_600)
    list_runs(ledger, noon)
    assert capsys.readouterr().out.splitlines()[-4:] == [
        f"Run {paused.id} is paused: go on with sms-pipeline continue {paused.id}",
        f"Run {gone.id} is interrupted: go on with sms-pipeline resume {gone.id}",
        f"Run {waits.id} is stalled: start a worker: celery -A sms_pipeline worker --profile slow",
        f"Run {run.id} is stalled: go on with sms-pipeline resume {run.id}",
    ]


def test_a_run_that_was_just_continued_is_not_listed_as_stalled(
    ledger: Ledger, run: Run, noon: ManualClock
) -> None:
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.control(run.id, Control.PAUSED)
    noon.advance(3_600)
    ledger.control(run.id, Control.RUNNING)
    (totals,) = ledger.totals(1)
    listed = state_of(totals, noon.wall(), nobody_online=True)
    assert listed is Reader(ledger, run, clock=noon).read().progress.state is RunState.RUNNING


def test_only_the_latest_runs_are_audited_in_a_list(
    ledger: Ledger, noon: ManualClock, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "AUDITED_RUNS", 2)
    for _ in range(4):
        run = ledger.start_run(make.simulation(num_messages=10), seed=1)
        ledger.record_batches(run.id, [make.row(run.id)])
        ledger.settle([make.settlement(run.id, delivery_times={80: 10})])
    list_runs(ledger, noon)
    _, *rows = capsys.readouterr().out.splitlines()
    assert ["Proven" in row for row in rows] == [False, False, True, True]
    assert ["Not audited" in row for row in rows] == [True, True, False, False]


def test_a_run_started_when_it_was_asked_for(ledger: Ledger, run: Run, capsys: Output) -> None:
    ledger.record_batches(run.id, [make.row(run.id, queued_at=run.started_at + 60)])
    list_runs(ledger)
    assert moment(run.started_at) in capsys.readouterr().out


def test_runs_are_read_in_pages_of_sums_not_one_by_one(
    ledger: Ledger, noon: ManualClock, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [ledger.start_run(make.simulation(num_messages=10), seed=1) for _ in range(7)]
    monkeypatch.setattr(lists, "PAGE_RUNS", 3)
    monkeypatch.setattr(ledger, "snapshot", None)
    list_runs(ledger, noon)
    _, *lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [run.id for run in runs]


def test_run_whose_messages_expired_or_were_cancelled_is_done(
    ledger: Ledger, capsys: Output
) -> None:
    run = ledger.start_run(make.simulation(num_messages=10), seed=1)
    ledger.settle([make.settlement(run.id, delivered=2, expired=3, cancelled=5)])
    list_runs(ledger)
    assert re.search("done +.* 3 not reached · 5 cancelled ", capsys.readouterr().out)


def test_failures_name_who_was_not_reached(
    ledger: Ledger, with_failures: Run, capsys: Output
) -> None:
    list_failures(ledger, with_failures, as_csv=False)
    *lines, summary, left = capsys.readouterr().out.splitlines()
    numbers = make_columns(7, 0, 10, 100, "xxx-xxx-xxxx").to.split(SEPARATOR)
    assert [line.split()[1:3] for line in lines] == [
        [str(index), numbers[index]] for index in (3, 5, 7)
    ]
    assert summary == f"Run {with_failures.id}: 3 messages were not reached."
    assert left == (
        "90 messages have no fate yet. The run is stalled: go on with sms-pipeline resume 1."
    )


def test_failures_as_csv(ledger: Ledger, with_failures: Run, capsys: Output) -> None:
    list_failures(ledger, with_failures, as_csv=True)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["message"] for row in rows] == ["3", "5", "7"]
    assert {row["profile"] for row in rows} == {"fast"}
    assert all(re.fullmatch(r"\d{3}-\d{3}-\d{4}", row["to"]) for row in rows)
    assert rows[0]["failed_at"] == "2023-11-14T22:13:21.000+00:00"


def test_a_phone_number_in_a_spreadsheet_is_no_sum(ledger: Ledger, capsys: Output) -> None:
    run = ledger.start_run(make.simulation(phone_format="e164"), seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id, delivered=9, failed=1, failed_indexes=[3])])
    list_failures(ledger, run, as_csv=True)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert re.fullmatch(r"'\+1\d{10}", row["to"])


def test_no_failures(ledger: Ledger, run: Run, capsys: Output) -> None:
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    list_failures(ledger, run, as_csv=False)
    assert capsys.readouterr().out == f"Run {run.id}: 0 messages were not reached.\n"


def test_no_sender_online(ledger: Ledger, capsys: Output) -> None:
    list_senders(ledger)
    assert capsys.readouterr().out == "No sender is online.\n"


def test_only_workers_whose_heart_beats_are_listed(ledger: Ledger, capsys: Output) -> None:
    # Given one worker that lives and one that was killed
    alive = worker_id("box", 1, "0a1b2c")
    ledger.join(alive, [make.profile("fast", count=1_500, mean_time=0.25, failure_rate=0.5)])
    ledger.join("dead", [make.profile("slow")])

    class Clock(ManualClock):
        """Time in which only one heart beats."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            ledger.beat(alive, round(self.monotonic() * 100))

    list_senders(ledger, Clock())
    _, row = capsys.readouterr().out.splitlines()
    assert row.split()[:6] == ["box-1-0a1b2c", "box", "fast", "1,500", "0.25", "s"]
    assert "50%" in row
