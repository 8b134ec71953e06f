"""How busy senders were follows from records alone, so it is the same for whoever asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms_pipeline.core.progress import Progress, Tracker
from sms_pipeline.core.records import Run
from sms_pipeline.ledger.store import Ledger
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.testing.ledger import memory_ledger
from tests.unit import make
from tests.unit.make import NOON

#: Seconds that the senders of a batch are busy in these tests.
BUSY = 2.0
BATCHES = 10


def efficiencies(*workers: object, wall: float = NOON + 10, **values: object) -> list[float | None]:
    counts = [make.counts(name, **values) for name in ("fast", "slow")]
    snapshot = make.snapshot(*counts, workers=workers, settled_at=NOON + 10)
    return [one.efficiency for one in Tracker().update(snapshot, 0.0, wall).profiles]


def worker(id: str = "w1", **values: object) -> object:
    return make.worker(id, **{"seen_at": NOON + 10, **values})


# Of records


def test_efficiency_is_the_time_at_senders_of_the_time_they_were_there() -> None:
    assert efficiencies(worker(senders=4), send_seconds=30.0) == [30 / 40, None]


def test_every_worker_counts_for_as_long_as_it_was_there() -> None:
    # Given one that was there throughout, one that came in the middle, one that left, and one of
    # another profile
    workers = (
        worker("w1", senders=1),
        worker("w2", senders=2, joined_at=NOON + 5),
        worker("w3", senders=3, left_at=NOON + 2),
        worker("w4", senders=100, profile="slow"),
    )
    assert efficiencies(*workers, send_seconds=13.0) == [13 / (10 + 10 + 6), 13 / 1_000]


def test_what_is_settled_by_clocks_that_differ_is_never_more_than_all() -> None:
    assert efficiencies(worker(senders=1), send_seconds=11.0) == [1.0, None]


@given(
    seconds=st.floats(0, 1e9),
    senders=st.integers(1, 10_000_000),
    joined_at=st.floats(NOON - 100, NOON + 100),
    stay=st.floats(0, 200),
    wall=st.floats(NOON - 10, NOON + 1_000),
)
def test_efficiency_is_from_0_to_1_or_not_known(
    seconds: float, senders: int, joined_at: float, stay: float, wall: float
) -> None:
    one = worker(senders=senders, joined_at=joined_at, left_at=joined_at + stay)
    found, _ = efficiencies(one, wall=wall, send_seconds=seconds)
    assert found is None or 0 <= found <= 1


def test_nothing_is_known_without_a_worker() -> None:
    assert efficiencies(send_seconds=5.0) == [None, None]


def test_nothing_is_known_of_senders_that_take_no_time() -> None:
    assert efficiencies(worker(mean_time=0.0), send_seconds=0.0) == [None, None]


def test_senders_that_are_idle_while_the_run_goes_on_are_ever_less_busy() -> None:
    found = [efficiencies(worker(senders=1, seen_at=NOON + 99), wall=NOON + at, send_seconds=5.0)
             for at in (5, 10, 50)]  # fmt: skip
    assert [fast for fast, _ in found] == [1.0, 0.5, 0.1]


# Of a ledger


class Rehearsed:
    """A worker with two senders that settles a batch every two seconds, on a clock of our own."""

    def __init__(self) -> None:
        self.clock = ManualClock(wall=NOON)
        self.ledger: Ledger = memory_ledger(self.clock)
        self.run: Run = self.ledger.start_run(make.simulation(num_messages=10 * BATCHES), seed=7)
        self.ledger.join("w1", [make.profile("fast", count=2)])
        self._beats = 0

    def settle(self, number: int) -> None:
        """Two seconds pass, in which one of the two senders is busy."""
        self.clock.advance(2)
        self.beat()
        row = make.row(self.run.id, number, 10 * number)
        self.ledger.record_batches(self.run.id, [row])
        one = make.settlement(self.run.id, number, send_seconds=BUSY, settled_at=self.clock.wall())
        self.ledger.settle([one])

    def beat(self) -> None:
        """Show that the worker lives."""
        self._beats += 1
        self.ledger.beat("w1", self._beats)

    def seen_by(self, tracker: Tracker) -> Progress:
        """The run as that reader sees it now."""
        clock = self.clock
        return tracker.update(self.ledger.snapshot(self.run), clock.monotonic(), clock.wall())


def of_fast(progress: Progress) -> float | None:
    return progress.profiles[0].efficiency


def test_whoever_looks_sees_the_same_efficiency_whenever_it_began_to_look() -> None:
    # Given a reader that watches all of a run
    rehearsed = Rehearsed()
    early = Tracker()
    for number in range(BATCHES):
        rehearsed.settle(number)
        # When others look for the first time, one of which knows the worker
        seen = {of_fast(rehearsed.seen_by(one)) for one in (early, Tracker(), Tracker(["w1"]))}
        # Then each sees that one of two senders was busy
        assert seen == {0.5}


def test_efficiency_of_a_run_that_is_over_stays_as_it_was() -> None:
    # Given a run that is done
    rehearsed = Rehearsed()
    for number in range(BATCHES):
        rehearsed.settle(number)
    last = of_fast(rehearsed.seen_by(Tracker()))
    # When its worker goes on, leaves, and others come
    for _ in range(60):
        rehearsed.clock.advance(1)
        rehearsed.beat()
    while_there = of_fast(rehearsed.seen_by(Tracker()))
    rehearsed.ledger.leave("w1")
    rehearsed.clock.advance(3_600)
    rehearsed.ledger.join("w2", [make.profile("fast", count=100)])
    after = of_fast(rehearsed.seen_by(Tracker()))
    # Then nothing changes
    assert last == while_there == after == pytest.approx(0.5)


def test_worker_that_died_counts_until_it_was_last_seen() -> None:
    # Given a worker that dies after 20 s, and another that ends the run an hour later
    rehearsed = Rehearsed()
    for number in range(BATCHES - 1):
        rehearsed.settle(number)
    rehearsed.clock.advance(3_600)
    rehearsed.ledger.join("w2", [make.profile("fast", count=2)])
    rehearsed.clock.advance(2)
    number = BATCHES - 1
    rehearsed.ledger.record_batches(
        rehearsed.run.id, [make.row(rehearsed.run.id, number, 10 * number)]
    )
    one = make.settlement(
        rehearsed.run.id, number, worker="w2", send_seconds=BUSY, settled_at=rehearsed.clock.wall()
    )
    rehearsed.ledger.settle([one])
    progress = rehearsed.seen_by(Tracker())
    assert progress.done
    there = 2 * (18 + 2) + 2 * 2
    assert of_fast(progress) == pytest.approx(BUSY * BATCHES / there)
