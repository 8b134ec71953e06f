"""Debian's Chromium, driven by Playwright; nothing is downloaded."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: Nothing of the browser's own goes to the network, and it runs as root, too.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: A busy machine may take this long until a figure is shown.
PATIENCE_MS = 60_000


def unavailable() -> str | None:
    """Why there is no browser; None if there is one."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed; make test installs it"
    if _program() is None:
        return "Chromium is not installed; make services installs it"
    return None


@contextmanager
def running() -> Iterator[Browser]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page, and all that it complained of or asked for."""

    def __init__(self, browser: Browser, base: str, **context: Any) -> None:
        """Open an empty page; `context` is Playwright's: viewport, color_scheme …"""
        self._base = base
        self._context = browser.new_context(base_url=base, **context)
        self._context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self._context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._see)

    @property
    def foreign_requests(self) -> list[str]:
        """What was asked for anywhere but at the server."""
        return [url for url in self.requests if not url.startswith((self._base, "data:", "blob:"))]

    def close(self) -> None:
        """Close the page, with its cookies."""
        self._context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} {message.location}")

    def _see(self, request: Request) -> None:
        self.requests.append(request.url)


def _program() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)
