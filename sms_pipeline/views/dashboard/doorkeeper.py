"""Who is let in: passwords, and the sessions that a right one opens."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
from collections import Counter

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.clock import Clock
from sms_pipeline.views.dashboard import access

log = logging.getLogger(__name__)

#: So long the answer to a wrong password takes. Those of one client come one after the other …
WRONG_PASSWORD_SECONDS = 0.5
#: … and while so many of them wait, that client's next one is not looked at.
MAX_WAITING = 10
SESSION_SECONDS = 7 * 86_400
#: The oldest session ends when there are more.
MAX_SESSIONS = 1_000
_TOKEN_BYTES = 32
#: Whoever has an address of IPv6 has all that begin like it.
_IPV6_PREFIX = 64


class TooManyWrongError(Exception):
    """A client gave wrong passwords faster than they are answered."""


class Doorkeeper:
    """Checks passwords, and makes guessing slow for the one who guesses, and nobody else."""

    def __init__(self, password: str | None, clock: Clock = MACHINE_CLOCK) -> None:
        self._password = password
        self._clock = clock
        self._waiting: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Lock] = {}
        #: When each session ends, by its token; oldest first.
        self._sessions: dict[str, float] = {}

    @property
    def asks(self) -> bool:
        """Whether a password is needed."""
        return bool(self._password)

    async def admits(self, given: str, address: str) -> bool:
        """Whether `given` is the password; a right one is answered at once.

        Raises:
            TooManyWrongError: the client at `address` has to wait.
        """
        client = _client(address)
        if self._waiting[client] >= MAX_WAITING:
            raise TooManyWrongError
        if access.is_password(given, self._password or ""):
            return True
        log.warning("a wrong password was given from %s", address)
        self._waiting[client] += 1
        try:
            async with self._turns.setdefault(client, asyncio.Lock()):
                await asyncio.sleep(WRONG_PASSWORD_SECONDS)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client], self._turns[client]
        return False

    def open_session(self) -> str:
        """The token of a new session."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._sessions[token] = self._clock.monotonic() + SESSION_SECONDS
        while len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return token

    def knows(self, token: str) -> bool:
        """Whether the session of `token` is open."""
        return self._sessions.get(token, 0.0) > self._clock.monotonic()

    def close_session(self, token: str) -> None:
        """From now on nobody is let in by `token`."""
        self._sessions.pop(token, None)


def _client(address: str) -> str:
    """Who has that address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
