"""Whether the places of broker and ledger go together."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from sms_pipeline.config.settings import Settings

_SQLITE = "sqlite"
_LOCAL_NAMES = ("localhost", "")


def doubt(settings: Settings) -> str | None:
    """What a user should be told of where they have put things; None if there is nothing to say.

    A broker elsewhere may serve workers elsewhere, and those can't reach a file on this host.
    """
    if settings.embedded or not settings.database_url.startswith(_SQLITE):
        return None
    hosts = [urlsplit(url.strip()).hostname or "" for url in settings.broker_url.split(";")]
    away = [host for host in hosts if not _is_here(host)]
    if not away:
        return None
    return (
        f"the broker is on another host ({away[0]}), but the ledger is a file on this one, which "
        "workers elsewhere can't reach; for several hosts use PostgreSQL: "
        "SMS_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DATABASE"
    )


def _is_here(host: str) -> bool:
    if host in (*_LOCAL_NAMES, socket.gethostname().lower()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
