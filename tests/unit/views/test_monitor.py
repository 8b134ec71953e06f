"""Views say the same in words, lines and JSON; following ends with the run."""

from __future__ import annotations

import json
import threading
from itertools import islice

import pytest

from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.records import Control, Run
from sms_pipeline.core.thresholds import State
from sms_pipeline.errors import (
    EXIT_THRESHOLD,
    LedgerUnavailableError,
    ThresholdMissedError,
    UnknownRunError,
)
from sms_pipeline.ledger.steering import Abort
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views import monitor
from sms_pipeline.views.lines import update_line
from sms_pipeline.views.monitor import (
    JsonView,
    PlainView,
    Reader,
    SummaryJsonView,
    follow,
    make_view,
    require_thresholds,
    runs_to_watch,
    watch,
)
from tests.unit import make
from tests.unit.make import NOON


def progress(delivered: int = 40, **values: object) -> Progress:
    counts = make.counts(
        "fast", dispatched=1_100, first_attempts=100, attempts=100, delivered=delivered, failed=5,
        retried=10, send_seconds=12.0, delivery_seconds=90.0, delivery_times={80: 45},
    )  # fmt: skip
    snapshot = make.snapshot(counts, started_at=NOON, settled_at=NOON + 9, **values)
    return Tracker().update(snapshot, 0, NOON + 10)


class Readings:
    """Stands for a `Reader`: what is read, in turn; the last for ever."""

    def __init__(self, *readings: Progress | Exception) -> None:
        self._readings = list(readings)
        self.count = 0

    def read(self) -> Progress:
        reading = self._readings[min(self.count, len(self._readings) - 1)]
        self.count += 1
        if isinstance(reading, Exception):
            raise reading
        return reading


class Shown(PlainView):
    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Progress] = []
        self.notes: list[str] = []

    def show(self, progress: Progress) -> None:
        self.shown.append(progress)

    def note(self, message: str) -> None:
        self.notes.append(message)


