"""What every answer of the dashboard has in common: who may ask, and what an error looks like."""

from __future__ import annotations

import base64
import http
import math
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from tornado.web import HTTPError, RequestHandler

from sms_pipeline import __version__
from sms_pipeline.core.errors import (
    ConfigError,
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
from sms_pipeline.views.dashboard.starter import Starter
from sms_pipeline.views.hosts import is_known_host
from sms_pipeline.views.metrics.exporter import Exporter

SESSION_COOKIE = "sms_dashboard"
#: The error where nothing may be changed.
READ_ONLY = "this dashboard is read-only"
_DAY = 86_400
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


class Guarded(RequestHandler):
    """Accepts known host names only, and changes only from our own pages."""

    door: Door
    doorkeeper: Doorkeeper
    board: Board
    exporter: Exporter
    #: None: this dashboard is read-only.
    starter: Starter | None

    def initialize(
        self,
        door: Door,
        doorkeeper: Doorkeeper,
        board: Board,
        exporter: Exporter,
        starter: Starter | None,
    ) -> None:
        self.door, self.doorkeeper = door, doorkeeper
        self.board, self.exporter, self.starter = board, exporter, starter

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

    def missing(self, what: str) -> None:
        """Answer with a page that says what there is not."""
        self.set_status(http.HTTPStatus.NOT_FOUND)
        self.render("missing.html", version=__version__, what=what)

    def say_when(self, status_code: int) -> None:
        """Tell a client that has to wait for how long."""
        if status_code == http.HTTPStatus.TOO_MANY_REQUESTS:
            self.set_header("Retry-After", str(math.ceil(MAX_WAITING * WRONG_PASSWORD_SECONDS)))


class PageHandler(Guarded):
    """A page. Its script fills in the figures."""

    def prepare(self) -> Awaitable[None] | None:
        super().prepare()
        if self.current_user is None:
            self.redirect(access.login_path(self.request.uri or "/"))
        return None

    def show(self, name: str, **values: Any) -> None:
        """Render the template `name`."""
        self.render(
            name,
            version=__version__,
            door=self.door,
            locked=self.doorkeeper.asks,
            starts=self.starter is not None,
            **values,
        )

    async def has(self, *run_ids: int) -> bool:
        """Whether there are these runs; if not, this has said so.

        Where that can't be known, the page is shown: its script says what is wrong, and waits.
        """
        for run_id in run_ids:
            with suppress(DamagedLedgerError, LedgerUnavailableError):
                if not await self.board.has(run_id):
                    self.missing(f"There is no run {run_id}.")
                    return False
        return True


class JsonHandler(Guarded):
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
            self.refuse(http.HTTPStatus.NOT_FOUND, str(error))
        except ConfigError as error:
            self.refuse(http.HTTPStatus.BAD_REQUEST, str(error))
        except (LedgerUnavailableError, DamagedLedgerError) as error:
            self.refuse(http.HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except PipelineError as error:
            self.refuse(http.HTTPStatus.CONFLICT, str(error))

    def write_error(self, status_code: int, **_: Any) -> None:
        self.say_when(status_code)
        self.refuse(status_code, http.HTTPStatus(status_code).phrase)

    def refuse(self, status: int, error: str) -> None:
        """Answer with an error, and no more."""
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
