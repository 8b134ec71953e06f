"""The thread that plays the sender banks."""

from __future__ import annotations

import math
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.errors import EXIT_FAILURE, StoppingError
from sms_pipeline.core.sender_bank import Finished, SenderBank
from sms_pipeline.testing.clock import ManualClock
from sms_pipeline.worker.driver import (
    LONGEST_PAUSE_SECONDS,
    STEP_SHARE,
    TICK_SECONDS,
    WATCHED_PAUSE_SECONDS,
    SenderDriver,
    SentHook,
)
from sms_pipeline.worker.signs import Part, SignsOfLife
from tests.services.waiting import wait_until
from tests.unit.worker.fakes import Exited, aside

PATIENCE_SECONDS = 30


class Pauses(threading.Condition):
    """The driver's pauses: noted, over at once, and so many that it comes to an end."""

    def __init__(self, driver: SenderDriver, clock: ManualClock, steps: int) -> None:
        super().__init__()
        self.asked: list[float] = []
        self._driver = driver
        self._clock = clock
        self._steps = steps

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.asked.append(timeout)
        self._clock.advance(timeout)
        if len(self.asked) == self._steps:
            self._driver.stop()
        return True


class SlowBank(SenderBank):
    """Has so many senders that a step takes a while."""

    step_seconds = 0.05

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(1)
        self._clock = clock

    def step(self, now: float) -> list[Finished]:
        self._clock.advance(self.step_seconds)
        return super().step(now)


@pytest.fixture
def clock() -> ManualClock:
    """Not at zero, where moments and spans look alike."""
    return ManualClock(monotonic=100.0)


def play(
    driver: SenderDriver,
    *durations: float,
    give_up_at: float = math.inf,
    on_sent: SentHook | None = None,
) -> Future[Finished]:
    """Submit messages from another thread; return once the driver has them."""
    waiting = len(driver._waiting)

    def are_submitted() -> bool:
        with driver._wake:
            return len(driver._waiting) > waiting

    future = aside(driver.play, "fast", np.array(durations), give_up_at, on_sent)
    wait_until(are_submitted, PATIENCE_SECONDS, "they are submitted")
    return future


def pauses(driver: SenderDriver, clock: ManualClock, steps: int) -> list[float]:
    """Let it make so many steps; return the pauses it made after each."""
    driver._wake = condition = Pauses(driver, clock, steps)
    driver.run()
    return condition.asked


def test_driver_plays_on_the_real_clock() -> None:
    driver = SenderDriver({"fast": SenderBank(1)}, MACHINE_CLOCK)
    driver.start()
    began = time.monotonic()
    ends = driver.play("fast", np.array([0.01, 0.02])).finish_times
    assert ends[0] >= began + 0.01
    assert ends[1] == ends[0] + 0.02
    assert time.monotonic() >= ends[1]
    driver.stop()
    driver.join(PATIENCE_SECONDS)


def test_stopped_driver_tells_those_that_wait() -> None:
    driver = SenderDriver({"fast": SenderBank(1)}, MACHINE_CLOCK)
    waiting = play(driver, 1e9)
    driver.start()
    driver.stop()
    with pytest.raises(StoppingError, match=r"^the worker is stopping$"):
        waiting.result(PATIENCE_SECONDS)
    driver.join(PATIENCE_SECONDS)
    with pytest.raises(StoppingError, match=r"^the worker is stopping$"):
        driver.play("fast", np.array([1.0]))


def test_driver_is_woken_by_what_is_submitted_and_by_its_stop() -> None:
    class Sound(threading.Condition):
        """Whoever waits sleeps until they are woken."""

        def wait(self, timeout: float | None = None) -> bool:
            return super().wait(PATIENCE_SECONDS)

    driver = SenderDriver({"fast": SenderBank(1)}, MACHINE_CLOCK)
    driver._wake = Sound()
    driver.start()
    wait_until(lambda: driver.heartbeat, PATIENCE_SECONDS, "it sleeps")
    future = aside(driver.play, "fast", np.zeros(1))
    assert len(future.result(PATIENCE_SECONDS / 2).finish_times) == 1
    driver.stop()
    driver.join(PATIENCE_SECONDS / 2)
    assert not driver.is_alive()


def test_everyone_gets_the_ends_of_their_own_messages(clock: ManualClock) -> None:
    driver = SenderDriver({"fast": SenderBank(2)}, clock)
    # The later ones end first
    slow, quick = play(driver, 0.5), play(driver, 0.125, 0.125)
    pauses(driver, clock, steps=5)
    assert slow.result(PATIENCE_SECONDS).finish_times.tolist() == [100.5]
    assert quick.result(PATIENCE_SECONDS).finish_times.tolist() == [100.125, 100.25]


