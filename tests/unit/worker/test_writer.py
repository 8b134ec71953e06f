"""The ledger writer commits in groups, whatever fails meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from sms_pipeline.core.patience import Pauses
from sms_pipeline.core.records import Settled, Settlement
from sms_pipeline.errors import LedgerUnavailableError, StoppingError
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker import writer as writer_module
from sms_pipeline.worker.writer import LedgerWriter
from tests.services.waiting import wait_until
from tests.unit import make
from tests.unit.make import bitmap

PATIENCE_SECONDS = 30


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "LEDGER_PAUSES", Pauses(0.001, 0.002))


def writer_on(ledger: object) -> LedgerWriter:
    return LedgerWriter(ledger, "w1", lambda: 1, threading.Event(), ManualClock())  # type: ignore[arg-type]


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


@pytest.fixture
def settle_all(pool: ThreadPoolExecutor) -> Callable[..., list[Future[Settled]]]:
    """Settle batches 0 … count - 1 as one group with a writer on `ledger`."""

    def run(ledger: FakeLedger, count: int) -> list[Future[Settled]]:
        writer = writer_on(ledger)
        futures = []
        for number in range(count):
            futures.append(pool.submit(writer.settle, make.settlement(1, number)))
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


def test_settlement_that_the_database_refuses_does_not_take_its_neighbours_along(
    settle_all: Callable[..., list[Future[Settled]]],
) -> None:
    ledger = FakeLedger(refused=[1])
    refused = [type(future.exception()) for future in settle_all(ledger, 3)]
    assert refused == [type(None), ValueError, type(None)]
    assert ledger.groups == [[0, 1, 2], [0], [1], [2]]


def test_group_is_committed_again_while_the_ledger_is_away(
    settle_all: Callable[..., list[Future[Settled]]],
) -> None:
    ledger = FakeLedger(away=3)
    futures = settle_all(ledger, 2)
    assert ledger.groups == [[0, 1]] * 4
    assert [future.result().remainder for future in futures] == [bitmap(0), bitmap(1)]


def test_groups_are_bounded(
    settle_all: Callable[..., list[Future[Settled]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_GROUP", 2)
    ledger = FakeLedger()
    settle_all(ledger, 5)
    assert ledger.groups == [[0, 1], [2, 3], [4]]


def test_stopped_writer_takes_no_more() -> None:
    writer = writer_on(FakeLedger())
    writer.start()
    writer.stop()
    writer.join(PATIENCE_SECONDS)
    with pytest.raises(StoppingError):
        writer.settle(make.settlement(1))
