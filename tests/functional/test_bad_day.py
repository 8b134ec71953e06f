"""A real run on a bad day: what the forecast told, what the ledger proves, what the report says."""

from __future__ import annotations

import json

import pytest

from tests.functional.terminal import Terminal

#: 400 messages a second; hardly random, so that times can be told.
FAST = {"name": "fast", "count": 20, "mean_time": 0.05, "failure_rate": 0, "shape": 1e6}
SLOW = {"name": "slow", "count": 20, "mean_time": 0.2, "failure_rate": 0, "shape": 1e6}
EVENTS = [
    {"at": 3, "for": 2, "profile": "fast", "outage": True},
    {"at": 3, "for": 2, "profile": "slow", "outage": True},
    {"at": 9, "for": 1, "profile": "slow", "slowdown": 2, "failure_rate": 0.5},
]


def test_a_bad_day_is_as_it_was_told_and_every_message_is_accounted_for(
    terminal: Terminal,
) -> None:
    terminal.configure(senders=[FAST, SLOW], num_messages=5_000, events=EVENTS)
    told = terminal.run("forecast", "--json").json
    ran = terminal.run("run", "--json")
    assert ran.code == 0, ran.err
    # The machine may be busy, but no run is faster than what it was told by more than chance
    low = told["reached_seconds"]["90%"]["low"]
    report = json.loads(terminal.run("report", "--format", "json").out)
    assert 0.97 * low <= report["course"]["time_to_reach"]["0.9"] <= 1.5 * low
    assert report["audit"]["verdict"] == "proven"
    # Nothing ends in the outage, but what was in hand at its begin
    first = report["events"][0]
    width, bins = report["course"]["width"], report["course"]["bins"]
    quiet = [
        one["delivered"]
        for number, one in enumerate(bins)
        if number * width > first["start"] + 0.6 and (number + 1) * width < first["end"]
    ]
    assert len(quiet) > 5
    assert not any(quiet)
    # The report says how long it took to recover
    assert first["time_to_recover"] == pytest.approx(0.5, abs=1.0)
    terminal.run("report", "-o", "report.html")
    page = (terminal.folder / "report.html").read_text()
    assert "outage of fast" in page
    assert page.count('class="band"') == 2 * len(EVENTS)


def test_mistakes_in_events_are_one_line_each(terminal: Terminal) -> None:
    terminal.configure(senders=[FAST], events=[{"at": 3, "for": 2, "profile": "fsat"}])
    refused = terminal.run("run")
    assert refused.code == 2
    assert "events[0]: must say what goes wrong" in refused.err
    terminal.configure(senders=[FAST], events=[{**EVENTS[0], "profile": "fsat"}])
    refused = terminal.run("run")
    assert refused.code == 2
    assert "events[0].profile: no profile is called 'fsat'; there are fast" in refused.err
    assert "Traceback" not in refused.err
