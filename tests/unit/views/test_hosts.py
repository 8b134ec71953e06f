"""Every view that lists workers says where they are."""

from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console

from sms_pipeline.core.hosts import worker_id
from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.ledger.scan import CounterRow
from sms_pipeline.views import lines
from sms_pipeline.views.metrics import families
from sms_pipeline.views.objects import progress_json
from sms_pipeline.views.report.document import WorkerPart
from sms_pipeline.views.terminal import render, render_summary
from tests.unit import make
from tests.unit.make import NOON


def progress_on(*hosts: str) -> Progress:
    """Of a run with a worker of five senders on each of these hosts, side by side."""
    workers = [make.worker(worker_id("fast", host, 1, f"{n}")) for n, host in enumerate(hosts)]
    shot = make.snapshot(make.counts("fast", dispatched=10), workers=tuple(workers))
    tracker = Tracker()
    tracker.update(shot, 0, NOON + 5)
    beating = tuple(dataclasses.replace(worker, heartbeat=2) for worker in workers)
    return tracker.update(dataclasses.replace(shot, workers=beating), 5, NOON + 10)


def screen(progress: Progress, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, height=40, force_terminal=False)
    console.print(render(progress, console))
    for part in render_summary(progress, "done", console):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_json_has_the_hosts_of_each_profile() -> None:
    (fast,) = progress_json(progress_on("b", "a", "b"))["profiles"]
    assert fast["hosts"] == [
        {"host": "a", "workers": 1, "senders": 5, "capacity": 50.0},
        {"host": "b", "workers": 2, "senders": 10, "capacity": 100.0},
    ]
    json.dumps(fast, allow_nan=False)


@pytest.mark.parametrize(("hosts", "shown"), [(("a", "b"), True), (("a", "a"), False)])
def test_hosts_are_counted_where_there_are_several(hosts: tuple[str, ...], shown: bool) -> None:
    progress = progress_on(*hosts)
    (profile,) = progress.profiles
    assert ("10 senders on 2 hosts," in lines.summary_of_profile(profile)) is shown
    assert ("senders 10 on 2 hosts  " in lines.profile_line(profile)) is shown
    assert (screen(progress).count(" hosts ") == 2) is shown


def test_a_narrow_screen_has_other_columns_first() -> None:
    assert "hosts" not in screen(progress_on("a", "b"), width=40).splitlines()[4]


def test_metrics_tell_hosts_apart() -> None:
    progress = progress_on("a", "b", "b")
    online, capacity, *_ = families._online_senders(progress, "1")
    assert {(s.labels["host"], s.value) for s in online.samples} == {("a", 5), ("b", 10)}
    assert {(s.labels["host"], s.value) for s in capacity.samples} == {("a", 50), ("b", 100)}


def test_report_has_the_host_of_each_worker() -> None:
    def part(worker: str) -> WorkerPart:
        values = dict.fromkeys(CounterRow._fields, 0)
        return WorkerPart(CounterRow(**{**values, "worker": worker}), None)  # type: ignore[arg-type]

    assert (part(worker_id("fast", "box", 7, "a")).host, part("cancel").host) == ("box", None)
