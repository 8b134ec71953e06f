"""TLS to the broker: the certificate must be for its host's name, and options of the URL count.

py-amqp compares the name only if it is told which, and does not know the options of a URL by their
names: kombu hands on `ssl_ca_certs`, py-amqp knows `ca_certs`.
"""

from __future__ import annotations

import ssl
from typing import Any

from kombu.transport.pyamqp import SSLTransport

_PREFIX = "ssl_"


class CheckedTransport(SSLTransport):  # type: ignore[misc]  # kombu ships no types.
    """What kombu uses for amqps://."""

    def establish_connection(self) -> Any:
        """Connect to the host of now: of a list it may be another one than the last time."""
        asked = self.client.ssl
        self.client.ssl = tls_options(asked, self.client.hostname or "localhost")
        try:
            return super().establish_connection()
        finally:
            # Copies of the connection, for other hosts, start from what was asked for.
            self.client.ssl = asked


def tls_options(asked: bool | dict[str, Any], host: str) -> dict[str, Any]:
    """What py-amqp is told.

    Args:
        asked: options of the URL by their names there, or True for none.
        host: whom to connect to.
    """
    options = {} if isinstance(asked, bool) else dict(asked)
    options = {name.removeprefix(_PREFIX): value for name, value in options.items()}
    is_named = options.pop("check_hostname", True) and options.get("cert_reqs") != ssl.CERT_NONE
    if is_named and options.get("server_hostname") is None:
        options["server_hostname"] = host
    # Without any option py-amqp would not use TLS at all.
    return {"cert_reqs": ssl.CERT_REQUIRED, **options}
