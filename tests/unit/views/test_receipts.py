"""Every view shows when messages were on the phone, where senders have receipts, and only there."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from sms_pipeline.core.counts import Counts
from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.receipts import OnPhone
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.timeline import Bin, Timeline
from sms_pipeline.views.compare import compare, figure_rows
from sms_pipeline.views.course import Course, delivery_times_summary, make_course, reach_summary
from sms_pipeline.views.dashboard.charts import charts_json
from sms_pipeline.views.dashboard.figures import run_json
from sms_pipeline.views.lines import LINE_WIDTH, detail_lines, summary_lines
from sms_pipeline.views.metrics import families
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.reader import Reader, Reading
from sms_pipeline.views.report import charts
from sms_pipeline.views.terminal import render, render_summary
from tests.unit import make
from tests.unit.make import NOON

#: 80 messages on the phone after 2 s, 10 after 20 s, and 10 of which nobody knows.
KNOWN = OnPhone.of(np.array([*[2.0] * 80, *[20.0] * 10, *[np.nan] * 10]))
#: All were delivered within 4 s, 50 a second.
TIMELINE = Timeline(1, 200, NOON, 4.0, 1.0, (Bin(delivered=50, attempts=50),) * 4, {})


def progress(known: OnPhone | None = KNOWN) -> Progress:
    """Of a run of two profiles that has ended; the first may have receipts."""
    given = {"on_phone": known} if known else {}
    parts = [
        make.counts(
            name, dispatched=100, first_attempts=100, attempts=100, delivered=100,
            delivery_seconds=190.0, delivery_times={80: 100}, longest_delivery=1.02, **values,
        )
        for name, values in (("fast", given), ("slow", {}))
    ]  # fmt: skip
    snapshot = make.snapshot(*parts, total=200, started_at=NOON, settled_at=NOON + 4)
    return Tracker().update(snapshot, 0, NOON + 10)


def course(counts: Counts | None = None, until: float = 4.0) -> Course:
    return make_course(TIMELINE, until, counts or progress().counts)


def screen(shown: Progress, width: int) -> str:
    console = Console(file=StringIO(), width=width, height=60, force_terminal=False)
    with console.capture() as captured:
        for part in (render(shown, console), *render_summary(shown, "ended", console)):
            console.print(part)
    return captured.get()


# Words


def test_the_summary_says_when_messages_were_on_the_phone() -> None:
    lines = summary_lines(progress(), "done")
    (line,) = (line for line in lines if line.startswith("On the phone"))
    assert line.startswith("On the phone after 4.000 s from the start of the run (p50 ")
    assert "p99 20.000 s); without a receipt 10 (10.0%)." in line
    fast, slow = (line for line in lines if line.startswith("  "))
    assert "on the phone p95 " in fast
    assert ", without a receipt 10;" in fast
    assert "phone" not in slow


def test_details_have_it_on_lines_that_are_not_too_long() -> None:
    lines = detail_lines(progress())
    assert any(line.startswith("on the phone after 4.000 s  p50") for line in lines)
    assert all(len(line) <= LINE_WIDTH for line in lines)


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_screen_shows_it_at_every_width(width: int) -> None:
    shown = screen(progress(), width)
    assert "on the phone after 4.000 s" in shown
    assert "no receipt" in shown
    assert "phone p95" in shown


def test_without_receipts_no_view_speaks_of_them() -> None:
    shown = progress(None)
    text = [*summary_lines(shown, "done"), *detail_lines(shown), screen(shown, 200)]
    drawn = course(shown.counts)
    text += [reach_summary(drawn), delivery_times_summary(drawn)]
    assert not [line for line in text if "phone" in line or "receipt" in line]
    assert (drawn.on_phone, drawn.on_phone_times) == ((), ())
    assert list(charts_json(drawn)["reach"]["series"]) == ["reached"]
    assert charts_json(drawn)["delivery_times"]["beside"] == []
    assert charts.on_phone_times(drawn) == charts.EMPTY


# Figures


def test_json_has_its_figures() -> None:
    found = progress_json(progress())
    assert (found["receipts"], found["without_receipt"]) == (90, 10)
    assert found["mean_on_phone_seconds"] == 4.0
    assert found["p50_on_phone_seconds"] == pytest.approx(2, rel=0.1)
    assert found["p99_on_phone_seconds"] == 20.0
    fast, slow = found["profiles"]
    assert fast["receipts"] == 90
    assert (slow["receipts"], slow["p95_on_phone_seconds"]) == (0, None)


def test_metrics_have_a_histogram_of_profiles_with_receipts() -> None:
    shown = progress()
    parts = [make.counts("fast", on_phone=KNOWN), make.counts("slow")]
    reading = Reading(make.snapshot(*parts), shown, (), 0.0, decided=True, wall=NOON)
    found = {one.name: one for one in families.run_metrics(reading)}
    samples = found["sms_pipeline_on_phone_seconds"].samples
    assert {sample.labels["profile"] for sample in samples} == {"fast"}
    assert [s.value for s in samples if s.name.endswith("_sum")] == [360.0]
    assert [s.value for s in samples if s.name.endswith("_count")] == [90]
    (missing,) = found["sms_pipeline_without_receipt"].samples
    assert missing.value == 10
    bare = Reading(make.snapshot(make.counts("slow")), shown, (), 0.0, decided=True, wall=NOON)
    assert not [one for one in families.run_metrics(bare) if "phone" in one.name]


def test_a_comparison_has_it_where_one_of_the_runs_does(ledger: Ledger) -> None:
    runs = []
    for seed, known in enumerate((None, KNOWN)):
        run = ledger.start_run(make.simulation(num_messages=100), seed=seed, started_at=NOON)
        ledger.record_batches(run.id, [make.row(run.id, size=100)])
        ledger.settle([make.settlement(run.id, messages=100, delivered=100, on_phone=known)])
        runs.append(ledger.run(run.id))
    rows = {row[0]: row[1:3] for row in figure_rows(compare(runs[0], runs[1], ledger))}
    assert rows["average until on phone"] == ("-", "4.000 s")
    assert rows["p99 on phone"] == ("-", "20.000 s")
    assert rows["without receipt"] == ("0", "10")
    same = {row[0] for row in figure_rows(compare(runs[0], runs[0], ledger))}
    assert not [name for name in same if "phone" in name or "receipt" in name]


# Curves


def test_the_curve_is_the_share_of_all_messages_that_was_on_the_phone() -> None:
    points = course(until=60.0).on_phone
    assert list(points) == sorted(points)
    # Of 200 messages 80 were within 2.05 s, no more until 18 s, and after 60 s all with a receipt
    assert [point.share for point in points] == pytest.approx([0, 0, 0.4, 0.4, 0.45, 0.45])
    assert [point.seconds for point in points] == pytest.approx(
        [0, 1.878, 2.048, 19.484, 21.247, 60], rel=0.001
    )


def test_the_curve_ends_with_the_run() -> None:
    drawn = course()
    assert drawn.on_phone[-1] == (4.0, pytest.approx(0.4))
    assert list(drawn.on_phone) == sorted(drawn.on_phone)
    assert "40.0% on the phone by then" in reach_summary(drawn)
    # Within a bucket, here from 3.756 to 4.096 s, it is straight
    late = course(Counts(on_phone=OnPhone.of(np.full(100, 3.9))))
    assert late.on_phone[-1].share == pytest.approx(0.5 * 0.244 / 0.340, abs=0.01)


def test_report_and_dashboard_draw_the_same_curve_and_bars() -> None:
    drawn = course()
    page = charts_json(drawn)
    assert list(page["reach"]["series"]) == ["reached", "on the phone"]
    assert page["reach"]["series"]["on the phone"][-1] == pytest.approx(0.4)
    assert "on the phone" in [shape.name for shape in charts.reach(drawn).shapes]
    (beside,) = page["delivery_times"]["beside"]
    bars = charts.on_phone_times(drawn)
    assert beside["texts"] == [hover.text for hover in bars.hovers]
    assert len(beside["series"]["on the phone"]) == 2
    assert [mark.text for mark in bars.marks] == ["p50", "p95", "p99"]
    assert "On the phone: p50 " in delivery_times_summary(drawn)


def test_the_dashboard_has_its_times(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=100), seed=7, started_at=NOON)
    ledger.record_batches(run.id, [make.row(run.id, size=100)])
    ledger.settle([make.settlement(run.id, messages=100, delivered=100, on_phone=KNOWN)])
    shown = run_json(ledger.run(run.id), Reader(ledger, run).read_decided(), TIMELINE)["shown"]
    times = dict(shown["times"])
    assert times["99% on the phone within"] == "20.000 s"
    assert times["Without a receipt"] == "10"
