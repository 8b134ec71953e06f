"""The ledger writer commits in groups, whatever fails meanwhile."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import pytest

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.errors import EXIT_FAILURE, LedgerUnavailableError, StoppingError
from sms_pipeline.core.records import Absorbed, Settled, Settlement
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker import writer as writer_module
from sms_pipeline.worker.signs import Part, SignsOfLife
from sms_pipeline.worker.writer import LEDGER_PAUSES, LedgerWriter
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.make import bitmap
from tests.unit.worker.fakes import Exited, Stop, aside

PATIENCE_SECONDS = 30


def writer_on(
    ledger: object,
    stopping: threading.Event | None = None,
    clock: ManualClock | None = None,
    signs: SignsOfLife | None = None,
) -> LedgerWriter:
    """A writer of the worker `w1`, whose heartbeat grows with every look at it."""
    heartbeats = itertools.count(1)
    return LedgerWriter(
        ledger,  # type: ignore[arg-type]
        "w1",
        lambda: next(heartbeats),
        stopping or Stop(),
        clock or ManualClock(),
        signs,
    )


class FakeLedger:
    """Takes settlements, except those it refuses; notes what came together."""

    def __init__(self, refused: Sequence[int] = (), away: int = 0) -> None:
        self.groups: list[list[int]] = []
        self._refused = refused
        self._away = away

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        numbers = [one.key[1] for one in group]
        self.groups.append(numbers)
        if self._away:
            self._away -= 1
            raise LedgerUnavailableError("away")
        if set(numbers) & set(self._refused):
            raise ValueError("refused")
        return [Settled(bitmap(number)) for number in numbers]

    def beat(self, worker: str, heartbeat: int) -> None:
        raise LedgerUnavailableError("a heartbeat may be lost")


Sums = dict[tuple[int, Absorbed], tuple[int, int]]


class Diary:
    """A ledger that keeps heartbeats and what came twice; its transactions take half a second."""

    def __init__(self, clock: ManualClock) -> None:
        self.is_away = False
        #: (when, whose, which)
        self.beats: list[tuple[float, str, int]] = []
        #: (whose, what)
        self.absorbed: list[tuple[str, Sums]] = []
        #: Called while what came twice is written.
        self.meanwhile: Callable[[], None] | None = None
        self._clock = clock

    def settle(self, group: Sequence[Settlement]) -> list[Settled]:
        self._clock.advance(0.5)
        return [Settled(None) for _ in group]

    def beat(self, worker: str, heartbeat: int) -> None:
        self._answer()
        self.beats.append((self._clock.monotonic(), worker, heartbeat))

    def absorb(self, worker: str, sums: Sums) -> None:
        self._answer()
        self.absorbed.append((worker, dict(sums)))
        if self.meanwhile:
            self.meanwhile()

    def _answer(self) -> None:
        if self.is_away:
            raise LedgerUnavailableError("away")


@pytest.fixture
def settle_all() -> Callable[..., list[Future[Settled]]]:
    """Settle batches 0 … count - 1 as one group with a writer on `ledger`."""

    def run(
        ledger: FakeLedger, count: int, stopping: threading.Event | None = None
    ) -> list[Future[Settled]]:
        writer = writer_on(ledger, stopping)
        futures = []
        for number in range(count):
            futures.append(aside(writer.settle, make.settlement(1, number)))
            wait_until(lambda n=number: writer._inbox.qsize() == n + 1, PATIENCE_SECONDS, "queued")
        writer.start()
        for future in futures:
            future.exception(PATIENCE_SECONDS)
        writer.stop()
        writer.join(PATIENCE_SECONDS)
        assert not writer.is_alive()
        return futures

    return run


def test_what_waits_together_is_committed_together(
    settle_all: Callable[..., list[Future[Settled]]],
) -> None:
    ledger = FakeLedger()
    futures = settle_all(ledger, 5)
    assert ledger.groups == [[0, 1, 2, 3, 4]]
    assert [future.result().remainder for future in futures] == [bitmap(n) for n in range(5)]


@pytest.mark.parametrize("count", [2, 3])
def test_settlement_that_the_database_refuses_does_not_take_its_neighbours_along(
    settle_all: Callable[..., list[Future[Settled]]], count: int
) -> None:
    ledger = FakeLedger(refused=[1])
    refused = [type(future.exception()) for future in settle_all(ledger, count)]
    assert refused == [ValueError if number == 1 else type(None) for number in range(count)]
    assert ledger.groups == [[*range(count)], *([number] for number in range(count))]


def test_group_is_committed_again_while_the_ledger_is_away(
    settle_all: Callable[..., list[Future[Settled]]],
) -> None:
    ledger = FakeLedger(away=3)
    futures = settle_all(ledger, 2)
    assert ledger.groups == [[0, 1]] * 4
    assert [future.result().remainder for future in futures] == [bitmap(0), bitmap(1)]


def test_ledger_that_is_away_is_asked_again_after_a_pause(
    settle_all: Callable[..., list[Future[Settled]]], caplog: pytest.LogCaptureFixture
) -> None:
    stopping = Stop()
    settle_all(FakeLedger(away=8), 1, stopping)
    assert len(stopping.waits) == 8
    assert all(
        LEDGER_PAUSES.first <= (wait or 0) <= LEDGER_PAUSES.longest for wait in stopping.waits
    )
    # The user learns why nothing moves, and when it is tried again.
    assert f"away; trying again in {stopping.waits[-1]:.1f} s" in caplog.text


def test_worker_that_stops_does_not_wait_for_a_ledger_that_is_away(
    settle_all: Callable[..., list[Future[Settled]]],
) -> None:
    stopping = Stop()
    stopping.set()
    ledger = FakeLedger(away=1_000)
    futures = settle_all(ledger, 2, stopping)
    assert [type(future.exception()) for future in futures] == [StoppingError] * 2
    assert ledger.groups == [[0, 1]]


def test_transaction_waits_a_moment_for_others_to_join() -> None:
    # Given a settlement that arrives while the writer lingers
    class Lingering(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if len(futures) == 1:
                futures.append(aside(writer.settle, make.settlement(1, 1)))
                wait_until(writer._inbox.qsize, PATIENCE_SECONDS, "the second is queued")
            return super().wait(timeout)

    writer = writer_on(ledger := FakeLedger())
    writer._ending = Lingering()
    futures = [aside(writer.settle, make.settlement(1, 0))]
    writer.start()
    wait_until(lambda: len(futures) == 2, PATIENCE_SECONDS, "it lingers")
    assert [future.result(PATIENCE_SECONDS).remainder for future in futures] == [
        bitmap(0),
        bitmap(1),
    ]
    writer.stop()
    writer.join(PATIENCE_SECONDS)
    assert ledger.groups == [[0, 1]]


def test_groups_are_bounded(
    settle_all: Callable[..., list[Future[Settled]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_GROUP", 2)
    ledger = FakeLedger()
    settle_all(ledger, 5)
    assert ledger.groups == [[0, 1], [2, 3], [4]]


def test_stopped_writer_takes_no_more() -> None:
    writer = writer_on(FakeLedger())
    writer.stop()
    writer.run()
    with pytest.raises(StoppingError, match=r"^the worker is stopping$"):
        writer.settle(make.settlement(1))


def test_what_waits_when_the_writer_is_stopped_is_committed() -> None:
    # Given two settlements before the stop, and one that arrived just behind it
    writer = writer_on(ledger := FakeLedger())
    futures = []
    for number in range(3):
        if number == 2:
            writer.stop()
        queued = writer._inbox.qsize()
        futures.append(aside(writer.settle, make.settlement(1, number)))
        wait_until(lambda n=queued: writer._inbox.qsize() > n, PATIENCE_SECONDS, "queued")
    # When the thread comes to its end
    writer.run()
    # Then nobody waits for ever
    assert [future.result(PATIENCE_SECONDS).remainder for future in futures] == [
        bitmap(number) for number in range(3)
    ]
    assert ledger.groups == [[0, 1, 2]]


def test_process_ends_when_the_writer_does(
    exits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    # Else whoever waits for a settlement would wait for ever, and the worker look alive.
    writer = writer_on(object())
    writer.stop()
    with pytest.raises(Exited):
        writer.run()
    assert exits == [EXIT_FAILURE]
    assert "ledger writer died" in caplog.text


def test_process_ends_when_the_ledger_leaves_a_settlement_unanswered(
    exits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = FakeLedger()
    monkeypatch.setattr(ledger, "settle", lambda group: [Settled(None)] * (len(group) - 1))
    writer = writer_on(ledger)
    for number in range(2):
        aside(writer.settle, make.settlement(1, number))
    wait_until(lambda: writer._inbox.qsize() == 2, PATIENCE_SECONDS, "both are queued")
    writer.stop()
    with pytest.raises(Exited):
        writer.run()
    assert exits == [EXIT_FAILURE]


def test_thread_can_be_told_from_others_and_holds_no_process_up() -> None:
    writer = writer_on(FakeLedger())
    assert (writer.name, writer.daemon) == ("ledger-writer", True)


# Heartbeats


def test_heartbeat_is_written_once_a_second_and_at_the_end() -> None:
    # Given transactions of half a second each
    writer = writer_on(ledger := Diary(clock := ManualClock()), clock=clock)
    writer.start()
    for number in range(3):
        writer.settle(make.settlement(1, number))
    writer.stop()
    writer.join(PATIENCE_SECONDS)
    # Then the second one is not followed by a heartbeat, all else is
    assert ledger.beats == [(0.5, "w1", 1), (1.5, "w1", 2), (1.5, "w1", 3)]


def test_heartbeat_is_written_while_nothing_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "HEARTBEAT_SECONDS", 0.001)
    ledger = Diary(ManualClock())
    writer = LedgerWriter(ledger, "w1", lambda: 1, threading.Event(), MACHINE_CLOCK)  # type: ignore[arg-type]
    writer.start()
    wait_until(lambda: len(ledger.beats) > 2, PATIENCE_SECONDS, "it beats")
    writer.stop()
    writer.join(PATIENCE_SECONDS)
    assert not writer.is_alive()


def test_heartbeat_that_fails_is_told_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Diary(clock := ManualClock())
    ledger.is_away = True
    writer = writer_on(ledger, clock=clock)
    beat(writer, clock)
    ledger.is_away = False
    beat(writer, clock)
    assert [heartbeat for _, _, heartbeat in ledger.beats] == [2]
    assert "heartbeat skipped: away" in caplog.text


def test_writer_comes_round_at_each_try_to_reach_a_ledger_that_is_away() -> None:
    clock, signs, seen = ManualClock(monotonic=5.0), SignsOfLife(), []

    class Slow(FakeLedger):
        def settle(self, group: Sequence[Settlement]) -> list[Settled]:
            seen.append(signs.silence(Part.WRITER, clock.monotonic()))
            clock.advance(40.0)
            return super().settle(group)

    writer = writer_on(Slow(away=2), clock=clock, signs=signs)
    assert signs.silence(Part.WRITER, clock.monotonic()) is None
    writer._commit([(make.settlement(1), Future())])
    assert seen == [0.0, 0.0, 0.0]


def test_writer_that_has_ended_is_not_expected_to_come_round() -> None:
    signs = SignsOfLife()
    writer = writer_on(Diary(ManualClock()), signs=signs)
    writer.start()
    wait_until(
        lambda: signs.silence(Part.WRITER, 0.0) is not None, PATIENCE_SECONDS, "it comes round"
    )
    writer.stop()
    writer.join(PATIENCE_SECONDS)
    assert signs.silence(Part.WRITER, 0.0) is None


# What came twice


def beat(writer: LedgerWriter, clock: ManualClock) -> None:
    """A second passes, and the next heartbeat is due."""
    clock.advance(1.0)
    writer._beat()


def test_what_came_twice_is_written_with_the_next_heartbeat_by_run_and_kind() -> None:
    writer = writer_on(ledger := Diary(clock := ManualClock()), clock=clock)
    for kind, run, messages in [
        (Absorbed.REDELIVERED, 1, 10),
        (Absorbed.REDELIVERED, 1, 7),
        (Absorbed.ANSWERED, 1, 5),
        (Absorbed.REDELIVERED, 2, 3),
    ]:
        writer.note(kind, run, messages)
    beat(writer, clock)
    assert ledger.absorbed == [
        (
            "w1",
            {
                (1, Absorbed.REDELIVERED): (2, 17),
                (1, Absorbed.ANSWERED): (1, 5),
                (2, Absorbed.REDELIVERED): (1, 3),
            },
        )
    ]


def test_what_came_twice_is_written_once_and_then_only_what_changed() -> None:
    writer = writer_on(ledger := Diary(clock := ManualClock()), clock=clock)
    writer.note(Absorbed.REDELIVERED, 1, 10)
    writer.note(Absorbed.ANSWERED, 1, 5)
    beat(writer, clock)
    beat(writer, clock)
    writer.note(Absorbed.REDELIVERED, 1, 10)
    beat(writer, clock)
    # The sum is that since the worker started: it replaces what the ledger has.
    assert [sums for _, sums in ledger.absorbed[1:]] == [{(1, Absorbed.REDELIVERED): (2, 20)}]


def test_what_came_twice_while_the_ledger_is_away_is_written_when_it_is_back() -> None:
    writer = writer_on(ledger := Diary(clock := ManualClock()), clock=clock)
    ledger.is_away = True
    for _ in range(3):
        writer.note(Absorbed.REPEATED, 1, 10)
        beat(writer, clock)
    ledger.is_away = False
    beat(writer, clock)
    assert ledger.absorbed == [("w1", {(1, Absorbed.REPEATED): (3, 30)})]


def test_what_comes_twice_while_others_are_written_is_written_next() -> None:
    writer = writer_on(ledger := Diary(clock := ManualClock()), clock=clock)
    writer.note(Absorbed.REPEATED, 1, 10)
    ledger.meanwhile = lambda: writer.note(Absorbed.REPEATED, 1, 10)
    beat(writer, clock)
    ledger.meanwhile = None
    for _ in range(2):
        beat(writer, clock)
    assert [list(sums.values()) for _, sums in ledger.absorbed] == [[(1, 10)], [(2, 20)]]


def test_what_came_twice_just_before_the_end_is_written_by_the_end() -> None:
    writer = writer_on(ledger := Diary(ManualClock()))
    writer.note(Absorbed.REPEATED, 1, 10)
    writer.stop()
    writer.run()
    assert len(ledger.absorbed) == 1
