"""The dashboard as people see it: a real browser, a real server, a run under way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sms_pipeline.core.profiles import SenderProfile
from sms_pipeline.core.simulation import Simulation
from sms_pipeline.ledger.store import Ledger
from tests.functional import checker
from tests.functional.terminal import Terminal
from tests.services.chromium import PATIENCE_MS, Visit
from tests.services.postgres import PostgresNode
from tests.services.processes import free_port

EXIT_USAGE = 2
PASSWORD = "correct horse"  # noqa: S105 - made up
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}
#: Takes about ten seconds: time enough to look, pause and look again.
MESSAGES = 4_000
#: Of the background, 0 to 255.
DARK, LIGHT = 60, 200

Open = Callable[..., Visit]

pytestmark = pytest.mark.usefixtures("dashboard_packages")


@pytest.fixture
def visit(chromium_browser: Any) -> Iterator[Open]:
    """Opens a page on a dashboard; whatever it complains of fails the test."""
    visits: list[Visit] = []

    def open_page(base: str, **context: Any) -> Visit:
        visits.append(Visit(chromium_browser, base, **context))
        return visits[-1]

    yield open_page
    for one in visits:
        one.close()


def start_dashboard(terminal: Terminal, *options: str, **changes: str | None) -> str:
    """Start it on a free port; returns where it is."""
    started = terminal.start("dashboard", "--port", "0", *options, **changes)
    started.says("http://")
    found = re.search(r"http://\S+", started.out)
    assert found
    return found[0]


def ledger_of(terminal: Terminal) -> str:
    return f"sqlite:///{terminal.folder / 'sms_pipeline.db'}"


def number(visit: Visit, name: str) -> int:
    """A figure as it is shown."""
    digits = re.sub(r"\D", "", visit.page.locator(f"#{name}").inner_text())
    return int(digits) if digits else 0


def await_more(visit: Visit, name: str, than: int) -> int:
    """Wait until a figure is larger; returns it."""
    visit.page.wait_for_function(
        "([id, than]) => +document.getElementById(id).textContent.replace(/\\D/g, '') > than",
        arg=[name, than],
    )
    return number(visit, name)


def await_state(visit: Visit, state: str) -> None:
    from playwright.sync_api import expect

    expect(visit.page.locator("#state")).to_have_text(state, timeout=PATIENCE_MS)


def overflow(visit: Visit) -> int:
    """By how many pixels the page is wider than the screen."""
    script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(visit.page.evaluate(script))


def brightness(visit: Visit) -> int:
    """Of the background, 0 to 255."""
    colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return max(int(part) for part in re.findall(r"\d+", colour)[:3])


def test_a_run_is_watched_paused_continued_and_seen_to_its_end(
    terminal: Terminal, visit: Open
) -> None:
    # Given a dashboard that was there first
    base = start_dashboard(terminal)
    desk = visit(base, viewport=DESK)
    desk.page.goto("/")
    desk.page.get_by_text("No run yet").wait_for()

    # When a run is started, then it appears by itself, and its numbers move
    running = terminal.start("run", "-n", str(MESSAGES), "--json")
    desk.page.get_by_role("link", name="Run 1").click()
    seen = await_more(desk, "delivered", await_more(desk, "delivered", 0))
    await_state(desk, "running")
    assert desk.page.locator("#profiles tbody tr").count() == 3
    assert desk.page.locator("#throughput svg, #reach svg, #delivery-times svg").count() >= 3

    # When it is paused, then it is said to be, and goes on only when that is asked for
    desk.page.get_by_role("button", name="Pause").click()
    await_state(desk, "paused")
    assert terminal.run("monitor", "--once", "--json").json["control"] == "paused"
    desk.page.get_by_text("the run is paused", exact=False).wait_for()
    desk.page.get_by_role("button", name="Continue").click()
    await_more(desk, "delivered", seen)
    await_state(desk, "done")

    # Then at its end the page has the numbers of the ledger
    ended = running.wait()
    assert ended.code == 0, ended.err
    desk.page.get_by_text("Took").wait_for()
    assert number(desk, "delivered") == ended.json["delivered"]
    assert number(desk, "failed") == ended.json["failed"]
    assert number(desk, "in-flight") == 0
    assert ended.json["delivered"] + ended.json["failed"] == MESSAGES
    checker.assert_counted_once(ledger_of(terminal), 1, MESSAGES)
    assert desk.page.locator("#pause, #continue, #cancel").filter(visible=True).count() == 0

    # And nothing went wrong on the way, nor anywhere else
    assert desk.complaints == []
    assert desk.foreign_requests == []


@pytest.fixture
def long_run(terminal: Terminal) -> Ledger:
    """A ledger with a run that nobody works on."""
    ledger = Ledger.open(ledger_of(terminal))
    profile = SenderProfile(name="a-profile-with-quite-a-long-name", mean_time=1, failure_rate=0.5)
    ledger.start_run(Simulation(num_messages=340_000_000, senders=(profile,)), seed=2**62)
    return ledger


def test_cancel_asks_first(terminal: Terminal, visit: Open, long_run: Ledger) -> None:
    desk = visit(start_dashboard(terminal))
    desk.page.goto("/runs/1")
    dialog = desk.page.get_by_role("dialog")

    desk.page.get_by_role("button", name="Cancel run").click()
    dialog.get_by_text("340,000,000 messages").wait_for()
    dialog.get_by_role("button", name="Keep it").click()
    dialog.wait_for(state="hidden")
    await_state(desk, "running")

    desk.page.get_by_role("button", name="Cancel run").click()
    dialog.get_by_role("button", name="Cancel the run").click()
    await_state(desk, "cancelled")
    assert checker.finished(ledger_of(terminal), 1) == 340_000_000
    assert desk.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(
    terminal: Terminal, visit: Open, long_run: Ledger, scheme: str
) -> None:
    phone = visit(start_dashboard(terminal), viewport=PHONE, color_scheme=scheme)

    for path, settled in (("/", "#runs tbody tr"), ("/runs/1", "#profiles tbody tr")):
        phone.page.goto(path)
        phone.page.locator(settled).wait_for()
        assert overflow(phone) == 0, path
        assert brightness(phone) < DARK if scheme == "dark" else brightness(phone) > LIGHT
    assert phone.complaints == []


def test_a_password_is_asked_for(terminal: Terminal, visit: Open, long_run: Ledger) -> None:
    base = start_dashboard(terminal, "--read-only", SMS_DASHBOARD_PASSWORD=PASSWORD)
    desk = visit(base, viewport=PHONE)

    desk.page.goto("/runs/1")
    desk.page.get_by_label("Password").fill("wrong")
    desk.page.get_by_role("button", name="Log in").click()
    desk.page.get_by_text("not the password").wait_for()
    assert overflow(desk) == 0
    desk.page.get_by_label("Password").fill(PASSWORD)
    desk.page.get_by_role("button", name="Log in").click()

    await_state(desk, "running")
    assert desk.page.get_by_role("button", name=re.compile("Pause|Cancel|again")).count() == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_ledger_that_goes_away_is_said_and_comes_back_by_itself(
    terminal: Terminal, visit: Open, postgres: PostgresNode, database_url: str
) -> None:
    Ledger.open(database_url).start_run(Simulation(num_messages=70), seed=1)
    desk = visit(start_dashboard(terminal, SMS_DATABASE_URL=database_url))
    desk.page.goto("/runs/1")
    await_state(desk, "running")

    postgres.stop()
    trouble = desk.page.locator("#trouble")
    trouble.get_by_text("can't be reached").wait_for()
    postgres.start()

    trouble.wait_for(state="hidden")
    await_state(desk, "running")


# Without a browser


def refused(terminal: Terminal, *options: str, **changes: str | None) -> str:
    """The one line that it ends with."""
    result = terminal.run("dashboard", *options, **changes)
    assert (result.code, result.out) == (EXIT_USAGE, ""), result.err
    (line,) = result.err.splitlines()
    return line


def test_other_machines_are_let_in_by_a_password_only(terminal: Terminal) -> None:
    line = refused(terminal, "--host", "0.0.0.0")  # noqa: S104 - that is what is refused
    assert "SMS_DASHBOARD_PASSWORD" in line
    file = terminal.folder / "password"
    file.write_text(f"{PASSWORD}\n")
    options = ("--host", "0.0.0.0", "--password-file", str(file))  # noqa: S104
    assert start_dashboard(terminal, *options).startswith("http://0.0.0.0:")


def test_a_port_in_use_is_said(terminal: Terminal) -> None:
    port = start_dashboard(terminal).rpartition(":")[2]
    assert f"--port {port}" in refused(terminal, "--port", port)


def test_an_address_that_is_not_ours_is_said(terminal: Terminal) -> None:
    environment = {"SMS_DASHBOARD_PASSWORD": PASSWORD}
    line = refused(terminal, "--host", "nowhere.invalid", "--port", str(free_port()), **environment)
    assert "nowhere.invalid" in line
    assert PASSWORD not in line


def test_without_its_packages_it_says_how_to_install_them(
    terminal: Terminal, tmp_path: Path
) -> None:
    # Given a Python that does not find the charts library
    hook = tmp_path / "library" / "sitecustomize.py"
    hook.parent.mkdir()
    hook.write_text(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: "
        "None if name == 'plotly' else find(name, *rest)\n"
    )
    line = refused(terminal, PYTHONPATH=str(hook.parent))
    assert "plotly" in line
    assert "pip install plotly" in line
    assert terminal.run("--help", PYTHONPATH=str(hook.parent)).code == 0


def test_ctrl_c_ends_it_in_peace(terminal: Terminal) -> None:
    started = terminal.start("dashboard", "--port", "0")
    started.says("http://")
    started.interrupt()
    assert started.wait().code == 0
    assert "Traceback" not in started.err