class NeverWaits(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


DONE = progress(95)


# Following


def test_following_ends_with_the_run() -> None:
    view = Shown()
    readings = Readings(progress(1), progress(2), DONE)
    assert follow(readings, view, 0.0, NeverWaits()) is DONE  # type: ignore[arg-type]
    assert [one.counts.delivered for one in view.shown] == [1, 2]


def test_reports_come_every_so_many_seconds_however_often_it_reads() -> None:
    view = Shown()
    readings = Readings(*[progress(n) for n in range(50)], DONE)
    follow(readings, view, 3_600.0, NeverWaits())  # type: ignore[arg-type]
    assert [one.counts.delivered for one in view.shown] == [0]


def test_following_ends_when_it_is_stopped() -> None:
    stopped = NeverWaits()
    stopped.set()
    assert follow(Readings(progress()), Shown(), 1.0, stopped) is None  # type: ignore[arg-type]


def test_ledger_that_is_away_is_told_of_and_waited_for() -> None:
    view = Shown()
    readings = Readings(LedgerUnavailableError("away"), DONE)
    assert follow(readings, view, 1.0, NeverWaits()) is DONE  # type: ignore[arg-type]
    assert view.notes == ["away; waiting for it"]


def test_interrupted_monitor_ends_with_a_summary(
    ledger: Ledger, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(monitor, "follow", interrupt)
    with pytest.raises(KeyboardInterrupt):
        watch(ledger, run, PlainView(), once=False)
    assert f"Run {run.id} still going on" in capsys.readouterr().out


def test_watching_once_is_one_report(
    ledger: Ledger, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    watch(ledger, run, JsonView(), once=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["delivered"] == 100


def test_watching_a_finished_run_ends_at_once(
    ledger: Ledger, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    watch(ledger, run, PlainView(), once=False)
    assert f"Run {run.id} done: 100 of 100 messages" in capsys.readouterr().out


def test_reader_names_old_batches(ledger: Ledger, run: Run) -> None:
    ledger.record_batches(run.id, [make.row(run.id)])
    assert any("dispatched long ago" in one for one in Reader(ledger, run).read().warnings)


# Thresholds


def kept_to(ledger: Ledger, *checks: str, abort: bool = False) -> Run:
    """A run of 100 messages with these thresholds."""
    thresholds = [{"check": check, "abort": abort} for check in checks]
    return ledger.start_run(make.simulation(num_messages=100, thresholds=thresholds), seed=7)


def deliver(ledger: Ledger, run: Run, delivered: int, number: int = 0) -> None:
    """Record and settle a batch of 50 messages; those not delivered fail."""
    first = number * 50
    ledger.record_batches(run.id, [make.row(run.id, number, first_index=first, size=50)])
    missing = 50 - delivered
    ledger.settle([
        make.settlement(
            run.id, number, messages=50, delivered=delivered, failed=missing,
            failed_indexes=range(first, first + missing),
            settled_at=NOON + 10 * (number + 1), delivery_times={80: 50},
        )
    ])  # fmt: skip


def test_reader_tells_when_a_share_was_reached(ledger: Ledger) -> None:
    run = kept_to(ledger, "reached 50% < 15s", "reached 51% < 15s")
    deliver(ledger, run, 50)
    reader = Reader(ledger, run)
    assert [one.seen for one in reader.read().thresholds] == [10.0, None]
    deliver(ledger, run, 50, number=1)
    assert [one.seen for one in reader.read().thresholds] == [10.0, 20.0]
    assert [one.state for one in reader.read().thresholds] == [State.HOLDING, State.MISSED]


def test_reader_audits_at_the_end_and_only_then(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept_to(ledger, "lost == 0", "doubled == 0")
    audits: list[int] = []
    audit = monitor.audit_ledger
    monkeypatch.setattr(monitor, "audit_ledger", lambda *a: audits.append(1) or audit(*a))
    reader = Reader(ledger, run)
    deliver(ledger, run, 50)
    assert {one.state for one in reader.read().thresholds} == {State.UNKNOWN}
    assert audits == []
    deliver(ledger, run, 50, number=1)
    for _ in range(2):
        assert {one.state for one in reader.read().thresholds} == {State.HOLDING}
    assert len(audits) == 1


def test_contradicting_records_do_not_show_that_nothing_is_lost(ledger: Ledger) -> None:
    # Given a settlement of a batch that was never recorded
    run = kept_to(ledger, "lost == 0")
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    progress = Reader(ledger, run).read()
    assert progress.done
    with pytest.raises(ThresholdMissedError, match=r"lost == 0 \("):
        require_thresholds(progress)


def test_run_without_an_audited_threshold_is_not_audited(
    ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "audit_ledger", None)
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    assert Reader(ledger, run).read().done


def test_missed_threshold_ends_with_its_own_code(ledger: Ledger) -> None:
    run = kept_to(ledger, "failed < 10%", "delivered > 50%")
    deliver(ledger, run, 30)
    with pytest.raises(ThresholdMissedError) as caught:
        watch(ledger, run, Shown(), once=True)
    assert str(caught.value) == "threshold missed: failed < 10% (seen 20.00%)"
    assert caught.value.exit_code == EXIT_THRESHOLD == 3


def test_threshold_that_can_still_turn_is_not_held_against_a_run(ledger: Ledger) -> None:
    run = kept_to(ledger, "delivered > 50%", "lost == 0")
    deliver(ledger, run, 30)
    watch(ledger, run, Shown(), once=True)


def test_missed_threshold_with_abort_cancels_the_run(ledger: Ledger) -> None:
    # Given a run of which half was dispatched when too many failed
    run = kept_to(ledger, "failed < 10%", abort=True)
    deliver(ledger, run, 30)
    view = Shown()
    reader = Reader(ledger, run)

    # When it is followed
    with pytest.raises(ThresholdMissedError):
        watch(ledger, run, view, once=False)

    # Then the rest was cancelled, once, and said
    progress = reader.read()
    assert (progress.done, progress.counts.cancelled, progress.control) == (
        True,
        50,
        Control.CANCELLED,
    )
    (note,) = view.notes
    assert "failed < 10% (seen 20.00%)" in note
    assert f"Run {run.id} is cancelled" in note


def test_missed_threshold_without_abort_cancels_nothing(ledger: Ledger) -> None:
    run = kept_to(ledger, "failed < 10%")
    deliver(ledger, run, 30)
    assert Abort(ledger, run)(Reader(ledger, run).read()) is None
    assert ledger.run(run.id).control is Control.RUNNING


def test_abort_is_tried_again_while_the_ledger_is_away(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kept_to(ledger, "failed < 10%", abort=True)
    deliver(ledger, run, 30)
    progress, abort = Reader(ledger, run).read(), Abort(ledger, run)

    def away(*_: object) -> None:
        raise LedgerUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "unsettled", away)
        with pytest.raises(LedgerUnavailableError):
            abort(progress)
    assert abort(progress)
    assert abort(progress) is None


class StartsRuns:
    """Stands for the module `time`: whenever somebody sleeps, a run is started."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def sleep(self, _seconds: float) -> None:
        self._ledger.start_run(make.simulation(), seed=1)


@pytest.fixture
def sleeping_starts_runs(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "time", StartsRuns(ledger))


def watched(ledger: Ledger, count: int, **options: object) -> list[int]:
    """The numbers of the first runs to watch."""
    given = {"run_id": None, "new": False, "forever": False, **options}
    return [run.id for run in islice(runs_to_watch(ledger, **given), count)]  # type: ignore[arg-type]


@pytest.mark.usefixtures("sleeping_starts_runs")
def test_which_runs_are_watched(ledger: Ledger, run: Run) -> None:
    latest = ledger.start_run(make.simulation(), seed=1).id
    assert watched(ledger, 9) == [latest]
    assert watched(ledger, 9, run_id=run.id) == [run.id]
    assert watched(ledger, 9, new=True) == [latest + 1]
    assert watched(ledger, 3, forever=True) == [latest + 1, latest + 2, latest + 3]
    assert watched(ledger, 2, new=True, forever=True) == [latest + 4, latest + 5]


@pytest.mark.usefixtures("sleeping_starts_runs")
def test_the_first_run_is_waited_for(ledger: Ledger) -> None:
    assert watched(ledger, 2, forever=True) == [1, 2]


def test_without_any_run_there_is_nothing_to_watch(ledger: Ledger) -> None:
    with pytest.raises(UnknownRunError):
        watched(ledger, 1)


@pytest.mark.usefixtures("sleeping_starts_runs")
def test_waiting_for_a_run_outlasts_the_ledger(
    ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([LedgerUnavailableError("away")] * 3)
    latest = ledger.latest_run_id

    def away_at_first() -> int | None:
        for error in answers:
            raise error
        return latest()

    monkeypatch.setattr(ledger, "latest_run_id", away_at_first)
    assert monitor.await_new_run(ledger, run.id).id > run.id
    assert capsys.readouterr().err == "away; waiting for it\n"


# Views


def test_plain_view_shows_profiles_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView().show(progress())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == update_line(progress())
    assert lines[1].strip().startswith("fast: senders online 0  backlog 1,000")
    assert lines[2].strip().startswith("! profile fast: 1,010 messages waiting")


def test_json_view_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    view = JsonView()
    view.show(progress())
    view.note("broker away")
    view.close(DONE, "done")
    out, err = capsys.readouterr()
    assert [json.loads(line)["done"] for line in out.splitlines()] == [False, True]
    assert err == "broker away\n"


def test_summary_json_is_alone_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    view = SummaryJsonView()
    view.show(progress())
    view.close(DONE, "done")
    out, err = capsys.readouterr()
    assert json.loads(out)["done"]
    assert update_line(progress()) in err


@pytest.mark.parametrize("view", [JsonView(), PlainView(), SummaryJsonView()])
def test_view_closes_also_before_the_first_report(view: monitor.View) -> None:
    view.close(None, "stopped")


@pytest.mark.parametrize(("as_json", "kind"), [(True, JsonView), (False, PlainView)])
def test_view_for_a_pipe(as_json: bool, kind: type) -> None:
    assert type(make_view(as_json, terminal=False)) is kind