def test_messages_that_no_sender_can_start_in_time_are_given_up(clock: ManualClock) -> None:
    driver = SenderDriver({"fast": SenderBank(1)}, clock)
    future = play(driver, 0.25, 0.25, give_up_at=100.125)
    pauses(driver, clock, steps=3)
    first, second = future.result(PATIENCE_SECONDS).finish_times
    assert first == 100.25
    assert math.isnan(second)


# How often it looks


def test_driver_sleeps_until_the_next_message_ends(clock: ManualClock) -> None:
    driver = SenderDriver({"fast": SenderBank(1), "slow": SenderBank(1)}, clock)
    play(driver, 0.25, 0.125)
    assert pauses(driver, clock, steps=3) == [0.25, 0.125, LONGEST_PAUSE_SECONDS]


def test_driver_does_not_look_more_often_than_a_tick(clock: ManualClock) -> None:
    driver = SenderDriver({"fast": SenderBank(1)}, clock)
    play(driver, *[TICK_SECONDS / 100] * 1_000)
    assert set(pauses(driver, clock, steps=5)) == {TICK_SECONDS}


def test_driver_whose_steps_take_long_steps_less_often(clock: ManualClock) -> None:
    driver = SenderDriver({"fast": SlowBank(clock)}, clock)
    play(driver, *[TICK_SECONDS] * 1_000)
    expected = SlowBank.step_seconds / STEP_SHARE
    assert pauses(driver, clock, steps=3) == pytest.approx([expected] * 3)


@pytest.mark.parametrize("banks", [{}, {"fast": SenderBank(1)}])
def test_heartbeat_grows_while_there_is_nothing_to_do(
    clock: ManualClock, banks: dict[str, SenderBank]
) -> None:
    driver = SenderDriver(banks, clock)
    before = driver.heartbeat
    asked = pauses(driver, clock, steps=3)
    assert all(pause <= LONGEST_PAUSE_SECONDS for pause in asked)
    assert driver.heartbeat >= before + 3


# The thread


def test_driver_marks_each_turn_until_it_ends(clock: ManualClock) -> None:
    signs, seen = SignsOfLife(), []

    class Looking(SlowBank):
        def step(self, now: float) -> list[Finished]:
            seen.append(signs.silence(Part.DRIVER, now))
            return super().step(now)

    driver = SenderDriver({"fast": Looking(clock)}, clock, signs)
    pauses(driver, clock, steps=3)
    assert seen == [0.0] * len(seen)
    assert len(seen) >= 3
    assert signs.silence(Part.DRIVER, clock.monotonic()) is None


def test_process_ends_when_the_driver_does(
    clock: ManualClock, exits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    # Else whoever waits for a message to end would wait for ever, and the worker look alive.
    driver = SenderDriver({"fast": SenderBank(1)}, clock)
    driver._banks["fast"].step = lambda now: 1 // 0  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(Exited):
        driver.run()
    assert exits == [EXIT_FAILURE]
    assert "sender driver died" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_thread_can_be_told_from_others_and_holds_no_process_up(clock: ManualClock) -> None:
    driver = SenderDriver({}, clock)
    assert (driver.name, driver.daemon) == ("sender-driver", True)


def test_driver_looks_more_often_while_somebody_wants_to_be_told_and_only_then(
    clock: ManualClock,
) -> None:
    driver = SenderDriver({"fast": SenderBank(1)}, clock)
    told: list[list[int]] = []
    play(driver, 0.1, 0.1, on_sent=lambda ended, _: told.append(ended.tolist()))
    steps = round(0.2 / WATCHED_PAUSE_SECONDS) + 3
    asked = pauses(driver, clock, steps)
    assert asked[0] == WATCHED_PAUSE_SECONDS
    assert max(asked[:-3]) <= WATCHED_PAUSE_SECONDS
    assert asked[-1] == LONGEST_PAUSE_SECONDS
    assert told == [[0], [1]]


def test_who_asks_is_told_of_each_message_soon_after_it_ended() -> None:
    # Given a sender that is still busy with the last message when the first has long ended
    told: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    driver = SenderDriver({"fast": SenderBank(1)}, MACHINE_CLOCK)
    driver.start()
    with ThreadPoolExecutor(1) as pool:
        durations = np.array([0.01, 3_600.0])
        playing = pool.submit(
            driver.play, "fast", durations, math.inf, lambda ended, _: told.put(ended.tolist())
        )
        # Then that is told before the batch has ended
        assert told.get(timeout=PATIENCE_SECONDS) == [0]
        assert not playing.done()
        driver.stop()
        assert isinstance(playing.exception(PATIENCE_SECONDS), StoppingError)
    assert told.empty()
