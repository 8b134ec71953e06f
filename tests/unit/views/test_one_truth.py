"""Every view says the same of a run, however it stands."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import Any

import pytest
from rich.console import Console

from sms_pipeline.config.settings import Settings
from sms_pipeline.ledger.timeline import timeline
from sms_pipeline.views.dashboard.figures import run_json
from sms_pipeline.views.format import count, duration, message_time, percent, rate
from sms_pipeline.views.lines import detail_lines, profile_lines, summary_lines, update_line
from sms_pipeline.views.metrics.families import run_metrics
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.percentiles import percentiles
from sms_pipeline.views.report.document import as_csv, make_report
from sms_pipeline.views.report.page import as_html
from sms_pipeline.views.terminal import render, render_summary
from tests.unit.views.cases import PROFILES, Case

#: The figures of a run, as texts by name; those of a profile have its name in front.
Figures = dict[str, str]
STATES = ("delivered", "failed", "expired", "cancelled")
TIMES = ("average time", "p50", "p95", "p99")
OF_A_RUN = (*STATES, "failed attempts", *TIMES, "average rate", "duration")
OF_PROFILES = tuple(
    f"{profile} {name}" for profile in PROFILES for name in ("senders", "share", "efficiency")
)
#: Cells of a profile's row in the report.
PROFILE_CELLS = 10


def truth(case: Case) -> Figures:
    """The figures as they are computed, before any view has them."""
    progress, counts = case.progress, case.progress.counts
    return {
        **{name: count(getattr(counts, name)) for name in STATES},
        "failed attempts": count(counts.failed_attempts),
        "average time": message_time(counts.mean_delivery),
        **{name: message_time(seconds) for name, seconds in percentiles(counts).items()},
        "average rate": rate(progress.average_rate),
        "duration": duration(progress.seconds),
        **{f"{one.name} senders": count(one.senders) for one in progress.profiles},
        **{f"{one.name} share": percent(one.share) for one in progress.profiles},
        **{f"{one.name} efficiency": percent(one.efficiency) for one in progress.profiles},
    }


def found(pattern: str, text: str) -> str:
    """The one group of the pattern."""
    match = re.search(pattern, text)
    assert match, (pattern, text)
    return match[1].strip()


#: A time or a duration, a number, and a share.
TIME = r"([\d.]+ s|\d+ min \d\d s|\d+ h \d\d min)"
NUMBER = r"(\d(?:[\d,]*\d)?)"
SHARE = r"([\d.]+%|-)"


def words(text: str) -> str:
    return " ".join(text.split())


def said(text: str, seconds: str) -> Figures:
    """What a view for people says of the run; `seconds` is where the duration stands."""
    return {
        **{name: found(rf"\b{name} {NUMBER}", text) for name in STATES},
        "failed attempts": found(rf"failed attempts {NUMBER}", text),
        "average time": found(rf"verage time per message {TIME}", text),
        **{name: found(rf"\b{name} {TIME}", text) for name in ("p50", "p95", "p99")},
        "average rate": found(r"average rate ([\d.,]+/s)", text),
        "duration": found(seconds, text),
    }


# The views


def of_json(shown: dict[str, Any]) -> Figures:
    profiles = {one["name"]: one for one in shown["profiles"]}
    return {
        **{name: count(shown[name]) for name in STATES},
        "failed attempts": count(shown["failed_attempts"]),
        "average time": message_time(shown["mean_delivery_seconds"]),
        **{name: message_time(shown[f"{name}_delivery_seconds"]) for name in ("p50", "p95", "p99")},
        "average rate": rate(shown["average_rate"]),
        "duration": duration(shown["seconds"]),
        **{f"{name} senders": count(one["senders"]) for name, one in profiles.items()},
        **{f"{name} share": percent(one["share"]) for name, one in profiles.items()},
        **{f"{name} efficiency": percent(one["efficiency"]) for name, one in profiles.items()},
    }


def test_json_has_every_figure(case: Case) -> None:
    shown = json.loads(json.dumps(progress_json(case.progress)))
    assert of_json(shown) == truth(case)


def test_the_terminal_says_the_same_during_the_run(case: Case) -> None:
    console = Console(width=150, height=60, record=True, file=io.StringIO())
    console.print(render(case.progress, console))
    screen = console.export_text()
    figures = said(words(screen), rf"% of 100 {TIME}, (?:ETA|\w+, no ETA)")
    for name in PROFILES:
        row = re.split(r"  +", found(rf"(?m)^({name} .*)$", screen))
        figures |= {
            f"{name} senders": row[1],
            f"{name} share": row[4],
            f"{name} efficiency": row[10],
        }
    assert figures == truth(case)


def test_the_terminal_says_the_same_at_the_end(case: Case) -> None:
    console = Console(width=150, record=True, file=io.StringIO())
    for part in render_summary(case.progress, "ended", console):
        console.print(part)
    figures = said(words(console.export_text().replace("Delivered", "delivered")), rf"in {TIME}")
    assert figures == {name: truth(case)[name] for name in OF_A_RUN}


def test_plain_lines_say_the_same(case: Case) -> None:
    line = words(" ".join([update_line(case.progress), *detail_lines(case.progress)]))
    # A line has no room for what seldom happens, nor for the rate over all.
    shared = ("delivered", "failed", "failed attempts", *TIMES, "duration")
    summary = words(" ".join(summary_lines(case.progress, "ended")))
    both = said(f"{summary.replace('Delivered', 'delivered')} {line}", rf"in {TIME}")
    assert both == {name: truth(case)[name] for name in OF_A_RUN}
    extra = " expired 0 cancelled 0 average rate 0/s"
    alone = said(line + extra, rf"\[ ?{TIME}\]")
    assert {name: alone[name] for name in shared} == {name: truth(case)[name] for name in shared}
    for profile in case.progress.profiles:
        text = words(" ".join(profile_lines(profile)))
        for name, pattern in (("senders", NUMBER), ("share", SHARE), ("efficiency", SHARE)):
            assert found(rf"{name} {pattern}", text) == truth(case)[f"{profile.name} {name}"]


def test_the_dashboard_says_the_same(case: Case) -> None:
    course = timeline(case.world.ledger, case.run)
    page = json.loads(json.dumps(run_json(case.run, case.reading, course)))
    assert of_json(page) == truth(case)
    wanted, done = truth(case), case.progress.done
    texts, times = page["shown"]["texts"], dict(page["shown"]["times"])
    assert (texts["delivered"], texts["failed"]) == (wanted["delivered"], wanted["failed"])
    assert (
        texts["failed-more"] == f"also {wanted['expired']} expired, {wanted['cancelled']} cancelled"
    )
    assert wanted["average rate"] in texts["rate" if done else "rate-more"]
    assert wanted["duration"] in texts["eta" if done else "eta-more"]
    assert times["Average time per message"] == wanted["average time"]
    for name, share in (("p50", "50%"), ("p95", "95%"), ("p99", "99%")):
        assert times[f"{share} within"] == wanted[name]
    for cells in page["shown"]["profiles"]:
        assert cells[1] == wanted[f"{cells[0]} senders"]
        assert cells[8] == wanted[f"{cells[0]} efficiency"]


def test_the_report_says_the_same(case: Case) -> None:
    report = make_report(Settings(), case.world.ledger, case.run, case.world.clock)
    assert of_json(report.to_json()["progress"]) == truth(case)
    body = re.sub(r"<(style|title)>.*?</\1>", " ", as_html(report), flags=re.S)
    text = words(html.unescape(re.sub(r"<[^>]+>", " ", body)))
    figures = {
        **{name: found(rf"{name.capitalize()} {NUMBER}", text) for name in STATES},
        "failed attempts": found(rf"Failed attempts {NUMBER}", text),
        "average time": found(rf"Average time per message {TIME}", text),
        "average rate": found(r"Average rate ([\d.,]+/s)", text),
        "duration": found(rf"over {TIME}", text),
    }
    for place, name in enumerate(("p50", "p95", "p99"), start=1):
        figures[name] = found(
            rf" all (?:{TIME[1:-1]}) " + rf"(?:{TIME[1:-1]}) " * (place - 1) + TIME, text
        )
    cells = text.partition("failure rate seen set efficiency ")[2].split()
    for name in PROFILES:
        row = cells[cells.index(name) :][:PROFILE_CELLS]
        figures |= {
            f"{name} senders": row[1],
            f"{name} share": row[2],
            f"{name} efficiency": row[-1],
        }
    assert figures == truth(case)


def test_the_csv_says_the_same(case: Case) -> None:
    report = make_report(Settings(), case.world.ledger, case.run, case.world.clock)
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    for name in STATES:
        assert count(sum(int(row[name]) for row in rows)) == truth(case)[name]
    delivered = case.progress.counts.delivered
    assert float(rows[-1]["reached"]) == pytest.approx(delivered / case.run.total)


def test_the_metrics_say_the_same(case: Case) -> None:
    samples = [one for family in run_metrics(case.reading) for one in family.samples]

    def total(name: str, **labels: str) -> float:
        wanted = labels.items()
        return sum(
            one.value
            for one in samples
            if one.name == f"sms_pipeline_{name}" and wanted <= one.labels.items()
        )

    seconds, timed = total("run_elapsed_seconds"), total("delivery_seconds_count")
    dispatched = total("dispatched_messages_total")
    figures = {
        **{name: count(total("messages_total", state=name)) for name in STATES},
        "failed attempts": count(total("attempts_total", outcome="failed")),
        "average time": message_time(total("delivery_seconds_sum") / timed),
        "average rate": rate(timed / seconds),
        "duration": duration(seconds),
    }
    for name in PROFILES:
        known = any(
            one.name == "sms_pipeline_efficiency_ratio" and one.labels["profile"] == name
            for one in samples
        )
        efficiency = total("efficiency_ratio", profile=name) if known else None
        figures |= {
            f"{name} senders": count(total("senders_online", profile=name)),
            f"{name} share": percent(total("dispatched_messages_total", profile=name) / dispatched),
            f"{name} efficiency": percent(efficiency),
        }
    # Buckets of Prometheus are too wide for the percentiles.
    percentile = {"p50", "p95", "p99"}
    assert figures == {name: text for name, text in truth(case).items() if name not in percentile}


def test_no_figure_is_left_out(case: Case) -> None:
    assert set(truth(case)) == {*OF_A_RUN, *OF_PROFILES}
