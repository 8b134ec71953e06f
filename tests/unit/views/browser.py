"""Someone who knocks at the dashboard's door, without a browser."""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

ANSWER_SECONDS = 20


class Browser:
    """Keeps cookies, as browsers do, and says nothing about where its requests come from."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._loop = loop
        self._url = f"http://127.0.0.1:{port}"
        self.host = f"127.0.0.1:{port}"
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> HTTPResponse:
        """The response, whatever its status; `Sec_Fetch_Site=…` is a header of that name."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        request = HTTPRequest(
            self._url + path,
            method,
            headers=given,
            body=body if method == "POST" else None,
            follow_redirects=False,
            request_timeout=ANSWER_SECONDS,
        )

        async def fetch() -> HTTPResponse:
            return await AsyncHTTPClient().fetch(request, raise_error=False)

        response = self._loop.run_until_complete(fetch())
        for cookie in response.headers.get_list("Set-Cookie"):
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return response

    def json(self, path: str) -> Any:
        """The answer to a GET that must succeed."""
        response = self.ask(path)
        assert response.code == HTTPStatus.OK, response.body
        return json.loads(response.body)

    def token(self, page: str = "/") -> str:
        """What a page gives to its own scripts."""
        found = re.search(r'data-xsrf="([^"]+)"', self.ask(page).body.decode())
        assert found
        return found[1]

    def log_in(self, password: str) -> HTTPResponse:
        """Fill in the form."""
        token = self.token("/login")
        return self.ask("/login", "POST", f"password={password}&_xsrf={token}")
