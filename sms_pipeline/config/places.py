"""Whether the places of broker and ledger go together."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from sms_pipeline.config.brokers import split_urls
from sms_pipeline.config.settings import Settings

_SQLITE = "sqlite"
_LOCAL_NAMES = ("localhost", "")


def doubt(settings: Settings) -> str | None:
    """What a user should be told of where they have put things; None if there is nothing to say.

    A broker elsewhere may serve workers elsewhere, and those can't reach a file on this host.
    """
    away = broker_elsewhere(settings)
    if away is None or not settings.database_url.startswith(_SQLITE):
        return None
    return (
        f"the broker is on another host ({away}), but the ledger is a file on this one, which "
        "workers elsewhere can't reach; for several hosts use PostgreSQL: "
        "SMS_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DATABASE"
    )


def broker_elsewhere(settings: Settings) -> str | None:
    """The first host of the list of brokers that is another one than this."""
    urls = [] if settings.embedded else split_urls(settings.broker_url)
    return next(filter(is_elsewhere, (urlsplit(url).hostname or "" for url in urls)), None)


def is_elsewhere(host: str) -> bool:
    """Whether a host is another one than this."""
    if host in (*_LOCAL_NAMES, socket.gethostname().lower()):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
