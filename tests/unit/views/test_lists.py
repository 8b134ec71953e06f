"""Lists of what the ledger holds: runs, senders, failures."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from sms_pipeline.core.hosts import worker_id
from sms_pipeline.core.messages import SEPARATOR, make_columns
from sms_pipeline.core.records import Control, Run
from sms_pipeline.core.run_state import RunState, state_of
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views import lists
from sms_pipeline.views.format import moment
from sms_pipeline.views.lists import list_failures, list_runs, list_senders
from sms_pipeline.views.outcome import Outcome
from sms_pipeline.views.reader import Reader
from sms_pipeline.views.run_table import ListedRun, run_table
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
    assert heading == [
        *("run", "name", "state", "verdict", "messages", "delivered", "duration", "rate"),
        *("failed", "started"),
    ]
    assert first[:5] == [str(run.id), "running 10.0%", "not finished", "100", "10"]
    assert second[:5] == [str(done.id), "done", "broken", "10", "9"]
    assert (first[7], second[7]) == ("0", "1")


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_expired_or_was_cancelled_is_seen_in_the_list_of_runs(
    ledger: Ledger, run: Run, noon: ManualClock, capsys: Output, end: str
) -> None:
    list_runs(ledger, noon)
    assert end not in capsys.readouterr().out
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id, delivered=6, **{end: 4})])
    list_runs(ledger, noon)
    head, line = capsys.readouterr().out.splitlines()
    assert line[: head.index(end) + len(end)].endswith(" 4")


def listed(ledger: Ledger, clock: ManualClock, capsys: Output) -> list[dict[str, Any]]:
    list_runs(ledger, clock, as_json=True)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_runs_as_objects_have_all_that_is_known(
    ledger: Ledger, run: Run, noon: ManualClock, capsys: Output
) -> None:
    done = ledger.start_run(make.simulation(num_messages=10, name="drill"), seed=42)
    ledger.settle([make.settlement(done.id, settled_at=done.started_at + 5)])
    first, second = listed(ledger, noon, capsys)
    assert (first["run"], first["state"], first["name"]) == (run.id, "running", None)
    assert (second["seed"], second["name"], second["done"]) == (42, "drill", True)
    assert (second["seconds"], second["average_rate"]) == (5.0, 2.0)


def test_a_run_in_a_list_took_as_long_as_everywhere(
    ledger: Ledger, run: Run, noon: ManualClock, capsys: Output
) -> None:
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id, settled_at=NOON + 3)])
    noon.advance(60)
    progress = Reader(ledger, run, clock=noon).read().progress
    (one,) = listed(ledger, noon, capsys)
    assert one["seconds"] == pytest.approx(progress.seconds, abs=1e-5)
    assert one["average_rate"] == pytest.approx(progress.average_rate, abs=1e-5)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("name", [None, "drill", "x" * 64])
def test_a_run_is_one_line_at_every_width(ledger: Ledger, width: int, name: str | None) -> None:
    ledger.start_run(make.simulation(num_messages=10, name=name), seed=1)
    (totals,) = ledger.totals(1)
    one = ListedRun(totals, Outcome(RunState.RUNNING, totals.counts), totals.run.started_at + 60)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(run_table([one], width))
    lines = console.export_text().splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert "…" not in lines[0]
        assert lines[1].split()[0] == "1"
        assert "running 0.0%  not finished" in lines[1]


@pytest.mark.parametrize("width", [40, 60, 70, 80])
def test_the_number_of_a_run_is_whole_at_every_width(ledger: Ledger, width: int) -> None:
    simulation = make.simulation(num_messages=340_000_000, name="x" * 64)
    run = ledger.start_run(simulation, seed=1)
    counts = make.counts(delivered=123_456_789, failed=1_234_567)
    (totals,) = ledger.totals(1)
    totals = totals._replace(run=replace(run, id=1_234), counts=counts)
    one = ListedRun(totals, Outcome(RunState.INTERRUPTED, counts, missed=2), run.started_at + 9e4)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(run_table([one], width))
    head, line = console.export_text().splitlines()
    assert line.split()[0] == "1234"
    assert "rate" not in head
    if width >= 70:
        assert "…" not in line.replace("xxxxxxx…", "")


def test_senders_as_objects(ledger: Ledger, capsys: Output) -> None:
    ledger.join(worker_id("fast", "box", 1, "0a1b2c"), [make.profile("fast", count=3)])

    class Clock(ManualClock):
        """Time in which the heart beats."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            ledger.beat(worker_id("fast", "box", 1, "0a1b2c"), round(self.monotonic() * 100))

    list_senders(ledger, Clock(), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["host"], found["profile"], found["senders"]) == ("box", "fast", 3)


