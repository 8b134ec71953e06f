"""What the dashboard's pages say is what the other views say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sms_pipeline.core.hosts import worker_id
from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.records import Control, Run
from sms_pipeline.ledger.timeline import Bin, Timeline
from sms_pipeline.views import dashboard
from sms_pipeline.views.course import ATTEMPTS, DELIVERED, NOT_DELIVERED
from sms_pipeline.views.dashboard.figures import SHOWN_WORKERS, run_json
from sms_pipeline.views.format import moment
from sms_pipeline.views.reader import Reading
from tests.unit import make
from tests.unit.make import NOON

PAGES = Path(dashboard.__file__).parent / "pages"
SCRIPTS = PAGES / "static"
NODE_SECONDS = 30
TIMELINE = Timeline(1, 100, NOON, 9.0, 1.0, (Bin(delivered=40),), {0.5: 3.0, 0.9: None})


def progress(**values: Any) -> Progress:
    """Nine seconds into a run of 100 messages."""
    counts = make.counts(
        dispatched=100, first_attempts=60, attempts=70, delivered=45, failed=5, retried=20,
        send_seconds=7.0, delivery_seconds=90.0, transit_seconds=60.0, delivery_times={80: 50},
        longest_delivery=1.1,
    )  # fmt: skip
    given = {"started_at": NOON, "simulation": make.simulation(thresholds=["failed < 1%"])}
    snapshot = make.snapshot(counts, **{**given, **values})
    return Tracker().update(snapshot, 0, NOON + 9)


def shown(of: Progress, workers: int = 0) -> dict[str, Any]:
    run = Run(of.run, NOON, of.seed, of.total, of.simulation)
    online = tuple(
        make.worker(worker_id("fast", "box", number, "ab"), senders=1_500)
        for number in range(workers)
    )
    reading = Reading(make.snapshot(), of, online, 0.0, decided=True, wall=NOON)
    return run_json(run, reading, TIMELINE)["shown"]  # type: ignore[no-any-return]


def test_tiles_of_a_run_under_way() -> None:
    texts = shown(progress())["texts"]
    assert texts["share"] == "50.0%"
    assert (texts["delivered"], texts["delivered-more"]) == ("45", "45.0% of 100")
    assert (texts["failed"], texts["failed-more"]) == ("5", "25 failed attempts")
    assert (texts["in-flight"], texts["in-flight-more"]) == ("50", "10 of them retrying")
    assert (texts["rate-name"], texts["rate"]) == ("Rate", "0/s")
    assert texts["rate-more"] == "average rate 5.6/s"
    assert (texts["eta-name"], texts["eta"], texts["eta-more"]) == (
        "Time left",
        "-",
        "9.0 s so far",
    )
    assert texts["unfinished"] == "50"


def test_tiles_of_a_run_that_is_paused_or_done() -> None:
    assert shown(progress(control=Control.PAUSED))["texts"]["eta"] == "paused"
    texts = shown(progress(total=50, settled_at=NOON + 197))["texts"]
    assert (texts["eta-name"], texts["eta"]) == ("Took", "3 min 17 s")
    assert (texts["rate-name"], texts["rate"]) == ("Average rate", "0.3/s")


def test_times_profiles_and_thresholds() -> None:
    found = shown(progress())
    assert found["times"] == [
        ("Average time per message", "1.800 s"),
        ("Average transit", "1.200 s"),
        ("Average send, an attempt", "0.100 s"),
        ("Average send, all attempts", "0.140 s"),
        ("Failed attempts", "35.7%"),
        ("50% within", "0.982 s"),
        ("95% within", "1.020 s"),
        ("99% within", "1.100 s"),
        ("50% reached after", "3.0 s"),
        ("90% reached after", "-"),
    ]
    assert found["profiles"] == [
        ["fast", "0", "50", "45", "5", "35.7% (set 10%)", "1.800 s", "1.020 s", "-"]
    ]
    assert found["thresholds"] == [
        {"state": "missed", "text": "✗ failed < 1% · seen 5.00% · missed"}
    ]


def test_workers_are_those_online_or_those_who_took_part() -> None:
    assert shown(progress())["workers"]["title"] == "Workers online"
    assert (
        shown(progress(total=50, settled_at=NOON + 9))["workers"]["title"] == "Workers of this run"
    )


def test_a_run_that_stands_still_says_so_where_the_time_left_was() -> None:
    assert shown(progress(embedded=True))["texts"]["eta"] == "interrupted"
    assert shown(progress(embedded=True))["notices"][0] == (
        "the run is interrupted: go on with sms-pipeline resume 1"
    )


def test_a_large_fleet_is_counted() -> None:
    workers = shown(progress(), workers=1_234)["workers"]
    assert (workers["count"], workers["more"]) == ("1,234", "and 1,214 more")
    assert len(workers["cells"]) == len(workers["joined_at"]) == SHOWN_WORKERS
    assert workers["cells"][0] == ["fast-0-ab@box", "box", "fast", "1,500", "0.1 s", "10%"]
    assert shown(progress())["workers"]["more"] == "No worker is online."
    assert shown(progress(), workers=1)["workers"]["more"] == ""


def test_every_text_has_its_place_on_the_page() -> None:
    page = (PAGES / "run.html").read_text()
    places = set(re.findall(r'id="([^"]+)"', page))
    assert shown(progress())["texts"].keys() <= places


def test_scripts_know_every_series() -> None:
    script = (SCRIPTS / "charts.js").read_text()
    (series,) = re.findall(r"const SERIES = \{(.*?)\n\};", script, re.S)
    names = [name.strip('"') for name in re.findall(r'^  ([\w]+|"[^"]+"): \{', series, re.M)]
    assert names == [DELIVERED, NOT_DELIVERED, ATTEMPTS]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin"])
def test_scripts_write_moments_as_everybody_does(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        assert scripted(node) == [moment(at) for at in MOMENTS]
    time.tzset()


MOMENTS = [0, NOON, NOON + 0.999, 1_720_000_000, None]


def scripted(node: str) -> Any:
    """What `moment` of the scripts makes of them."""
    script = (
        f"{(SCRIPTS / 'page.js').read_text()}\n"
        f"console.log(JSON.stringify({json.dumps(MOMENTS)}.map(moment)))"
    )
    done = subprocess.run(
        [node, "--input-type=module", "--eval", script],
        capture_output=True,
        text=True,
        timeout=NODE_SECONDS,
        check=True,
    )
    return json.loads(done.stdout)
