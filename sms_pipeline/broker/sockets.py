"""How long a connection to the broker bears a link that is down."""

from __future__ import annotations

import socket
from typing import Any

#: What was sent must be acknowledged by then. py-amqp's own limit is 1 s: a link that is down for
#: so long would then cost a connection, and every batch in hand would be delivered again. A dead
#: one is still noticed sooner than by missed heartbeats.
UNACKNOWLEDGED_SECONDS = 10

#: Transport options of every connection over a network. Not every system has the setting.
TRANSPORT_OPTIONS: dict[str, Any] = {
    "socket_settings": {
        getattr(socket, name): UNACKNOWLEDGED_SECONDS * 1_000
        for name in ("TCP_USER_TIMEOUT",)
        if hasattr(socket, name)
    }
}
