"""Guessing is slow for the one who guesses; a session ends when it is closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views.dashboard import bounded, doorkeeper
from sms_pipeline.views.dashboard.bounded import BoundedServer
from sms_pipeline.views.dashboard.doorkeeper import (
    MAX_SESSIONS,
    MAX_WAITING,
    SESSION_SECONDS,
    Doorkeeper,
    TooManyWrongError,
)

PASSWORD = "correct horse"  # noqa: S105 - made up
GUESSER, OTHER = "192.0.2.1", "192.0.2.2"
ANSWER_SECONDS = 20


@pytest.fixture
def keeper(dashboard_packages: None) -> Doorkeeper:
    return Doorkeeper(PASSWORD, ManualClock())


async def _begin(keeper: Doorkeeper, guesses: int, address: str) -> list[asyncio.Task[bool]]:
    """So many wrong passwords, none of which is answered yet."""
    begun = [asyncio.ensure_future(keeper.admits("wrong", address)) for _ in range(guesses)]
    await asyncio.sleep(0)
    return begun


async def _end(begun: list[asyncio.Task[bool]]) -> list[bool | BaseException]:
    for task in begun:
        task.cancel()
    return await asyncio.gather(*begun, return_exceptions=True)


def test_the_right_password_never_waits_for_wrong_ones(
    keeper: Doorkeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "WRONG_PASSWORD_SECONDS", 3_600.0)

    async def come() -> None:
        begun = await _begin(keeper, 100, GUESSER)
        async with asyncio.timeout(ANSWER_SECONDS):
            assert await keeper.admits(PASSWORD, OTHER)
            # From an address at which somebody guesses nothing is looked at for a while.
            with pytest.raises(TooManyWrongError):
                await keeper.admits(PASSWORD, GUESSER)
        ended = await _end(begun)
        assert sum(isinstance(one, TooManyWrongError) for one in ended) == 100 - MAX_WAITING
        # Those who gave up are forgotten.
        assert await keeper.admits(PASSWORD, GUESSER)

    asyncio.run(come())


def test_the_right_password_does_not_wait_behind_a_few_wrong_ones_of_its_own_address(
    keeper: Doorkeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorkeeper, "WRONG_PASSWORD_SECONDS", 3_600.0)

    async def come() -> None:
        begun = await _begin(keeper, MAX_WAITING - 1, GUESSER)
        async with asyncio.timeout(ANSWER_SECONDS):
            assert await keeper.admits(PASSWORD, GUESSER)
        await _end(begun)

    asyncio.run(come())


def test_wrong_passwords_of_one_client_are_answered_one_after_the_other(
    keeper: Doorkeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, most = 0, 0
    sleep = asyncio.sleep

    async def watch(_seconds: float) -> None:
        nonlocal asleep, most
        asleep += 1
        most = max(most, asleep)
        await sleep(0)
        asleep -= 1

    async def guess() -> list[bool]:
        return await asyncio.gather(
            *(keeper.admits("wrong", f"2001:db8::{number}") for number in range(MAX_WAITING))
        )

    monkeypatch.setattr(asyncio, "sleep", watch)
    assert asyncio.run(guess()) == [False] * MAX_WAITING
    assert most == 1


def test_a_session_is_open_until_it_is_closed_or_old() -> None:
    clock = ManualClock()
    keeper = Doorkeeper(PASSWORD, clock)
    mine, other = keeper.open_session(), keeper.open_session()
    assert mine != other
    assert keeper.knows(mine)
    keeper.close_session(mine)
    keeper.close_session("never opened")
    assert (keeper.knows(mine), keeper.knows(other), keeper.knows("")) == (False, True, False)
    clock.advance(SESSION_SECONDS)
    assert not keeper.knows(other)


def test_sessions_do_not_fill_the_memory() -> None:
    keeper = Doorkeeper(PASSWORD)
    tokens = [keeper.open_session() for _ in range(MAX_SESSIONS + 1)]
    assert [keeper.knows(token) for token in tokens] == [False] + [True] * MAX_SESSIONS


# Connections


class Hello(RequestHandler):
    def get(self) -> None:
        self.write("hello")


class Host:
    """A server, and people who connect to it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._open: list[socket.socket] = []
        self.loop.run_until_complete(self._start())

    async def _start(self) -> None:
        self._server = BoundedServer(Application([("/", Hello)]))
        listening, self.port = bind_unused_port()
        self._server.add_sockets([listening])

    async def ask(self, request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> bytes:
        """The first line of the answer; nothing if the connection was closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await reader.readline()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def connect(self, count: int) -> list[asyncio.StreamWriter]:
        """People who say nothing."""
        return [(await asyncio.open_connection("127.0.0.1", self.port))[1] for _ in range(count)]

    async def stop(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


@pytest.fixture
def host(dashboard_packages: None) -> Iterator[Host]:
    made = Host()
    yield made
    made.loop.run_until_complete(made.stop())
    made.loop.close()


def test_connections_are_counted_and_room_is_made_when_they_end(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MAX_OF_ONE_ADDRESS", 3)

    async def come() -> None:
        silent = await host.connect(3)
        assert await host.ask() == b""
        for one in silent:
            one.close()
        async with asyncio.timeout(ANSWER_SECONDS):
            while not (line := await host.ask()):
                await asyncio.sleep(0.01)
        assert str(HTTPStatus.OK.value).encode() in line

    host.loop.run_until_complete(come())


def test_there_is_a_bound_for_all_together(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MAX_CONNECTIONS", 2)

    async def come() -> None:
        silent = await host.connect(2)
        assert await host.ask() == b""
        for one in silent:
            one.close()

    host.loop.run_until_complete(come())


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHo"], ids=["nothing", "a beginning"])
def test_who_says_too_little_is_sent_away(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(bounded, "IDLE_SECONDS", 0.05)
    host = Host()
    assert host.loop.run_until_complete(host.ask(said)) == b""
    host.loop.run_until_complete(host.stop())
    host.loop.close()
