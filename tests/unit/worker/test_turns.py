"""One thread at a time works on an attempt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest

from sms_pipeline.worker.turns import Turns
from tests.services.waiting import wait_until

PATIENCE_SECONDS = 30
KEY = (1, 0, 0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


class Watched(Turns):
    """Counts who has asked for a turn, so that a test knows when a thread waits for it."""

    claims = 0

    def _claim(self, key: tuple[int, int, int], mine: Future[bool]) -> Future[bool]:
        claimed = super()._claim(key, mine)
        self.claims += 1
        return claimed


def hold(turns: Turns, fails: bool = False) -> threading.Event:
    """A thread that takes the turn at KEY and keeps it until the event returned is set."""
    has_it, let_go = threading.Event(), threading.Event()

    def work() -> None:
        with suppress(ZeroDivisionError), turns.turn(KEY) as mine:
            assert mine
            has_it.set()
            let_go.wait(PATIENCE_SECONDS)
            if fails:
                raise ZeroDivisionError

    threading.Thread(target=work, daemon=True).start()
    assert has_it.wait(PATIENCE_SECONDS)
    return let_go


def take(turns: Turns, key: tuple[int, int, int] = KEY) -> bool:
    with turns.turn(key) as mine:
        return mine


def test_turns_follow_one_another() -> None:
    turns = Turns()
    assert [take(turns), take(turns)] == [True, True]


def test_second_waits_for_the_first_and_learns_that_it_is_done(pool: ThreadPoolExecutor) -> None:
    turns = Watched()
    let_go = hold(turns)
    others = [pool.submit(take, turns) for _ in range(3)]
    wait_until(lambda: turns.claims == 4, PATIENCE_SECONDS, "three threads wait")
    let_go.set()
    assert [other.result(PATIENCE_SECONDS) for other in others] == [False] * 3


def test_after_an_error_one_of_those_that_wait_gets_the_turn(pool: ThreadPoolExecutor) -> None:
    turns = Watched()
    let_go = hold(turns, fails=True)
    other = pool.submit(take, turns)
    wait_until(lambda: turns.claims == 2, PATIENCE_SECONDS, "another thread waits")
    let_go.set()
    assert other.result(PATIENCE_SECONDS)


def test_attempt_that_was_put_back_is_not_done(pool: ThreadPoolExecutor) -> None:
    # Given one who holds the very message that the first puts back
    turns = Watched()
    with turns.turn(KEY):
        other = pool.submit(take, turns)
        wait_until(lambda: turns.claims == 2, PATIENCE_SECONDS, "another thread waits")
        turns.put_back(KEY)
    # Then it must not drop that message; whoever does the work later ends it for all
    assert other.result(PATIENCE_SECONDS)
    let_go = hold(turns)
    third = pool.submit(take, turns)
    wait_until(lambda: turns.claims == 5, PATIENCE_SECONDS, "a third thread waits")
    let_go.set()
    assert not third.result(PATIENCE_SECONDS)


def test_attempts_do_not_wait_for_one_another(pool: ThreadPoolExecutor) -> None:
    turns = Turns()
    let_go = hold(turns)
    assert pool.submit(take, turns, (1, 0, 1)).result(PATIENCE_SECONDS)
    let_go.set()


def test_error_of_the_work_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError), Turns().turn(KEY):
        raise ZeroDivisionError
