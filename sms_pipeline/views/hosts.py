"""Which `Host` headers mean one of our servers. Pure.

A page elsewhere can make its own name lead here (DNS rebinding) and then counts as the same site
for a browser. It can't do that with an address, nor with a name that is not its own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

#: Names that always mean this machine.
LOCAL_NAMES = frozenset({"localhost"})


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can be reached from this machine only."""
    address = _address(host)
    return host in LOCAL_NAMES or (address is not None and address.is_loopback)


def is_known_host(header: str, names: Collection[str]) -> bool:
    """Whether a request's `Host`, port aside, is an address or one of our names."""
    host = host_of(header)
    return host is not None and (
        _address(host) is not None or host in LOCAL_NAMES or host in {n.lower() for n in names}
    )


def is_short_name(header: str) -> bool:
    """Whether a `Host` is a name without a domain, as in a network of containers.

    Nobody owns such a name on the Internet.
    """
    host = host_of(header)
    return host is not None and "." not in host


def host_of(header: str) -> str | None:
    """The name or address in a `Host`; None if there is none."""
    try:
        host = urlsplit(f"//{header}").hostname
    except ValueError:
        return None
    return host and host.rstrip(".")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
