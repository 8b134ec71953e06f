"""The dashboard's web server."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from importlib.metadata import distribution
from pathlib import Path

from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from sms_pipeline.config.settings import Settings
from sms_pipeline.core.errors import ConfigError
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.views.dashboard import access, handlers, starting
from sms_pipeline.views.dashboard.access import Door
from sms_pipeline.views.dashboard.board import Board
from sms_pipeline.views.dashboard.bounded import BoundedServer
from sms_pipeline.views.dashboard.doorkeeper import Doorkeeper
from sms_pipeline.views.dashboard.starter import Starter
from sms_pipeline.views.metrics.exporter import HEALTH_PATH, METRICS_PATH, Exporter

log = logging.getLogger(__name__)

PAGES = Path(__file__).parent / "pages"


def make_application(
    door: Door, board: Board, exporter: Exporter, starter: Starter | None = None
) -> Application:
    """All paths, with who answers them."""
    shared = {
        "door": door,
        "doorkeeper": Doorkeeper(door.password),
        "board": board,
        "exporter": exporter,
        "starter": starter,
    }
    number = f"({handlers.RUN_NUMBER})"
    actions = "|".join(handlers.ACTIONS)
    kinds = "|".join(handlers.REPORTS)
    return Application(
        [
            (r"/", handlers.RunsPage, shared),
            (rf"/runs/{number}", handlers.RunPage, shared),
            (rf"/compare/{number}/{number}", handlers.ComparePage, shared),
            (r"/trends", handlers.TrendsPage, shared),
            (r"/login", handlers.LoginPage, shared),
            (r"/logout", handlers.LogoutPage, shared),
            (r"/api/runs", handlers.RunsAnswer, shared),
            (rf"/api/runs/{number}", handlers.RunAnswer, shared),
            (rf"/api/compare/{number}/{number}", handlers.CompareAnswer, shared),
            (r"/api/trends", handlers.TrendsAnswer, shared),
            (rf"/api/runs/{number}/report\.({kinds})", handlers.ReportAnswer, shared),
            (rf"/api/runs/{number}/({actions})", handlers.SteerAnswer, shared),
            (rf"/api/runs/{number}/again", starting.AgainAnswer, shared),
            (r"/start", starting.StartPage, shared),
            (r"/api/configuration", starting.ConfigurationAnswer, shared),
            (r"/api/check", starting.CheckAnswer, shared),
            (r"/api/forecast", starting.ForecastAnswer, shared),
            (r"/api/start", starting.StartAnswer, shared),
            (METRICS_PATH, handlers.MetricsAnswer, shared),
            (HEALTH_PATH, handlers.HealthAnswer, shared),
            (r"/plotly/(plotly\.min\.js)", handlers.Asset, {"path": str(_plotly_assets())}),
        ],
        default_handler_class=handlers.Missing,
        default_handler_args=shared,
        template_path=str(PAGES),
        static_path=str(PAGES / "static"),
        static_handler_class=handlers.Asset,
        cookie_secret=secrets.token_bytes(),
        xsrf_cookies=True,
        xsrf_cookie_kwargs={"httponly": True, "samesite": "Strict"},
        compress_response=True,
        log_function=_log_request,
    )


def _log_request(handler: RequestHandler) -> None:
    """Log a request without its query and body."""
    log.info("%s %s %s", handler.get_status(), handler.request.method, handler.request.path)


def _plotly_assets() -> Path:
    # Importing plotly takes long, and only the script in its package is needed.
    return Path(str(distribution("plotly").locate_file("plotly/package_data")))


def serve(
    open_ledger: Callable[[], Ledger],
    door: Door,
    say: Callable[[str], None],
    settings: Settings,
    command: Sequence[str],
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        open_ledger: opens the ledger, once the address is known to be free.
        door: where to listen, and who may come in.
        say: gets the address, and what is left to do of runs that end with the server.
        settings: where things are.
        command: how to call `sms-pipeline`, to start runs.

    Raises:
        ConfigError: a password is needed, or the address can't be opened.
        LedgerUnavailableError: the ledger can't be reached. Once it serves, the pages wait for it.
    """
    access.require_password(door.host, door.password)
    try:
        sockets = bind_sockets(door.port, door.host, reuse_port=False)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--host {door.host} --port {door.port}: can't be opened: {reason}"
        ) from error
    ledger = open_ledger()
    asyncio.run(_serve(ledger, settings, door, sockets, say, command))


async def _serve(
    ledger: Ledger,
    settings: Settings,
    door: Door,
    sockets: list[socket.socket],
    say: Callable[[str], None],
    command: Sequence[str],
) -> None:
    board, exporter = Board(ledger, settings=settings), Exporter(ledger)
    starter = None if door.read_only else Starter(ledger, settings, command)
    server = BoundedServer(make_application(door, board, exporter, starter))
    exporter.start()
    server.add_sockets(sockets)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    host = f"[{door.host}]" if ":" in door.host else door.host
    url = f"http://{host}:{sockets[0].getsockname()[1]}"
    say(f"The dashboard is at {url} (Ctrl-C ends it)")
    await stopped.wait()
    server.stop()
    await server.close_all_connections()
    for farewell in await starter.close() if starter else []:
        say(farewell)
    exporter.stop()
    board.close()
