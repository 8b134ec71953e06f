"""Following ends with the run, outlasts the ledger, and holds the run to its thresholds."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import islice

import pytest

from sms_pipeline.core.errors import (
    EXIT_THRESHOLD,
    LedgerUnavailableError,
    ThresholdMissedError,
    UnknownRunError,
)
from sms_pipeline.core.progress import Progress
from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger.steering import Abort
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views import monitor
from sms_pipeline.views.display import JsonView, PlainView, View
from sms_pipeline.views.monitor import follow, require_thresholds, runs_to_watch, watch
from sms_pipeline.views.reader import Reader, Reading
from tests.unit import make
from tests.unit.views.runs import Outages, deliver, reading, run_with


class Readings:
    """Stands for a `Reader`: what is read, in turn; the last for ever."""

    def __init__(self, *readings: Reading | Exception) -> None:
        self._readings = list(readings)
        self.count = 0

    def read(self) -> Reading:
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


def followed(view: Shown, every: float, *readings: Reading | Exception) -> Progress | None:
    """What comes of following a run that reads so, on a clock that does not keep anyone waiting."""
    clock = ManualClock()
    return follow(Readings(*readings), view, every, clock.sleep, clock=clock)  # type: ignore[arg-type]


DONE = reading(95)


# Following


def test_following_ends_with_the_run() -> None:
    view = Shown()
    assert followed(view, 0.1, reading(1), reading(2), DONE) is DONE.progress
    assert [one.counts.delivered for one in view.shown] == [1, 2]


def test_updates_come_every_so_many_seconds_however_often_it_reads() -> None:
    view = Shown()
    followed(view, 2.0, *(reading(number) for number in range(45)), DONE)
    assert [one.counts.delivered for one in view.shown] == [0, 20, 40]


def test_nothing_is_shown_before_it_is_known_who_is_online() -> None:
    view = Shown()
    unknown = dataclasses.replace(reading(1), decided=False)
    assert followed(view, 0.1, unknown, unknown, reading(2), DONE) is DONE.progress
    assert [one.counts.delivered for one in view.shown] == [2]


def test_following_ends_when_it_is_stopped() -> None:
    readings = Readings(reading(1), reading(2))
    last = follow(readings, Shown(), 1.0, lambda _: True)  # type: ignore[arg-type]
    assert (last, readings.count) == (reading(1).progress, 1)


def test_ledger_that_is_away_when_it_is_stopped_shows_nothing() -> None:
    readings = Readings(LedgerUnavailableError("away"))
    assert follow(readings, Shown(), 1.0, lambda _: True) is None  # type: ignore[arg-type]


def test_each_outage_of_the_ledger_is_told_once_and_outlasted() -> None:
    view = Shown()
    away = [LedgerUnavailableError("away")] * 3
    assert followed(view, 1.0, *away, reading(1), *away, DONE) is DONE.progress
    assert view.notes == ["away; waiting for it"] * 2


def test_interrupted_monitor_ends_with_a_summary(
    ledger: Ledger, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(monitor, "follow", interrupt)
    with pytest.raises(KeyboardInterrupt):
        watch(ledger, run, PlainView(), once=False)
    assert f"Run {run.id} has not ended" in capsys.readouterr().out


def test_interrupted_monitor_ends_also_without_a_ledger(
    ledger: Ledger, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(monitor, "follow", interrupt)
    monkeypatch.setattr(ledger, "snapshot", Outages(ledger.snapshot, 1))
    with pytest.raises(KeyboardInterrupt):
        watch(ledger, run, PlainView(), once=False)
    assert capsys.readouterr().out == "has not ended (the monitor was interrupted)\n"


@pytest.mark.parametrize("view", [PlainView(), JsonView()], ids=lambda view: type(view).__name__)
def test_the_summary_begins_with_the_verdict(
    ledger: Ledger, run: Run, view: View, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        deliver(ledger, run, 50, number)
    watch(ledger, run, view, once=False)
    assert re.search(r"Proven (·|\\u00b7) 0 not reached", capsys.readouterr().out)


def test_watching_once_is_one_update(
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


# Thresholds


def test_contradicting_records_do_not_show_that_nothing_is_lost(ledger: Ledger) -> None:
    # Given a settlement of a batch that was never recorded
    run = run_with(ledger, "lost == 0")
    ledger.settle([make.settlement(run.id, messages=100, delivered=100)])
    progress = Reader(ledger, run).read().progress
    assert progress.done
    with pytest.raises(ThresholdMissedError, match=r"lost == 0 \("):
        require_thresholds(progress)


def test_missed_threshold_ends_with_its_own_code(ledger: Ledger) -> None:
    run = run_with(ledger, "failed < 10%", "delivered > 50%")
    deliver(ledger, run, 30)
    with pytest.raises(ThresholdMissedError) as caught:
        watch(ledger, run, Shown(), once=True)
    assert str(caught.value) == "threshold missed: failed < 10% (seen 20.00%)"
    assert caught.value.exit_code == EXIT_THRESHOLD == 3


def test_threshold_that_can_still_turn_is_not_held_against_a_run(ledger: Ledger) -> None:
    run = run_with(ledger, "delivered > 50%", "lost == 0")
    deliver(ledger, run, 30)
    watch(ledger, run, Shown(), once=True)


def test_missed_threshold_with_abort_cancels_the_run(ledger: Ledger) -> None:
    # Given a run of which half was dispatched when too many failed
    run = run_with(ledger, "failed < 10%", abort=True)
    deliver(ledger, run, 30)
    view = Shown()
    reader = Reader(ledger, run)

    # When it is followed
    with pytest.raises(ThresholdMissedError):
        watch(ledger, run, view, once=False, clock=ManualClock())

    # Then the rest was cancelled, once, and said
    ended = reader.read().progress
    assert (ended.done, ended.counts.cancelled, ended.control) == (True, 50, Control.CANCELLED)
    (note,) = view.notes
    assert "failed < 10% (seen 20.00%)" in note
    assert f"Run {run.id} is cancelled" in note


def test_missed_threshold_without_abort_cancels_nothing(ledger: Ledger) -> None:
    run = run_with(ledger, "failed < 10%")
    deliver(ledger, run, 30)
    assert Abort(ledger, run)(Reader(ledger, run).read().progress) is None
    assert ledger.run(run.id).control is Control.RUNNING


def test_abort_is_tried_again_while_the_ledger_is_away(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with(ledger, "failed < 10%", abort=True)
    deliver(ledger, run, 30)
    progress, abort = Reader(ledger, run).read().progress, Abort(ledger, run)
    monkeypatch.setattr(ledger, "record_batches", Outages(ledger.record_batches, 1))
    with pytest.raises(LedgerUnavailableError):
        abort(progress)
    assert abort(progress)
    assert abort(progress) is None


# Which run


class StartsRuns(ManualClock):
    """Whenever somebody sleeps, a run is started."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._ledger.start_run(make.simulation(), seed=1)


