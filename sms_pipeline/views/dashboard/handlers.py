"""What the dashboard answers: pages, figures as JSON, and the effects of the buttons."""

from __future__ import annotations

import base64
import http
import logging
import math
import re
from collections.abc import Awaitable
from importlib.metadata import version
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from sms_pipeline import __version__
from sms_pipeline.config.listening import Answer
from sms_pipeline.core.records import Control
from sms_pipeline.errors import (
    DamagedLedgerError,
    LedgerUnavailableError,
    PipelineError,
    UnknownRunError,
)
from sms_pipeline.views.dashboard import access
from sms_pipeline.views.dashboard.access import Door
from sms_pipeline.views.dashboard.board import Board
from sms_pipeline.views.dashboard.doorkeeper import (
    MAX_WAITING,
    SESSION_SECONDS,
    WRONG_PASSWORD_SECONDS,
    Doorkeeper,
    TooManyWrongError,
)
from sms_pipeline.views.hosts import is_known_host
from sms_pipeline.views.metrics.exporter import HEALTH_PATH, METRICS_PATH, Exporter

log = logging.getLogger(__name__)

SESSION_COOKIE = "sms_dashboard"
_DAY = 86_400
#: What the buttons do, by the names of the commands.
ACTIONS = {"pause": Control.PAUSED, "continue": Control.RUNNING, "cancel": Control.CANCELLED}
#: The types of the reports, by the names of their formats.
REPORTS = {"html": "text/html", "json": "application/json", "csv": "text/csv"}
#: The number of a run in a path.
RUN_NUMBER = "[0-9]{1,9}"
_RUN_OR_NOTHING = re.compile(f"({RUN_NUMBER})?")
#: Load nothing from elsewhere, and let no other page frame ours. Plotly sets inline styles.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Guarded(RequestHandler):
    """Accepts known host names only, and changes only from our own pages."""

    door: Door
    doorkeeper: Doorkeeper
    board: Board
    exporter: Exporter

    def initialize(
        self, door: Door, doorkeeper: Doorkeeper, board: Board, exporter: Exporter
    ) -> None:
        self.door, self.doorkeeper = door, doorkeeper
        self.board, self.exporter = board, exporter

    def set_default_headers(self) -> None:
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    def prepare(self) -> Awaitable[None] | None:
        names = {*self.door.names, self.door.host}
        if not is_known_host(self.request.headers.get("Host", ""), names):
            raise HTTPError(http.HTTPStatus.MISDIRECTED_REQUEST)
        if self.request.method == "POST" and not access.is_same_site(self.request.headers):
            raise HTTPError(http.HTTPStatus.FORBIDDEN)
        return None

    def get_current_user(self) -> str | None:
        """Somebody, if they may see the runs; None if not."""
        if not self.doorkeeper.asks:
            return "anyone"
        token = self.session()
        return token if token and self.doorkeeper.knows(token) else None

    def session(self) -> str | None:
        """The token that this browser brought along, if it is one that we gave it."""
        token = self.get_signed_cookie(SESSION_COOKIE, max_age_days=SESSION_SECONDS / _DAY)
        return None if token is None else token.decode()

    async def admits(self, given: str) -> bool:
        """Whether `given` is the password; a client that is guessing is told to wait."""
        try:
            return await self.doorkeeper.admits(given, self.request.remote_ip or "")
        except TooManyWrongError:
            raise HTTPError(http.HTTPStatus.TOO_MANY_REQUESTS) from None

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer with one line; details are in the log only."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.say_when(status_code)
        self.finish(f"{status_code} {http.HTTPStatus(status_code).phrase}\n")

    def say_when(self, status_code: int) -> None:
        """Tell a client that has to wait for how long."""
        if status_code == http.HTTPStatus.TOO_MANY_REQUESTS:
            self.set_header("Retry-After", str(math.ceil(MAX_WAITING * WRONG_PASSWORD_SECONDS)))


class _Page(_Guarded):
    """A page. Its script fills in the figures."""

    def prepare(self) -> Awaitable[None] | None:
        super().prepare()
        if self.current_user is None:
            self.redirect("/login")
        return None

    def show(self, name: str, **values: Any) -> None:
        """Render the template `name`."""
        self.render(
            name, version=__version__, door=self.door, locked=self.doorkeeper.asks, **values
        )


class RunsPage(_Page):
    """All runs, the latest first."""

    def get(self) -> None:
        """The page."""
        self.show("runs.html")


class RunPage(_Page):
    """One run, live."""

    def get(self, run_id: str) -> None:
        """The page."""
        self.show("run.html", run_id=int(run_id), charts_version=version("plotly"))


