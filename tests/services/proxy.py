"""A link between two processes that can go dead without being closed."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.services.processes import free_port

_CHUNK = 65_536
HOST = "127.0.0.1"


class Link:
    """A TCP proxy on loopback. While it is dead nothing passes, and nobody is told.

    What is sent meanwhile arrives once it is healed, as over a network that sends it again. New
    connections are accepted by the kernel, and answered by nobody.
    """

    def __init__(self, target_port: int, delay_seconds: float = 0.0) -> None:
        """Choose a port; `start` lets connections to it through to `target_port`.

        Args:
            target_port: of the server.
            delay_seconds: how long whatever is sent is on its way, in each direction.
        """
        self._delay_seconds = delay_seconds
        self.port = free_port()
        self._target_port = target_port
        self._alive = threading.Event()
        self._alive.set()
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self._listener = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self.heal()
        for one in (self._listener, *self._sockets):
            if one:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def cut(self) -> None:
        """Let nothing through in either direction."""
        self._alive.clear()

    def heal(self) -> None:
        """Let everything through again, what was sent meanwhile first."""
        self._alive.set()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                self._alive.wait()
                near, _ = listener.accept()
                self._alive.wait()
                try:
                    far = socket.create_connection((HOST, self._target_port))
                except OSError:
                    near.close()
                    continue
                self._sockets += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._alive.wait()
                time.sleep(self._delay_seconds)
                target.sendall(data)
        self._alive.wait()
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
