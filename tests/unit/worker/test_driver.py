"""The thread that plays the sender banks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sms_pipeline.config.clock import MACHINE_CLOCK
from sms_pipeline.core.sender_bank import SenderBank
from sms_pipeline.errors import StoppingError
from sms_pipeline.worker.driver import SenderDriver
from tests.services.waiting import wait_until

PATIENCE_SECONDS = 30


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_driver_plays_on_the_real_clock() -> None:
    driver = SenderDriver({"fast": SenderBank(1)}, MACHINE_CLOCK)
    driver.start()
    began = time.monotonic()
    ends = driver.play("fast", np.array([0.01, 0.02]))
    assert ends[0] >= began + 0.01
    assert ends[1] == ends[0] + 0.02
    assert time.monotonic() >= ends[1]
    driver.stop()
    driver.join(PATIENCE_SECONDS)


def test_stopped_driver_tells_those_that_wait(pool: ThreadPoolExecutor) -> None:
    driver = SenderDriver({"fast": SenderBank(1)}, MACHINE_CLOCK)
    waiting = pool.submit(driver.play, "fast", np.array([1e9]))
    wait_until(lambda: driver._waiting, PATIENCE_SECONDS, "the message is in play")
    driver.start()
    driver.stop()
    with pytest.raises(StoppingError):
        waiting.result(PATIENCE_SECONDS)
    driver.join(PATIENCE_SECONDS)
    with pytest.raises(StoppingError):
        driver.play("fast", np.array([1.0]))