class LoginPage(_Guarded):
    """Asks for the password."""

    def get(self) -> None:
        """The form."""
        self.render("login.html", version=__version__, wrong=False)

    async def post(self) -> None:
        """Open a session."""
        given = self.get_body_argument("password", "", strip=False)
        if self.doorkeeper.asks and not await self.admits(given):
            self.set_status(http.HTTPStatus.FORBIDDEN)
            self.render("login.html", version=__version__, wrong=True)
            return
        self.set_signed_cookie(
            SESSION_COOKIE,
            self.doorkeeper.open_session(),
            expires_days=None,
            httponly=True,
            samesite="Strict",
            secure=self.request.protocol == "https",
        )
        self.redirect("/")


class LogoutPage(_Guarded):
    """Ends the session of this browser."""

    def post(self) -> None:
        """Forget the session: its cookie, wherever it has got to, opens nothing any more."""
        self.doorkeeper.close_session(self.session() or "")
        self.clear_cookie(SESSION_COOKIE)
        self.redirect("/login")


class _Answer(_Guarded):
    """An answer as JSON; an error is one line under the key `error`."""

    async def prepare(self) -> None:
        super().prepare()
        if self.current_user is None and not await self._has_credentials():
            raise HTTPError(http.HTTPStatus.UNAUTHORIZED)

    async def answer(self, coming: Awaitable[Any]) -> None:
        """Send what is awaited; errors get a status that says who can mend them."""
        try:
            self.write(await coming)
        except UnknownRunError as error:
            self._refuse(http.HTTPStatus.NOT_FOUND, str(error))
        except (LedgerUnavailableError, DamagedLedgerError) as error:
            self._refuse(http.HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except PipelineError as error:
            self._refuse(http.HTTPStatus.CONFLICT, str(error))

    def write_error(self, status_code: int, **_: Any) -> None:
        self.say_when(status_code)
        self._refuse(status_code, http.HTTPStatus(status_code).phrase)

    def _refuse(self, status: int, error: str) -> None:
        self.set_status(status)
        self.finish({"error": error})

    async def _has_credentials(self) -> bool:
        """Whether the password came by basic authentication, as scripts send it; any user name."""
        kind, _, encoded = self.request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            _, _, given = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            return False
        return await self.admits(given)


class RunsAnswer(_Answer):
    """The list of runs, a page at a time."""

    async def get(self) -> None:
        """Runs older than the one named by `before`."""
        before = self.get_query_argument("before", "")
        if not _RUN_OR_NOTHING.fullmatch(before):
            raise HTTPError(http.HTTPStatus.BAD_REQUEST)
        await self.answer(self.board.runs(int(before) if before else None))


class RunAnswer(_Answer):
    """One run's figures."""

    async def get(self, run_id: str) -> None:
        """What `run.html` shows."""
        await self.answer(self.board.run(int(run_id)))


class ReportAnswer(_Answer):
    """The report of a run, to keep."""

    async def get(self, run_id: str, kind: str) -> None:
        """A file, as the command writes it."""
        await self.answer(self._sent(run_id, kind))

    async def _sent(self, run_id: str, kind: str) -> str:
        report = await self.board.report(int(run_id), kind)
        self.set_header("Content-Type", f"{REPORTS[kind]}; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="run-{run_id}.{kind}"')
        return report


class SteerAnswer(_Answer):
    """Pause, continue or cancel."""

    async def post(self, run_id: str, action: str) -> None:
        """Do what the command of this name does."""
        if self.door.read_only:
            self._refuse(http.HTTPStatus.FORBIDDEN, "this dashboard is read-only")
            return
        log.info("%s run %s, asked from %s", action, run_id, self.request.remote_ip)
        await self.answer(self.board.steer(int(run_id), ACTIONS[action]))


class MetricsAnswer(_Answer):
    """What Prometheus scrapes."""

    def get(self) -> None:
        """The latest run."""
        _send(self, self.exporter.answer(METRICS_PATH))


class HealthAnswer(_Guarded):
    """For health checks; without the password it says only whether all is well."""

    def get(self) -> None:
        """Red when the ledger can't be read, or the latest run stands still."""
        answer = self.exporter.answer(HEALTH_PATH)
        if self.current_user is None:
            answer = answer._replace(body=answer.body.partition(b":")[0] + b"\n")
        _send(self, answer)

    head = get


def _send(handler: RequestHandler, answer: Answer) -> None:
    handler.set_status(answer.status)
    handler.set_header("Content-Type", answer.content_type)
    handler.finish(answer.body)


class Asset(StaticFileHandler):
    """Style sheets, scripts, the icon: nothing secret."""

    def set_default_headers(self) -> None:
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def parse_url_path(self, url_path: str) -> str:
        """See `StaticFileHandler.parse_url_path`."""
        if not url_path.isprintable():
            raise HTTPError(http.HTTPStatus.NOT_FOUND)
        return super().parse_url_path(url_path)


class Missing(_Guarded):
    """Any other path."""

    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(http.HTTPStatus.NOT_FOUND)
