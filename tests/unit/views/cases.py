"""Runs that stand in every way, each read at one moment."""

from __future__ import annotations

from typing import Any

from sms_pipeline.core.records import Control, Run
from sms_pipeline.core.run_state import RunState
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.views.reader import Reader, Reading
from tests.unit import make
from tests.unit.make import NOON

PROFILES = ("fast", "slow")
#: So long after its start a run that is under way is looked at.
LATER = 20.0
#: Longer than a run may stand still.
MUCH_LATER = 7_200.0


class World:
    """A ledger, and the time in it."""

    def __init__(self, ledger: Ledger, clock: ManualClock) -> None:
        self.ledger = ledger
        self.clock = clock

    def begin(self, **values: Any) -> Run:
        """Start a run; of its first batch all is settled, of the second nothing."""
        simulation = make.simulation(num_messages=100, **values.pop("simulation", {}))
        run = self.ledger.start_run(simulation, seed=7, **values)
        for name, senders in (("fast", 5), ("slow", 2)):
            self.ledger.join(f"w-{name}", [make.profile(name, count=senders)])
        self.ledger.record_batches(run.id, [
            make.row(run.id, 0, 0, 50),
            make.row(run.id, 1, 50, 40, profile="slow"),
            make.row(run.id, 2, 90, 10, profile="slow"),
        ])  # fmt: skip
        first = make.settlement(
            run.id, 0, 0, messages=50, delivered=40, failed=4, expired=1, retried=5,
            send_seconds=9.0, delivery_seconds=55.5, transit_seconds=44.0,
            delivery_times={80: 24, 84: 20}, longest_delivery=1.4,
            remainder=make.bitmap(0, size=50), worker="w-fast", settled_at=NOON + 2,
        )  # fmt: skip
        second = make.settlement(
            run.id, 0, 1, messages=5, delivered=3, failed=2, send_seconds=1.5,
            delivery_seconds=17.5, transit_seconds=12.5, delivery_times={90: 5},
            longest_delivery=3.9, worker="w-fast", settled_at=NOON + 5,
        )  # fmt: skip
        cancelled = make.settlement(
            run.id, 2, messages=10, delivered=0, cancelled=10, send_seconds=0.0,
            delivery_seconds=0.0, transit_seconds=0.0, profile="slow", worker="cancel",
            settled_at=NOON + 6,
        )  # fmt: skip
        self.ledger.settle([first, second, cancelled])
        return run

    def end(self, run: Run, seconds: float) -> None:
        """Settle the second batch, so long after the start."""
        last = make.settlement(
            run.id, 1, messages=40, delivered=30, failed=10, send_seconds=12.0,
            delivery_seconds=277.0, transit_seconds=200.0, delivery_times={100: 40},
            longest_delivery=9.25, profile="slow", worker="w-slow", settled_at=NOON + seconds,
        )  # fmt: skip
        self.ledger.settle([last])

    def leave(self) -> None:
        """No worker is online any more."""
        for name in PROFILES:
            self.ledger.leave(f"w-{name}")


def finished(world: World) -> Run:
    run = world.begin()
    world.end(run, 12)
    return run


def stalled(world: World) -> Run:
    run = world.begin()
    world.clock.advance(MUCH_LATER)
    return run


def interrupted(world: World) -> Run:
    run = world.begin(embedded=True)
    world.clock.advance(LATER)
    return run


def paused(world: World) -> Run:
    run = world.begin()
    world.clock.advance(LATER)
    world.ledger.control(run.id, Control.PAUSED)
    world.clock.advance(LATER)
    return run


def failed(world: World) -> Run:
    run = world.begin(simulation={"thresholds": ["failed < 1%", "delivered > 1"]})
    world.end(run, 12)
    return run


def resumed(world: World) -> Run:
    run = world.begin()
    world.clock.advance(MUCH_LATER)
    world.ledger.note_resume(run.id)
    world.end(run, MUCH_LATER + 30)
    return run


CASES = {
    finished: RunState.DONE,
    stalled: RunState.STALLED,
    interrupted: RunState.INTERRUPTED,
    paused: RunState.PAUSED,
    failed: RunState.DONE,
    resumed: RunState.DONE,
}


class Case:
    """A run, read at one moment."""

    def __init__(self, world: World, run: Run) -> None:
        self.world = world
        self.run = run
        world.leave()
        self.reading: Reading = Reader(world.ledger, run, clock=world.clock).read_decided()
        self.progress = self.reading.progress
