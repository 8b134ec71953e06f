"""A report says what the ledger says, in three formats."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from sms_pipeline.config.settings import Settings
from sms_pipeline.core.counts import Counts
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.core.failover import HandOver
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.audit import audit_ledger
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.ledger.verdict import Verdict
from sms_pipeline.views.lines import summary_lines
from sms_pipeline.views.report.document import RunReport, as_csv, as_json, make_report
from sms_pipeline.views.report.page import as_html, save
from tests.unit import make
from tests.unit.make import NOON, bitmap

TOTAL = 30
#: An event after the end of the run.
LATE = {"at": 500, "for": 10}
#: What no page may do: ask for anything, or run anything.
FETCHES = re.compile(r"https?:|//|src\s*=|<link|<script|@import|url\(|<iframe|<object", re.I)


@pytest.fixture
def done(ledger: Ledger) -> Run:
    """Three batches: one delivered, one retried and then failed in part, one cancelled."""
    run = ledger.start_run(make.simulation(num_messages=TOTAL), seed=7)
    ledger.join("w1", [make.profile("fast")])
    profiles = ("fast", "slow", "fast")
    rows = [
        make.row(run.id, number, number * 10, profile=profile, published_at=NOON)
        for number, profile in enumerate(profiles)
    ]
    ledger.record_batches(run.id, [replace(row, published_at=None) for row in rows])
    ledger.mark_published(run.id, [(row.number, NOON) for row in rows])
    slow = {"profile": "slow", "worker": "w2"}
    ledger.settle(
        [
            make.settlement(run.id, 0, settled_at=NOON + 1, delivery_times={80: 10}),
            make.settlement(
                run.id,
                1,
                delivered=8,
                retried=2,
                remainder=bitmap(1, 2),
                delivery_times={90: 8},
                settled_at=NOON + 2,
                **slow,
            ),
            make.settlement(
                run.id,
                1,
                1,
                messages=2,
                delivered=1,
                failed=1,
                taken=bitmap(1, 2),
                failed_indexes=[11],
                delivery_times={100: 2},
                settled_at=NOON + 3,
                **slow,
            ),
            make.settlement(
                run.id,
                2,
                delivered=0,
                cancelled=10,
                settled_at=NOON + 4,
                worker="cancel",
                send_seconds=0.0,
                delivery_seconds=0.0,
            ),
        ]
    )
    return run


@pytest.fixture
def report(ledger: Ledger, done: Run) -> RunReport:
    return make_report(Settings(), ledger, done)


def text_of(page: str) -> str:
    """What a reader sees of it."""
    body = re.sub(r"<(style|title)>.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


# Figures


def test_its_numbers_are_the_ledgers(report: RunReport, ledger: Ledger, done: Run) -> None:
    profiles = ledger.snapshot(done).profiles
    found = json.loads(as_json(report))
    for name, counted in (
        ("delivered", sum(one.delivered for one in profiles)),
        ("failed", sum(one.failed for one in profiles)),
        ("cancelled", sum(one.cancelled for one in profiles)),
        ("dispatched", TOTAL),
    ):
        assert found["progress"][name] == counted
    assert found["progress"]["done"]
    assert found["audit"] == audit_ledger(ledger, done).to_json()
    assert found["audit"]["verdict"] == Verdict.PROVEN
    assert found["outcome"] == "Proven · 1 not reached · 10 cancelled"
    assert found["not_reached"] == 1
    assert found["delivery_times"] == {"80": 10, "90": 8, "100": 2}
    bins = found["course"]["bins"]
    for name in ("delivered", "failed", "cancelled", "dispatched"):
        assert sum(one[name] for one in bins) == found["progress"].get(name, 19)


def test_it_tells_when_a_share_was_reached(report: RunReport) -> None:
    assert report.timeline.time_to_reach == {0.5: pytest.approx(2), 0.9: None, 0.99: None}
    assert json.loads(as_json(report))["course"]["time_to_reach"] == {
        "0.5": 2,
        "0.9": None,
        "0.99": None,
    }


def test_it_names_who_sent_what(report: RunReport) -> None:
    workers = {one["id"]: one for one in report.to_json()["workers"]}
    assert set(workers) == {"w1", "w2", "cancel"}
    assert (workers["w1"]["delivered"], workers["w1"]["senders"]) == (10, 1)
    assert (workers["w2"]["delivered"], workers["w2"]["failed"]) == (9, 1)
    assert workers["cancel"]["senders"] is None
    assert workers["cancel"]["host"] is None


def test_it_tells_what_went_wrong_and_how_long_the_run_took_to_recover(ledger: Ledger) -> None:
    # Given a run of ten messages a second, with nothing for ten seconds and little for five more
    events = [{"at": 20, "for": 10, "profile": "fast", "outage": True}, {**LATE, "slowdown": 2}]
    simulation = make.simulation(num_messages=1_000, events=events, batch_size=10)
    run = ledger.start_run(simulation, seed=7, started_at=NOON)
    rows = [make.row(run.id, n, n * 10, queued_at=NOON + 2) for n in range(100)]
    ledger.record_batches(run.id, rows)
    moments = [*range(2, 22), *range(37, 100)]
    ledger.settle(
        [
            make.settlement(run.id, number, settled_at=NOON + moment, delivery_times={80: 10})
            for number, moment in enumerate(moments)
        ]
    )
    # When it is reported, then the outage counts from the first dispatch
    report = make_report(Settings(), ledger, run)
    found = json.loads(as_json(report))["events"]
    assert [(one["start"], one["end"], one["outage"]) for one in found] == [(22, 32, True)]
    assert found[0]["time_to_recover"] == pytest.approx(4, abs=1)
    text = text_of(as_html(report))
    assert re.search(
        r"22\.0 s to 32\.0 s outage of fast recovered [345][.\d]* s after its end", text
    )
    # … and what comes later is not told
    assert "times as slow" not in text


def test_a_run_without_events_says_nothing_of_them(report: RunReport) -> None:
    assert json.loads(as_json(report))["events"] == []
    assert "What went wrong" not in as_html(report)


def test_it_names_versions_and_where_things_were(report: RunReport) -> None:
    versions = report.versions
    assert set(versions) == {"sms-pipeline", "celery", "kombu", "Python", "database", "broker"}
    assert versions["database"].startswith("SQLite 3.")
    assert versions["broker"] == "RabbitMQ"


def test_the_password_of_the_database_is_nowhere(report: RunReport, ledger_url: str) -> None:
    assert ledger_url.removeprefix("sqlite:///") not in as_html(report) + as_json(report)


# CSV


def test_csv_has_the_course_of_the_run(report: RunReport) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert len(rows) == len(report.timeline.bins)
    assert sum(int(row["delivered"]) for row in rows) == 19
    assert [float(row["second"]) for row in rows] == pytest.approx(report.timeline.starts)
    assert float(rows[-1]["reached"]) == pytest.approx(19 / TOTAL, abs=1e-6)


# The page


def test_the_page_asks_for_nothing_and_runs_nothing(report: RunReport) -> None:
    assert FETCHES.findall(as_html(report)) == []


def test_the_page_has_the_figures(report: RunReport) -> None:
    text = text_of(as_html(report))
    for part in (
        "63.3% of 30 messages reached in 4.0 s",
        "done Proven · 1 not reached · 10 cancelled",
        "Delivered 19 of 30",
        "Failed 1 out of attempts",
        "Cancelled 10",
        "50% after 2.0 s",
        "50% of the messages 2.0 s",
        "99% of the messages not reached",
        "1 message not reached",
        "seed of this run 7",
        "retry.max_attempts 4",
        "database SQLite 3.",
    ):
        assert part in text, part
    assert "Not done yet" not in text


def test_the_page_of_a_run_that_goes_on_says_so(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=TOTAL), seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    left = {"retried": 1, "remainder": bitmap(0), "delivery_times": {80: 9}}
    ledger.settle([make.settlement(run.id, delivered=9, **left)])
    text = text_of(as_html(make_report(Settings(), ledger, run)))
    assert "Not done yet: 30.0% of 30 messages reached" in text
    assert "Figures as of" in text
    assert "stalled Not finished · 21 open · 0 not reached" in text
    assert "the run is stalled: start a worker: celery -A sms_pipeline worker --profile" in text
    assert "In flight 1" in text


def test_the_page_of_a_run_that_has_not_begun(ledger: Ledger, run: Run) -> None:
    text = text_of(as_html(make_report(Settings(), ledger, run)))
    assert "Nothing has been settled yet." in text
    assert "No worker has settled anything yet." in text


def test_thresholds_are_shown_as_they_stand(ledger: Ledger) -> None:
    checks = (
        {"check": "failed < 5%"},
        {"check": "delivered >= 8", "abort": True},
        {"check": "lost == 0"},
    )
    run = ledger.start_run(make.simulation(num_messages=10, thresholds=checks), seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    ended = {"failed": 1, "failed_indexes": [3], "delivery_times": {80: 10}}
    ledger.settle([make.settlement(run.id, delivered=9, **ended)])
    text = text_of(as_html(make_report(Settings(), ledger, run)))
    assert "failed < 5% missed seen 10.00%" in text
    assert "delivered >= 8 passed seen 9; if missed, the run is cancelled" in text
    assert "lost == 0 passed seen 0" in text
    assert "done Proven · 2 of 3 thresholds passed · 1 not reached" in text


def test_names_from_elsewhere_are_escaped(report: RunReport) -> None:
    evil = '<script src="http://x/">&\'"'
    worker = report.workers[0]
    counts = worker.counts._replace(worker=evil, profile=evil)
    hurt = replace(
        report,
        workers=(worker._replace(counts=counts),),
        versions={evil: evil},
        audit=replace(report.audit, problems=[evil]),
        progress=replace(
            report.progress,
            warnings=(evil,),
            profiles=(replace(report.progress.profiles[0], name=evil),),
        ),
    )
    page = as_html(hurt)
    assert "<script" not in page
    assert page.count(html.escape(evil)) >= 6
    assert "broken" in text_of(page)


def test_long_lists_are_cut(report: RunReport) -> None:
    long = replace(
        report,
        workers=report.workers * 50,
        audit=replace(report.audit, problems=[f"problem {number}" for number in range(30)]),
    )
    text = text_of(as_html(long))
    assert "… and 50 more." in text
    assert "problem 19 … and 10 more" in text


def test_what_is_almost_all_is_not_shown_as_all(report: RunReport) -> None:
    counts = Counts(delivered=999_999, failed=1)
    progress = replace(report.progress, counts=counts, total=1_000_000)
    assert "99.9% of 1,000,000" in text_of(as_html(replace(report, progress=progress)))


# Files


@pytest.mark.parametrize("kind", ["html", "json", "csv"])
def test_a_report_is_saved_over_what_is_there(
    report: RunReport, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report"
    path.write_text("before" * 100_000)
    save(report, kind, path)
    assert path.read_text().startswith({"html": "<!doctype", "json": "{", "csv": "second,"}[kind])
    assert str(path) in capsys.readouterr().err
    save(report, kind, None)
    assert capsys.readouterr().out == path.read_text()


@pytest.mark.parametrize("name", ["none/report.html", ".", "a\0b"])
def test_path_that_can_not_be_written_is_one_line(
    report: RunReport, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match="can't be written: ") as caught:
        save(report, "html", tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_long_run_makes_a_small_page(ledger: Ledger) -> None:
    run = ledger.start_run(make.simulation(num_messages=20_000), seed=1)
    rows = [make.row(run.id, n, n * 10, queued_at=NOON + n) for n in range(2_000)]
    ledger.record_batches(run.id, rows)
    ledger.settle(
        [
            make.settlement(run.id, n, settled_at=NOON + n * 3.5, delivery_times={n % 200: 10})
            for n in range(2_000)
        ]
    )
    page = as_html(make_report(Settings(), ledger, run))
    assert "All 20,000 messages reached in 1 h 56 min" in text_of(page)
    assert len(page.encode()) < 200_000


def test_hand_overs_are_in_the_page_and_in_the_summary(ledger: Ledger) -> None:
    simulation = make.simulation(num_messages=10, failover={"attempts": 1, "to": "slow"})
    run = ledger.start_run(simulation, seed=7)
    ledger.record_batches(run.id, [make.row(run.id)])
    moved = [HandOver("fast", "slow", 1_004)]
    ledger.settle([make.settlement(run.id, handed_over=moved)])
    report = make_report(Settings(), ledger, run)
    assert "Handed over" in as_html(report)
    assert "fast 1,004 away slow 1,004 in" in re.sub(r"\s+", " ", as_html(report))
    lines = "\n".join(summary_lines(report.progress, "done"))
    assert "Handed over between profiles: 1,004 messages." in lines
    assert ", 1,004 handed away" in lines


def test_a_run_without_hand_overs_says_nothing_of_them(ledger: Ledger, done: Run) -> None:
    report = make_report(Settings(), ledger, done)
    assert "Handed over" not in as_html(report)
    assert "anded" not in "\n".join(summary_lines(report.progress, "done"))
