"""Where a server listens: PORT or HOST:PORT, as a user gives it."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from sms_pipeline.core.errors import ConfigError

LOOPBACK = "127.0.0.1"
MAX_PORT = 65_535


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, option: str) -> Address:
    """An address from `PORT` (on this machine only), `HOST:PORT` or `[IPV6]:PORT`.

    Raises:
        ConfigError: it is none; the message names `option`.
    """
    written = f"{LOOPBACK}:{text}" if text.isdecimal() else text
    try:
        parts = urlsplit(f"//{written}")
        address = Address(parts.hostname or "", -1 if parts.port is None else parts.port)
        # Raises ValueError for a name that no name server can be asked for.
        address.host.encode("idna")
    except ValueError:
        address = Address("", 0)
    if not address.host or str(address) != written.lower():
        raise ConfigError(
            f"option {option}: must be PORT or HOST:PORT with a port from 0 to {MAX_PORT}, "
            f"got {text!r}"
        )
    return address