def test_failures_as_objects(ledger: Ledger, with_failures: Run, capsys: Output) -> None:
    list_failures(ledger, with_failures, as_csv=False, as_json=True)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["message"], one["reason"]) for one in found] == [
        *((3, "failed"), (5, "expired"), (7, "failed")),
    ]


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


def test_nobody_is_told_to_go_on_with_a_measurement(
    ledger: Ledger, noon: ManualClock, capsys: Output
) -> None:
    ledger.start_run(make.simulation(messages_from="measure"), seed=2, embedded=True)
    noon.advance(3_600)
    list_runs(ledger, noon)
    assert "go on with" not in capsys.readouterr().out


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
    assert ["proven" in row for row in rows] == [False, False, True, True]
    assert ["not audited" in row for row in rows] == [True, True, False, False]


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
    assert re.search("1 +done +broken ", capsys.readouterr().out)
    list_runs(ledger, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["expired"], found["cancelled"]) == (3, 5)
    assert found["outcome"].endswith("3 not reached · 5 cancelled")


def test_failures_name_who_was_not_reached(
    ledger: Ledger, with_failures: Run, capsys: Output
) -> None:
    list_failures(ledger, with_failures, as_csv=False)
    *lines, summary, left = capsys.readouterr().out.splitlines()
    numbers = make_columns(7, 0, 10, 100, "xxx-xxx-xxxx").to.split(SEPARATOR)
    assert [line.split()[1:3] for line in lines] == [
        [str(index), numbers[index]] for index in (3, 5, 7)
    ]
    assert "  failed after 1 attempt  " in lines[0]
    assert summary == f"Run {with_failures.id}: 3 messages not reached."
    assert left == (
        "90 messages without a fate yet. The run is stalled: go on with sms-pipeline resume 1."
    )


@pytest.mark.parametrize("form", [{"as_csv": True}, {"as_csv": False, "as_json": True}])
def test_what_a_list_for_programs_leaves_out_is_told_on_stderr(
    ledger: Ledger, capsys: Output, form: dict[str, bool]
) -> None:
    run = ledger.start_run(make.simulation(num_messages=20), seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    ledger.settle([make.settlement(run.id, delivered=6, cancelled=4)])
    list_failures(ledger, run, **form)
    shown = capsys.readouterr()
    assert "not reached" not in shown.out
    total, left = shown.err.splitlines()
    assert total == f"Run {run.id}: 0 messages not reached. 4 more were cancelled."
    assert left.startswith("10 messages without a fate yet.")


@pytest.mark.parametrize("form", [{"as_csv": True}, {"as_csv": False, "as_json": True}])
def test_of_a_complete_list_nothing_is_told(
    ledger: Ledger, run: Run, capsys: Output, form: dict[str, bool]
) -> None:
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    list_failures(ledger, run, **form)
    assert not capsys.readouterr().err


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
    assert capsys.readouterr().out == f"Run {run.id}: 0 messages not reached.\n"


def test_no_sender_online(ledger: Ledger, capsys: Output) -> None:
    list_senders(ledger)
    assert capsys.readouterr().out == "No sender is online.\n"


def test_only_workers_whose_heart_beats_are_listed(ledger: Ledger, capsys: Output) -> None:
    # Given one worker that lives and one that was killed
    alive = worker_id("fast", "box", 1, "0a1b2c")
    ledger.join(alive, [make.profile("fast", count=1_500, mean_time=0.25, failure_rate=0.5)])
    ledger.join("dead", [make.profile("slow")])

    class Clock(ManualClock):
        """Time in which only one heart beats."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            ledger.beat(alive, round(self.monotonic() * 100))

    list_senders(ledger, Clock())
    _, row = capsys.readouterr().out.splitlines()
    assert row.split()[:6] == ["fast-1-0a1b2c@box", "box", "fast", "1,500", "0.25", "s"]
    assert "50%" in row
