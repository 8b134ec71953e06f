"""Make docs/images: a real run over a private RabbitMQ, as each view of it shows it.

Run it as `make screenshots`. It needs RabbitMQ and Chromium (`make services`), and two minutes.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from sms_pipeline.core.progress import Progress
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.reader import Reader
from sms_pipeline.views.terminal import render
from tests.functional.terminal import CELERY, PATIENCE_SECONDS, Terminal
from tests.services import chromium
from tests.services.processes import free_port
from tests.services.rabbitmq import RabbitMQNode
from tests.services.waiting import wait_until
from tests.services.worker import WorkerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

IMAGES = Path(__file__).parents[1] / "docs" / "images"
#: What can be shown on a page without slowing it down.
MAX_BYTES = 300_000
SCREEN: ViewportSize = {"width": 1280, "height": 800}
TALL_SCREEN: ViewportSize = {"width": 1280, "height": 1_100}
TERMINAL_COLUMNS, TERMINAL_ROWS = 100, 22

SIMULATION = {
    "num_messages": 120_000,
    "seed": 1,
    "senders": [
        {"name": "fast", "count": 400, "mean_time": 0.5, "failure_rate": 0.05},
        {"name": "standard", "count": 200, "mean_time": 1.0, "failure_rate": 0.1},
        {"name": "slow", "count": 100, "mean_time": 2.0, "failure_rate": 0.2},
    ],
    "thresholds": [{"check": "failed < 1%"}, {"check": "reached 99% < 120s"}],
}
WORKERS = ("fast", "fast", "standard", "slow")
#: The views are taken when so much of the run is done.
SHARE = 0.5


class Stage(NamedTuple):
    """Where it all plays."""

    terminal: Terminal
    ledger: Ledger
    flower: str
    dashboard: str


def main() -> None:
    """Make all images; say what is missing, if something is."""
    missing = RabbitMQNode.available() or chromium.unavailable()
    if missing:
        sys.exit(missing)
    IMAGES.mkdir(exist_ok=True)
    with chromium.running() as browser, set_up() as stage:
        page = open_dashboard(browser, stage)
        progress = half_way(stage)
        _take(page, "dashboard")
        flower(browser, stage.flower)
        terminal(browser, progress)
        report(browser, stage)


@contextmanager
def set_up() -> Iterator[Stage]:
    """A broker, workers, Flower, a dashboard, and a run that has begun."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="screenshots-")))
        node = RabbitMQNode(folder / "rabbitmq")
        node.folder.mkdir()
        stack.callback(node.stop)
        node.start()
        urls = {
            "CELERY_BROKER_URL": node.url,
            "SMS_DATABASE_URL": f"sqlite:///{folder / 'ledger.db'}",
        }
        shell = Terminal(folder, urls)
        stack.callback(shell.close)
        shell.configure(**SIMULATION)
        workers = [WorkerProcess(profile, folder, shell.environment) for profile in WORKERS]
        for worker in workers:
            stack.callback(worker.kill)
            worker.start()
        for worker in workers:
            worker.ready()
        ports = free_port(), free_port()
        shell.start("flower", f"--port={ports[0]}", program=CELERY).says("Visit me")
        shell.start("dashboard", "--port", str(ports[1])).says("http://")
        ledger = Ledger.open(urls["SMS_DATABASE_URL"])
        stack.callback(ledger.close)
        shell.start("produce").says("Run 1")
        yield Stage(shell, ledger, *(f"http://127.0.0.1:{port}" for port in ports))


def half_way(stage: Stage) -> Progress:
    """Watch the run until there is something to see."""
    reader = Reader(stage.ledger, stage.ledger.run())

    def far_enough() -> Progress | None:
        progress = reader.read().progress
        return progress if progress.share >= SHARE else None

    return wait_until(far_enough, 2 * PATIENCE_SECONDS, f"{SHARE:.0%} of the run")  # type: ignore[return-value]


def terminal(browser: Browser, progress: Progress) -> None:
    """What `sms-pipeline monitor` shows."""
    console = Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        width=TERMINAL_COLUMNS,
        height=TERMINAL_ROWS,
    )
    console.print(render(progress, console))
    picture = console.export_svg(title="sms-pipeline monitor")
    page = _page(browser, SCREEN)
    # Its font would come from the network; any font of fixed width will do.
    page.route("**/*", lambda route: route.abort())
    page.set_content(f"<body style='margin:0'>{picture}</body>")
    page.locator("svg").screenshot(path=_path("terminal"))
    page.close()


def flower(browser: Browser, url: str) -> None:
    """The page of tasks, where old ones have ended and newer ones wait or are at work."""
    page = _page(browser, SCREEN)
    page.goto(f"{url}/tasks")
    page.get_by_text("batch").first.wait_for()
    with page.expect_response("**/tasks/datatable"):
        page.evaluate("$('#tasks-table').DataTable().page(3).draw('page')")
    page.get_by_text("batch").first.wait_for()
    _take(page, "flower")


def open_dashboard(browser: Browser, stage: Stage) -> Page:
    """A run's page; it watches as long as it is open."""
    page = _page(browser, TALL_SCREEN)
    page.goto(f"{stage.dashboard}/runs/{stage.ledger.run().id}")
    page.locator(".js-plotly-plot svg").first.wait_for()
    return page


def report(browser: Browser, stage: Stage) -> None:
    """The file that is left of a run."""
    stage.terminal.start("monitor").wait(4 * PATIENCE_SECONDS)
    file = stage.terminal.folder / "report.html"
    written = stage.terminal.run("report", "-o", str(file))
    if written.code:
        sys.exit(written.err)
    page = _page(browser, TALL_SCREEN)
    page.goto(file.as_uri())
    _take(page, "report")


def _page(browser: Browser, screen: ViewportSize) -> Page:
    page = browser.new_page(viewport=screen)
    page.set_default_timeout(chromium.PATIENCE_MS)
    return page


def _take(page: Page, name: str) -> None:
    page.screenshot(path=_path(name))
    page.close()


def _path(name: str) -> Path:
    return IMAGES / f"{name}.png"


def _list_images() -> None:
    sizes = {image.name: image.stat().st_size for image in sorted(IMAGES.glob("*.png"))}
    for name, size in sizes.items():
        print(f"docs/images/{name}: {size:,} bytes")
    if max(sizes.values()) > MAX_BYTES:
        sys.exit(f"no image may have more than {MAX_BYTES:,} bytes")


if __name__ == "__main__":
    main()
    _list_images()
