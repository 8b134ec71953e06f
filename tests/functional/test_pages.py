"""Every page of the dashboard in a real browser: narrow and wide, light and dark, on paper.

One dashboard and one browser serve all tests here: both are slow to start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from sms_pipeline.core.records import Run
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from tests.functional.terminal import Terminal
from tests.functional.test_dashboard import ledger_of, overflow, start_dashboard
from tests.services import axe
from tests.services.chromium import Visit
from tests.services.waiting import wait_until
from tests.unit import make

PASSWORD = "correct horse"  # noqa: S105 - made up
WIDTHS = (390, 1_024, 1_440)
HEIGHT = 900
PATIENCE_SECONDS = 30.0
PROVEN = "Proven · 1 of 1 threshold passed · 0 not reached"
SCHEMES = ("light", "dark")
A_RUN = re.compile(r"/runs/\d+$")
#: As long as can be.
NAME = "a drill with a name of sixty-four characters, as many as can be!"
PROFILE = "a-profile-with-a-name-of-sixty-four-letters-as-many-as-there-can"

pytestmark = pytest.mark.usefixtures("dashboard_packages")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """In an empty folder, with nothing set."""
    opened = Terminal(tmp_path_factory.mktemp("pages"))
    yield opened
    opened.close()


def finish(ledger: Ledger, seconds: float) -> Run:
    """A run of 100 messages that took so long, with the longest names there can be."""
    profiles = [{"name": PROFILE, "mean_time": 1.0, "failure_rate": 0.1}]
    thresholds = [{"check": "failed < 5%"}, {"check": "p95 delivery < 1ms"}]
    simulation = Simulation.model_validate(
        {
            "num_messages": 100,
            "name": NAME,
            "tags": {"team": NAME},
            "senders": profiles,
            "thresholds": thresholds,
        }
    )
    run = ledger.start_run(simulation, seed=2**62)
    for batch in range(10):
        row = make.row(
            run.id, batch, profile=PROFILE, first_index=10 * batch, queued_at=run.started_at
        )
        ledger.record_batches(run.id, [row])
        failed = {"failed": 1, "failed_indexes": [10 * batch]} if batch == 9 else {}
        ledger.settle(
            [
                make.settlement(
                    run.id,
                    batch,
                    profile=PROFILE,
                    delivered=9 if failed else 10,
                    settled_at=run.started_at + seconds * (batch + 1) / 10,
                    delivery_times={40 + 4 * batch: 10},
                    **failed,
                )
            ]
        )
    return run


@pytest.fixture(scope="module")
def base(shell: Terminal) -> str:
    """A dashboard with two runs that are done and one that nobody works on."""
    ledger = Ledger.open(ledger_of(shell))
    for seconds in (60.0, 2.0):
        finish(ledger, seconds)
    ledger.start_run(Simulation(num_messages=340_000_000, name=NAME), seed=1)
    ledger.close()
    return start_dashboard(shell)


#: Each page, and what shows that it is complete.
PAGES = {
    "/": "#runs tbody tr >> nth=2",
    "/runs/1": "#profiles tbody tr",
    "/runs/2": "#throughput svg >> nth=0",
    "/runs/3": "#profiles tbody tr >> nth=2",
    "/compare/1/2": "#throughput svg >> nth=0",
    "/trends": "#p95 svg >> nth=0",
    "/start": "#means:not(:empty)",
    "/runs/99": "text=There is no run 99.",
    "/nowhere": "text=There is no such page.",
}


def misplaced(visit: Visit) -> list[str]:
    """What does not fit. A chart that got another size is drawn anew within about a second."""
    return clipped(visit) + colliding(visit)


def clipped(visit: Visit) -> list[str]:
    """Texts of tables and charts that stick out of their card."""
    script = """() => [...document.querySelectorAll('td, th, .tile strong, .chart text')]
        .filter((one) => {
            const card = one.closest('.card, .tile').getBoundingClientRect();
            const box = one.getBoundingClientRect();
            return box.width && (box.right > card.right + 1 || box.left < card.left - 1);
        }).map((one) => one.textContent)"""
    return list(visit.page.evaluate(script))


def colliding(visit: Visit) -> list[str]:
    """Labels of a chart's axis that touch their neighbour."""
    script = """() => [...document.querySelectorAll('.xaxislayer-above')].flatMap((axis) => {
        const boxes = [...axis.querySelectorAll('text')]
            .map((one) => [one.getBoundingClientRect(), one.textContent])
            .sort(([a], [b]) => a.left - b.left);
        return boxes.slice(1)
            .filter(([box], before) => box.left < boxes[before][0].right + 4)
            .map(([, text]) => text);
    })"""
    return list(visit.page.evaluate(script))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_fits_and_can_be_used_by_everybody(
    chromium_browser: Any, base: str, scheme: str
) -> None:
    viewport = {"width": WIDTHS[0], "height": HEIGHT}
    visit = Visit(chromium_browser, base, viewport=viewport, color_scheme=scheme)
    for path, settled in PAGES.items():
        visit.page.set_viewport_size(viewport)
        visit.page.goto(path)
        for width in WIDTHS:
            visit.page.set_viewport_size({"width": width, "height": HEIGHT})
            visit.page.locator(settled).wait_for()
            where = f"{path} {width} {scheme}"
            assert overflow(visit) == 0, where
            wait_until(lambda: not misplaced(visit), PATIENCE_SECONDS, f"charts fit: {where}")
            assert axe.findings(visit.page) == [], where
    visit.close()


