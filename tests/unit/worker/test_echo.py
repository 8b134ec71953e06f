"""Each SMS is printed when it is sent, and nobody waits for the printing."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest

from sms_pipeline.core.gateway import Outcomes
from sms_pipeline.core.messages import joined
from sms_pipeline.core.retry import RetryPolicy
from sms_pipeline.worker.echo import Echo, lines
from tests.services.waiting import wait_until
from tests.unit import make

OUTCOMES = Outcomes(np.ones(3), np.array([True, False, True]))
PATIENCE_SECONDS = 30


def test_a_line_has_outcome_recipient_and_text() -> None:
    to = "202 555 0100\n202-555-0101\n202-555-0102"
    batch = make.batch(3, to=to, text="go home\nnow\nand then stay")
    assert list(lines(batch, OUTCOMES, np.array([0, 1]))) == [
        "delivered: 202 555 0100  go home",
        "failed, to be retried: 202-555-0101  now",
    ]


def test_a_text_of_several_lines_is_printed_on_one() -> None:
    batch = make.batch(2, to=joined(["202", "303"]), text=joined(["go home\nnow", "stay"]))
    assert list(lines(batch, OUTCOMES, np.array([0]))) == ["delivered: 202  go home\\nnow"]


def test_the_last_attempt_is_not_to_be_retried() -> None:
    batch = make.batch(3, retry=RetryPolicy(max_attempts=1))
    (line,) = lines(batch, OUTCOMES, np.array([1]))
    assert line.startswith("failed: ")


def test_an_attempt_that_its_hours_cut_short_does_not_count() -> None:
    batch = make.batch(3, retry=RetryPolicy(max_attempts=2), attempt=1, spared=1)
    (line,) = lines(batch, OUTCOMES, np.array([1]))
    assert line.startswith("failed, to be retried: ")


def test_all_that_was_sent_is_printed_by_the_end() -> None:
    printed: list[str] = []
    with Echo(printed.append) as echo:
        echo(make.batch(3), OUTCOMES, np.array([0]))
        echo(make.batch(3), OUTCOMES, np.array([1, 2]))
    assert [line.partition(":")[0] for line in printed] == [
        "delivered",
        "failed, to be retried",
        "delivered",
    ]


def test_whoever_sends_does_not_wait_for_the_printing() -> None:
    let_go = threading.Event()
    with Echo(lambda _: let_go.wait(PATIENCE_SECONDS)) as echo:
        for _ in range(100):
            echo(make.batch(3), OUTCOMES, np.array([0]))
        let_go.set()


def test_a_full_disk_is_told_once_and_at_once_and_raised_at_the_end() -> None:
    def full(_line: str) -> None:
        raise OSError(28, "No space left on device")

    told: list[Exception | None] = []
    with pytest.raises(OSError, match="No space left"), Echo(full) as echo:
        echo.on_error = lambda: told.append(echo.error)
        for _ in range(3):
            echo(make.batch(3), OUTCOMES, np.array([0]))
        wait_until(lambda: told, PATIENCE_SECONDS, "it is told")
    assert [type(error) for error in told] == [OSError]


def test_a_reader_that_left_is_no_error() -> None:
    def left(_line: str) -> None:
        raise BrokenPipeError

    with Echo(left) as echo:
        echo.on_error = lambda: pytest.fail("told as an error")
        echo(make.batch(3), OUTCOMES, np.array([0]))
    assert echo.error is None


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
def test_what_nobody_can_read_is_not_kept(error: type[OSError]) -> None:
    def fail(_line: str) -> None:
        raise error

    echo = Echo(fail)
    echo.start()
    for _ in range(100):
        echo(make.batch(3), OUTCOMES, np.array([0]))
    wait_until(echo._sent.empty, PATIENCE_SECONDS, "it is let go")
    assert echo._thread.is_alive()
    with suppress(OSError):
        echo.__exit__(None, None, None)
    assert not echo._thread.is_alive()


def test_thread_can_be_told_from_others_and_holds_no_process_up() -> None:
    thread = Echo(print)._thread
    assert (thread.name, thread.daemon) == ("echo", True)


def test_an_error_of_the_run_is_not_hidden_by_one_of_the_printing() -> None:
    def full(_line: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(KeyError), Echo(full) as echo:
        echo(make.batch(3), OUTCOMES, np.array([0]))
        raise KeyError
