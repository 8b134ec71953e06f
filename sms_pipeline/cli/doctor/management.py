"""What RabbitMQ's management plugin knows and AMQP does not tell, where there is the plugin."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from kombu import Connection

#: How far its port is from that of AMQP by convention: 15672 and 5672, 15671 and 5671.
_PORT_OFFSET = 10_000
_HIGHEST_PORT = 65_535
_SECONDS = 3.0


class Members(NamedTuple):
    """Nodes on which a quorum queue is kept."""

    queue: str
    members: Sequence[str]
    online: Sequence[str]


class Management:
    """The plugin of one broker, asked as the user of its URL."""

    def __init__(self, url: str) -> None:
        known = Connection(url)
        info = known.info()
        self._vhost = quote(info["virtual_host"], safe="")
        #: Where it is, if it is there.
        self.port = int(info["port"]) + _PORT_OFFSET
        # The password must not travel in the clear where AMQP's is encrypted.
        scheme = "https" if info["ssl"] else "http"
        self._base = f"{scheme}://{info['hostname']}:{self.port}/api"
        login = f"{info['userid']}:{info['password']}".encode()
        self._authorization = f"Basic {base64.b64encode(login).decode()}"
        # Not by way of a proxy.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def nodes(self) -> list[str] | None:
        """Names of the nodes of the cluster; None if the plugin does not answer, or not that."""
        told = self._get("nodes?columns=name")
        return None if told is None else [node["name"] for node in told]

    def members(self) -> list[Members] | None:
        """Where each quorum queue of the virtual host is kept; None if the plugin does not tell."""
        told = self._get(f"queues/{self._vhost}?columns=name,members,online")
        if told is None:
            return None
        return [
            Members(queue["name"], queue["members"], queue.get("online", queue["members"]))
            for queue in told
            if "members" in queue
        ]

    def _get(self, path: str) -> Any:
        if self.port > _HIGHEST_PORT:
            return None
        request = urllib.request.Request(  # noqa: S310 - http or https
            f"{self._base}/{path}", headers={"Authorization": self._authorization}
        )
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None
