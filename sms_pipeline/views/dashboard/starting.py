"""Answers about runs that are yet to be started."""

from __future__ import annotations

import http
import json
import logging
from typing import Any

from tornado.web import HTTPError

from sms_pipeline.core.errors import PipelineError
from sms_pipeline.views.dashboard.guards import READ_ONLY, JsonHandler, PageHandler
from sms_pipeline.views.dashboard.handlers import run_or_none
from sms_pipeline.views.dashboard.starter import Starter

log = logging.getLogger(__name__)


class StartPage(PageHandler):
    """Write a configuration, see how it would go, start it."""

    async def get(self) -> None:
        """The page; `run` names the one whose configuration comes first."""
        if self.starter is None:
            self.missing("This dashboard is read-only: it starts no runs.")
            return
        try:
            listed = (await self.board.runs())["runs"]
        except PipelineError:
            # Its script says so as soon as it asks for anything.
            listed = []
        given = run_or_none(self.get_query_argument("run", ""))
        self.show("start.html", runs=listed, given=given, file=self.starter.file)


class _Starting(JsonHandler):
    """Refuses where the page is read-only."""

    async def prepare(self) -> None:
        await super().prepare()
        if self.starter is None:
            self.refuse(http.HTTPStatus.FORBIDDEN, READ_ONLY)

    def text(self) -> str:
        """The configuration that was sent."""
        try:
            text = json.loads(self.request.body)["text"]
        except (ValueError, TypeError, KeyError):
            raise HTTPError(http.HTTPStatus.BAD_REQUEST) from None
        if not isinstance(text, str):
            raise HTTPError(http.HTTPStatus.BAD_REQUEST)
        return text

    @property
    def made(self) -> Starter:
        """What starts runs; `prepare` has made sure that it is there."""
        if self.starter is None:
            raise HTTPError(http.HTTPStatus.FORBIDDEN)
        return self.starter


class ConfigurationAnswer(_Starting):
    """A configuration to begin with."""

    async def get(self) -> None:
        """Of the run that is named, of the file that is set, or the built-in one."""
        await self.answer(self._text())

    async def _text(self) -> dict[str, str]:
        number = run_or_none(self.get_query_argument("run", ""))
        run = None if number is None else await self.board.find(number)
        from_file = bool(self.get_query_argument("file", ""))
        return {"text": self.made.text(run, from_file)}


class CheckAnswer(_Starting):
    """Is this a configuration?"""

    async def post(self) -> None:
        """What is wrong with it, or what it means."""
        await self.answer(self.made.check(self.text()))


class ForecastAnswer(_Starting):
    """How would a run of it go?"""

    async def post(self) -> None:
        """What the command `forecast` says."""
        await self.answer(self.made.forecast(self.text()))


class StartAnswer(_Starting):
    """Start a run."""

    async def post(self) -> None:
        """Its number, once it has begun."""
        log.info("start a run, asked from %s", self.request.remote_ip)
        await self.answer(self.made.start(self.text()))


class AgainAnswer(_Starting):
    """Start a run like another one."""

    async def post(self, run_id: str) -> None:
        """Its number, once it has begun."""
        log.info("start run %s again, asked from %s", run_id, self.request.remote_ip)
        await self.answer(self._again(int(run_id)))

    async def _again(self, run_id: int) -> dict[str, Any]:
        return await self.made.again(await self.board.find(run_id))
