"""Fixtures of the tests of the views: a ledger in which it is noon."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sms_pipeline.core.records import Run
from sms_pipeline.ledger import sums
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from tests.unit.make import NOON
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
