"""Who may talk to the dashboard. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from sms_pipeline.core.errors import ConfigError
from sms_pipeline.views.hosts import is_loopback

#: The parameter that names the page to show after the login.
WANTED = "next"
#: Browsers take two slashes for another host, read a backslash as a slash, and skip tabs.
_PATH_HERE = re.compile(r"/(?![/\\])[\x21-\x7e]*")


@dataclass(frozen=True, slots=True)
class Door:
    """How the dashboard may be reached, and by whom."""

    host: str
    port: int
    #: Names, besides addresses and localhost, that it answers to.
    names: frozenset[str] = frozenset()
    password: str | None = None
    read_only: bool = False


def require_password(host: str, password: str | None) -> None:
    """Require a password if other machines can reach `host`.

    Raises:
        ConfigError: other machines can reach `host`, and there is no password.
    """
    if password or is_loopback(host):
        return
    raise ConfigError(
        f"--host {host}: other machines can reach that address, so a password is needed; set "
        "SMS_DASHBOARD_PASSWORD or name a --password-file"
    )


def is_same_site(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from our own page, or from no page at all.

    Browsers say where a request comes from; what is not a browser says nothing, and has no
    cookies that another page could abuse.
    """
    origin = headers.get("Origin")
    if origin is not None and _site_of(origin) != headers.get("Host", "").lower():
        return False
    return headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"


def is_password(given: str, wanted: str) -> bool:
    """Compare in a time that reveals nothing about `wanted`, not even its length."""
    digests = [hashlib.sha256(text.encode()).digest() for text in (given, wanted)]
    return hmac.compare_digest(*digests)


def path_here(wanted: str) -> str:
    """`wanted` if it is the path of a page of this server, else that of the first page."""
    return wanted if _PATH_HERE.fullmatch(wanted) else "/"


def login_path(wanted: str) -> str:
    """Where to log in so that `wanted` comes next."""
    path = path_here(wanted)
    return "/login" if path == "/" else f"/login?{urlencode({WANTED: path})}"


def _site_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