def test_a_long_name_is_cut_and_its_title_shows_it(chromium_browser: Any, base: str) -> None:
    visit = Visit(chromium_browser, base, viewport={"width": WIDTHS[1], "height": HEIGHT})
    for path, selector, name in (
        ("/", "#runs a[title*=sixty-four] >> nth=0", NAME),
        ("/runs/1", "#profiles tbody tr >> nth=0 >> .name span", PROFILE),
    ):
        visit.page.goto(path)
        cut = visit.page.locator(selector)
        cut.wait_for()
        assert name in (cut.get_attribute("title") or "")
        assert cut.evaluate("(one) => one.scrollWidth > one.clientWidth")
        assert cut.evaluate("(one) => one.getBoundingClientRect().height") < 40
    visit.close()


def test_nothing_speaks_every_second(chromium_browser: Any, base: str) -> None:
    visit = Visit(chromium_browser, base)
    visit.page.goto("/runs/3")
    visit.page.locator(PAGES["/runs/3"]).wait_for()
    # Given someone who notes what changes in all that is read out aloud
    visit.page.evaluate(
        """() => {
            window.spoken = [];
            const live = '[aria-live], [role=status], [role=alert], [role=log], output';
            for (const one of document.querySelectorAll(live)) {
                new MutationObserver(() => spoken.push(one.textContent))
                    .observe(one, {childList: true, characterData: true, subtree: true});
            }
        }"""
    )
    # When the page was read twice, then nothing was said; when the run is paused, that is
    for _ in range(2):
        with visit.page.expect_response("**/api/runs/3"):
            pass
    assert visit.page.evaluate("spoken") == []
    visit.page.get_by_role("button", name="Pause").click()
    visit.page.wait_for_function("() => spoken.some((text) => text.startsWith('Run 3: paused.'))")
    visit.page.get_by_role("button", name="Continue").click()
    visit.close()


def test_a_chart_is_told(chromium_browser: Any, base: str) -> None:
    visit = Visit(chromium_browser, base)
    visit.page.goto("/runs/1")
    for text in ("At most", "50% after", "p50 "):
        visit.page.get_by_role("img", name=text).wait_for()
    visit.close()


def test_two_runs_are_chosen_and_compared(chromium_browser: Any, base: str) -> None:
    visit = Visit(chromium_browser, base)
    visit.page.goto("/")
    for run in (2, 1):
        visit.page.get_by_label(f"Compare run {run}").check()
    visit.page.get_by_role("button", name="Compare two").click()
    visit.page.wait_for_url("**/compare/1/2")
    duration = visit.page.locator("#figures tr", has_text="duration")
    duration.wait_for()
    cells = duration.locator("td").all_inner_texts()
    assert cells[1:4] == ["1 min 00 s", "2.0 s", "-58.0 s"]
    visit.page.locator("#reach .legendtext").nth(1).wait_for()
    assert visit.complaints == []
    visit.close()


