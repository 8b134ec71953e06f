"""What the dashboard answers: pages, figures as JSON, and the effects of the buttons."""

from __future__ import annotations

import http
import logging
import re
from importlib.metadata import version
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from sms_pipeline import __version__
from sms_pipeline.config.listening import Answer
from sms_pipeline.core.records import Control
from sms_pipeline.views.dashboard import access
from sms_pipeline.views.dashboard.guards import (
    READ_ONLY,
    SECURITY_HEADERS,
    SESSION_COOKIE,
    Guarded,
    JsonHandler,
    PageHandler,
)
from sms_pipeline.views.metrics.exporter import HEALTH_PATH, METRICS_PATH

log = logging.getLogger(__name__)

#: What the buttons do, by the names of the commands.
ACTIONS = {"pause": Control.PAUSED, "continue": Control.RUNNING, "cancel": Control.CANCELLED}
#: The types of the reports, by the names of their formats.
REPORTS = {"html": "text/html", "json": "application/json", "csv": "text/csv"}
#: The number of a run in a path.
RUN_NUMBER = "[0-9]{1,9}"
_RUN_OR_NOTHING = re.compile(f"({RUN_NUMBER})?")


def run_or_none(text: str) -> int | None:
    """The number of a run in a query; None if there is none.

    Raises:
        HTTPError: it is something else.
    """
    if not _RUN_OR_NOTHING.fullmatch(text):
        raise HTTPError(http.HTTPStatus.BAD_REQUEST)
    return int(text) if text else None


class RunsPage(PageHandler):
    """All runs, the latest first."""

    def get(self) -> None:
        """The page."""
        self.show("runs.html")


class RunPage(PageHandler):
    """One run, live."""

    async def get(self, run_id: str) -> None:
        """The page."""
        if await self.has(int(run_id)):
            self.show("run.html", run_id=int(run_id), charts_version=version("plotly"))


class ComparePage(PageHandler):
    """Two runs beside each other."""

    async def get(self, first: str, second: str) -> None:
        """The page."""
        pair = int(first), int(second)
        if await self.has(*pair):
            self.show("compare.html", runs=pair, charts_version=version("plotly"))


class TrendsPage(PageHandler):
    """How the latest runs went."""

    def get(self) -> None:
        """The page."""
        self.show("trends.html", charts_version=version("plotly"))


class LoginPage(Guarded):
    """Asks for the password, and leads back to the page that was asked for."""

    def get(self) -> None:
        """The form."""
        self._ask(wrong=False)

    async def post(self) -> None:
        """Open a session."""
        given = self.get_body_argument("password", "", strip=False)
        if self.doorkeeper.asks and not await self.admits(given):
            self.set_status(http.HTTPStatus.FORBIDDEN)
            self._ask(wrong=True)
            return
        self.set_signed_cookie(
            SESSION_COOKIE,
            self.doorkeeper.open_session(),
            expires_days=None,
            httponly=True,
            samesite="Strict",
            secure=self.request.protocol == "https",
        )
        self.redirect(self._wanted)

    def _ask(self, wrong: bool) -> None:
        self.render("login.html", version=__version__, wrong=wrong, wanted=self._wanted)

    @property
    def _wanted(self) -> str:
        return access.path_here(self.get_argument(access.WANTED, ""))


class LogoutPage(Guarded):
    """Ends the session of this browser."""

    def post(self) -> None:
        """Forget the session: its cookie, wherever it has got to, opens nothing any more."""
        self.doorkeeper.close_session(self.session() or "")
        self.clear_cookie(SESSION_COOKIE)
        self.redirect("/login")


class RunsAnswer(JsonHandler):
    """The list of runs, a page at a time."""

    async def get(self) -> None:
        """Runs older than the one named by `before`."""
        before = run_or_none(self.get_query_argument("before", ""))
        await self.answer(self.board.runs(before))


class RunAnswer(JsonHandler):
    """One run's figures."""

    async def get(self, run_id: str) -> None:
        """What `run.html` shows."""
        await self.answer(self._shown(int(run_id)))

    async def _shown(self, run_id: int) -> dict[str, Any]:
        shown = await self.board.run(run_id)
        failure = self.starter.failure(run_id) if self.starter else None
        if failure:
            shown["shown"]["notices"].insert(0, f"what was started here ended with: {failure}")
        return shown


class CompareAnswer(JsonHandler):
    """Two runs' figures and curves."""

    async def get(self, first: str, second: str) -> None:
        """What `compare.html` shows."""
        await self.answer(self.board.comparison(int(first), int(second)))


class TrendsAnswer(JsonHandler):
    """A few figures of each of the latest runs."""

    async def get(self) -> None:
        """What `trends.html` shows."""
        await self.answer(self.board.trends())


class ReportAnswer(JsonHandler):
    """The report of a run, to keep."""

    async def get(self, run_id: str, kind: str) -> None:
        """A file, as the command writes it."""
        await self.answer(self._sent(run_id, kind))

    async def _sent(self, run_id: str, kind: str) -> str:
        report = await self.board.report(int(run_id), kind)
        self.set_header("Content-Type", f"{REPORTS[kind]}; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="run-{run_id}.{kind}"')
        return report


class SteerAnswer(JsonHandler):
    """Pause, continue or cancel."""

    async def post(self, run_id: str, action: str) -> None:
        """Do what the command of this name does."""
        if self.door.read_only:
            self.refuse(http.HTTPStatus.FORBIDDEN, READ_ONLY)
            return
        log.info("%s run %s, asked from %s", action, run_id, self.request.remote_ip)
        await self.answer(self.board.steer(int(run_id), ACTIONS[action]))


class MetricsAnswer(JsonHandler):
    """What Prometheus scrapes."""

    def get(self) -> None:
        """The latest run."""
        _send(self, self.exporter.answer(METRICS_PATH))


class HealthAnswer(Guarded):
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


class Missing(Guarded):
    """Any other path."""

    def prepare(self) -> None:
        super().prepare()
        if "text/html" in self.request.headers.get("Accept", ""):
            self.missing("There is no such page.")
        else:
            raise HTTPError(http.HTTPStatus.NOT_FOUND)