def watched(ledger: Ledger, count: int, **options: object) -> list[int]:
    """The numbers of the first runs to watch."""
    given = {"run_id": None, "new": False, "forever": False, **options}
    clock = StartsRuns(ledger)
    return [run.id for run in islice(runs_to_watch(ledger, **given, clock=clock), count)]  # type: ignore[arg-type]


def test_which_runs_are_watched(ledger: Ledger, run: Run) -> None:
    latest = ledger.start_run(make.simulation(), seed=1).id
    assert watched(ledger, 9) == [latest]
    assert watched(ledger, 9, run_id=run.id) == [run.id]
    assert watched(ledger, 9, new=True) == [latest + 1]
    assert watched(ledger, 3, forever=True) == [latest + 1, latest + 2, latest + 3]
    assert watched(ledger, 2, new=True, forever=True) == [latest + 4, latest + 5]


def test_the_first_run_is_waited_for(ledger: Ledger) -> None:
    assert watched(ledger, 2, forever=True) == [1, 2]


def test_the_wait_for_the_first_run_is_told_once(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert watched(ledger, 9) == [1]
    assert capsys.readouterr().err == "Waiting for the first run to start …\n"
    assert watched(ledger, 9) == [1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", [{"once": True}, {"run_id": 1}])
def test_without_any_run_there_is_nothing_to_show(
    ledger: Ledger, options: dict[str, object]
) -> None:
    with pytest.raises(UnknownRunError):
        watched(ledger, 1, **options)


def test_waiting_for_a_run_outlasts_the_ledger(
    ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ledger, "latest_run_id", Outages(ledger.latest_run_id, 3))
    assert monitor.await_new_run(ledger, run.id, StartsRuns(ledger)).id > run.id
    assert capsys.readouterr().err == "away; waiting for it\n"
