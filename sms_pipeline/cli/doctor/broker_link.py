"""A connection to a broker on which no wait is without end, and why there is none."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import amqp
from amqp.exceptions import AccessRefused, NotAllowed, UnexpectedFrame
from kombu import Connection

from sms_pipeline.core.clock import Clock

#: How long the broker may take to accept a connection, and to answer.
CONNECT_SECONDS = 4.0
ANSWER_SECONDS = 4.0
_PERSISTENT = 2
_BODY = "doctor"


class Trouble(Enum):
    """Why there is no connection."""

    NO_SUCH_HOST = auto()
    NOBODY_LISTENS = auto()
    NO_ANSWER = auto()
    NOT_A_BROKER = auto()
    LOGIN = auto()
    NO_SUCH_VHOST = auto()
    VHOST_RIGHTS = auto()
    TLS = auto()
    OTHER = auto()


class UnreachableError(Exception):
    """There is no connection to the broker."""

    def __init__(self, trouble: Trouble, words: str) -> None:
        super().__init__(words)
        self.trouble = trouble


class BlockedError(Exception):
    """The broker takes no messages: a resource alarm is on."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is, as it may be shown."""

    host: str
    port: int
    vhost: str
    user: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a broker says of itself."""

    product: str
    version: str
    cluster: str


def address_of(url: str) -> Address:
    """The parts of a broker's URL, without the password."""
    info = Connection(url).info()
    return Address(info["hostname"], int(info["port"]), info["virtual_host"], info["userid"])


class BrokerLink:
    """A connection to one broker, with confirms."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        self._channel: Any = None
        self._is_blocked = False

    def connect(self) -> Greeting:
        """Connect and log in.

        Raises:
            UnreachableError: it is not possible; the error says why.
        """
        options = {"confirm_publish": True, "on_blocked": self._note_blocked}
        connection = Connection(
            self._url, connect_timeout=CONNECT_SECONDS, transport_options=options
        )
        try:
            self._connection = connection.connect()
        except Exception as error:
            words = " ".join(str(error).split()) or type(error).__name__
            raise UnreachableError(trouble_of(error, words), words) from error
        self._connection.transport.sock.settimeout(ANSWER_SECONDS)
        told = self._connection.server_properties
        names = ("product", "version", "cluster_name")
        return Greeting(*(str(told.get(name, "")) for name in names))

    def close(self) -> None:
        """Drop the connection, without waiting for a broker that is blocked."""
        if self._connection is not None:
            self._connection.collect()

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel: the same one until an error, on which RabbitMQ closes it.

        It is another one then: that which py-amqp opens again is in no confirm mode.
        """
        if self._channel is None:
            self._channel = self._connection.channel()
        try:
            yield self._channel
        except BaseException:
            self._channel = None
            raise

    def round_trip(self, clock: Clock) -> float:
        """Seconds until the broker has answered a question that is none to it."""
        before = clock.monotonic()
        self._connection.channel()
        return clock.monotonic() - before

    def publish(self, channel: Any, exchange: str, routing_key: str) -> None:
        """Publish a message, and return when it is confirmed.

        Raises:
            BlockedError: the broker takes no messages now.
        """
        message = amqp.Message(_BODY, delivery_mode=_PERSISTENT)
        try:
            channel.basic_publish(message, exchange, routing_key, confirm_timeout=ANSWER_SECONDS)
        except OSError as error:
            # The confirm may still come: the connection is of no use any more.
            self.close()
            if self._is_blocked:
                raise BlockedError from error
            raise

    def _note_blocked(self, _reason: str) -> None:
        # py-amqp does not hand on the broker's reason.
        self._is_blocked = True


def trouble_of(error: Exception, words: str) -> Trouble:
    """What kind of trouble this error tells of."""
    match error:
        case socket.gaierror():
            return Trouble.NO_SUCH_HOST
        case ConnectionRefusedError():
            return Trouble.NOBODY_LISTENS
        case ssl.SSLError():
            return Trouble.TLS
        case TimeoutError():
            return Trouble.NO_ANSWER
        case AccessRefused():
            return Trouble.LOGIN
        case NotAllowed():
            return Trouble.NO_SUCH_VHOST if "not found" in words else Trouble.VHOST_RIGHTS
        case UnexpectedFrame() | ConnectionError():
            return Trouble.NOT_A_BROKER
        case OSError(errno=None):
            # py-amqp's own: the other side has closed the connection.
            return Trouble.NOT_A_BROKER
        case OSError():
            # No route to the host, for example.
            return Trouble.NO_ANSWER
    return Trouble.OTHER