def test_a_run_is_written_forecast_started_and_repeated(
    chromium_browser: Any, shell: Terminal, base: str
) -> None:
    # Given someone who writes a configuration, with a mistake at first
    visit = Visit(chromium_browser, base)
    page = visit.page
    page.goto("/start")
    page.get_by_text("1,000 messages; senders fast").wait_for()
    editor = page.get_by_label("Configuration")
    start = page.get_by_role("button", name="Start")
    editor.fill("num_messages: 0")
    page.get_by_text("num_messages: should be greater than or equal to 1").wait_for()
    assert start.is_disabled()

    # When it is right, then its forecast is shown, and it can be started
    editor.fill(
        "name: from the page\nnum_messages: 40\nthresholds: [failed < 1%]\n"
        "senders: [{name: fast, count: 5, mean_time: 0.01, failure_rate: 0}]"
    )
    page.get_by_text("Forecast: 40 messages").wait_for()
    assert axe.findings(page) == []
    start.click()
    page.wait_for_url(A_RUN)
    first = page.url
    page.locator("#verdict", has_text=PROVEN).wait_for()

    # When it is run again, then that is a run of its own
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: bool(A_RUN.search(url)) and url != first)
    second = page.url.rpartition("/")[2]
    page.locator("#verdict", has_text=PROVEN).wait_for()
    page.get_by_role("link", name="Edit and run").click()
    page.wait_for_function(
        "() => document.getElementById('text').value.startsWith('name: from the page')"
    )
    assert visit.complaints == []
    assert shell.run("audit", second).code == 0
    visit.close()


def test_a_run_that_was_started_here_ends_with_the_dashboard(
    chromium_browser: Any, shell: Terminal
) -> None:
    dashboard = shell.start("dashboard", "--port", "0")
    dashboard.says("http://")
    visit = Visit(chromium_browser, re.findall(r"http://\S+", dashboard.out)[0])
    visit.page.goto("/start")
    visit.page.get_by_text("1,000 messages").wait_for()
    visit.page.get_by_label("Configuration").fill("num_messages: 500000")
    visit.page.get_by_role("button", name="Start").click()
    visit.page.wait_for_url(A_RUN)
    number = visit.page.url.rpartition("/")[2]
    dashboard.interrupt()
    ended = dashboard.wait()
    assert (ended.code, ended.err) == (0, "")
    assert f"sms-pipeline resume {number}" in ended.out
    # Its process is gone: only the state tells, and nothing moves any more.
    moved = [shell.run("monitor", number, "--once", "--json").json["attempts"] for _ in range(2)]
    assert moved[0] == moved[1]
    visit.close()


def test_on_paper_nothing_is_cut_off(chromium_browser: Any, base: str) -> None:
    visit = Visit(chromium_browser, base, viewport={"width": 1_440, "height": HEIGHT})
    visit.page.goto("/runs/1")
    visit.page.locator(PAGES["/runs/2"]).wait_for()
    # Paper of A4 at 96 dots an inch; the charts were drawn for the screen.
    visit.page.emulate_media(media="print")
    visit.page.set_viewport_size({"width": 718, "height": 1_000})
    assert overflow(visit) == 0
    assert clipped(visit) == []
    visit.close()


def test_the_login_leads_to_the_page_that_was_asked_for(
    chromium_browser: Any, shell: Terminal, base: str
) -> None:
    protected = start_dashboard(shell, "--read-only", SMS_DASHBOARD_PASSWORD=PASSWORD)
    visit = Visit(chromium_browser, protected)
    visit.page.goto("/runs/1")
    assert axe.findings(visit.page) == []
    visit.page.get_by_label("Password").fill("wrong")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("not the password").wait_for()
    visit.page.get_by_label("Password").fill(PASSWORD)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/runs/1")
    visit.close()
