"""Fixtures of the tests of the views: a ledger in which it is noon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tornado.testing import bind_unused_port

from sms_pipeline.core.records import Run
from sms_pipeline.ledger import sums
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views.dashboard.access import Door
from sms_pipeline.views.dashboard.board import Board
from sms_pipeline.views.dashboard.bounded import BoundedServer
from sms_pipeline.views.dashboard.server import make_application
from sms_pipeline.views.dashboard.starter import Starter
from sms_pipeline.views.metrics.exporter import Exporter
from tests.unit.make import NOON
from tests.unit.views.browser import Browser
from tests.unit.views.cases import CASES, Case, World

#: A run is told apart from another of the same seed by its start.
TICK_SECONDS = 5e-7


class Ticking(ManualClock):
    """Never says the same time twice."""

    def wall(self) -> float:
        self.step_wall(TICK_SECONDS)
        return super().wall()


@pytest.fixture(autouse=True)
def sums_alone(rules_apart: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made up here: that their times fit is unimportant to what is shown."""
    monkeypatch.setattr(sums, "_against_times", lambda *_: ())


@pytest.fixture
def noon() -> ManualClock:
    """The clock of the ledger."""
    return Ticking(wall=NOON)


@pytest.fixture
def ledger(ledger_url: str, noon: ManualClock) -> Iterator[Ledger]:
    """An empty ledger; its runs start at noon."""
    opened = Ledger.open(ledger_url, noon)
    yield opened
    opened.close()


@pytest.fixture(params=CASES, ids=lambda made: made.__name__)
def case(request: pytest.FixtureRequest, ledger_url: str) -> Iterator[Case]:
    clock = ManualClock(wall=NOON)
    ledger = Ledger.open(ledger_url, clock)
    made: Callable[[World], Run] = request.param
    world = World(ledger, clock)
    found = Case(world, made(world))
    assert found.progress.state is CASES[made]
    yield found
    ledger.close()


@pytest.fixture
def serve(ledger: Ledger, dashboard_packages: None) -> Iterator[Callable[..., Browser]]:
    """Start the dashboard behind a door; returns someone who knocks."""
    loop = asyncio.new_event_loop()
    boards: list[Board] = []
    servers: list[BoundedServer] = []

    def start(starter: Starter | None = None, **door: Any) -> Browser:
        async def listen() -> int:
            exporter = Exporter(ledger)
            exporter.read()
            boards.append(Board(ledger))
            made = Door(**{"host": "127.0.0.1", "port": 0, **door})
            servers.append(BoundedServer(make_application(made, boards[-1], exporter, starter)))
            socket, port = bind_unused_port()
            servers[-1].add_sockets([socket])
            return int(port)

        return Browser(loop, loop.run_until_complete(listen()))

    async def stop() -> None:
        for one in servers:
            one.stop()
            await one.close_all_connections()

    yield start
    loop.run_until_complete(stop())
    for opened in boards:
        opened.close()
    loop.close()


@pytest.fixture
def browser(serve: Callable[..., Browser]) -> Browser:
    """Of someone at this machine, without a password."""
    return serve()
